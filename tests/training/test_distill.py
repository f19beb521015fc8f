"""Distillation: the teacher's targets, against what is known exactly."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from roentmod.editors import sampling
from training import autoencoder, distill, generator, unet, vocabulary

SPREAD = 0.5
ROWS = 3


class Gaussian:
    """The exact v of clean latents that are normal with deviation SPREAD, plus a prompt's pull."""

    def __init__(self, schedule):
        self.alphas = schedule.alphas_cumprod

    def __call__(self, noisy, times, states, timestep_cond=None):
        a = self.alphas[times].reshape(-1, 1, 1, 1)
        clean = a.sqrt() * SPREAD**2 / (a * SPREAD**2 + 1 - a) * noisy
        clean = clean + states.mean((1, 2))[:, None, None, None]
        return SimpleNamespace(sample=(a.sqrt() * noisy - clean) / (1 - a).sqrt())


@pytest.fixture
def teacher(monkeypatch):
    schedule = generator.scheduler()
    exact_v = Gaussian(schedule)
    engine = SimpleNamespace(unet=lambda *feed: exact_v(*feed).sample)
    made = distill.Teacher(None, schedule, engine)
    pull = {"": 0.0, "nodule": 0.1}
    states = lambda _, prompts: torch.tensor([pull[p] for p in prompts])[:, None, None]  # noqa: E731
    monkeypatch.setattr(distill.Teacher, "states", states)
    return made


def batch(prompt):
    clean, noise = torch.randn((2, ROWS, 4, 6, 6), generator=torch.Generator().manual_seed(0))
    times = torch.full((ROWS,), 200)
    return unet.Batch(clean, clean, noise, times, [prompt] * ROWS)


def exact(teacher, scales):
    """A student that gives what the teacher's two passes give."""

    def student(noisy, times, states, timestep_cond):
        assert torch.equal(timestep_cond, sampling.embedding(scales, distill.WIDTH))
        return SimpleNamespace(sample=teacher.guided(noisy, times[0], states, scales)[0])

    return student


def test_a_student_that_guides_as_the_teacher_has_no_loss(teacher):
    scales = torch.tensor([1.0, 4.0, 9.0])
    some = batch("nodule")
    assert distill.guidance_loss(exact(teacher, scales), teacher, some, scales).item() < 1e-9
    deaf = distill.guidance_loss(Gaussian(teacher.schedule), teacher, some, scales).item()
    # Half a row of the empty prompt is guided nowhere.
    nowhere = distill.guidance_loss(Gaussian(teacher.schedule), teacher, batch(""), scales).item()
    assert deaf > 0.1
    assert nowhere < 1e-9


@pytest.mark.parametrize(("start", "half", "end"), [(399, 252, 150), (150, 77, 30), (30, 9, 0)])
def test_the_teacher_goes_ahead_by_the_exact_way_of_a_gaussian(teacher, start, half, end):
    signal, noise, _ = teacher.levels()
    x = torch.randn((2, 4, 6, 6), generator=torch.Generator().manual_seed(1))
    scales, states = torch.ones(2), teacher.states(["", ""])
    spread = [(signal[t] ** 2 * SPREAD**2 + noise[t] ** 2).sqrt() for t in (start, end)]
    wanted = x * spread[1] / spread[0]
    once = teacher.ahead(x, start, end, states, scales)
    twice = teacher.ahead(teacher.ahead(x, start, half, states, scales), half, end, states, scales)
    # Of the second order: of half the way the error is a quarter, for two of them less than half.
    errors = [(got - wanted).abs().mean() for got in (once, twice)]
    assert errors[1] < 0.35 * errors[0] < 0.01
    # One time apart there is no half-way.
    assert torch.isfinite(teacher.ahead(x, 1, 0, states, scales)).all()


def test_a_step_of_the_student_is_held_to_two_of_the_teacher(teacher):
    scales, some = torch.full((ROWS,), 4.0), batch("nodule")
    student, off = exact(teacher, scales), []
    for few, effective in ((300, 120), (8, 3)):
        plan = sampling.Schedule("dpmsolver++-logsnr", few, effective)
        losses = [
            distill.step_loss(student, teacher, some, scales, (plan, at)).item()
            for at in (0, effective // 2, effective - 1)
        ]
        off.append(max(losses))
    # With many steps the teacher's own are as good as two; with three they are not.
    assert off[0] < 1e-5 < 1e-3 < off[1]


def test_a_step_learns_from_some_rows_at_one_time_mostly_of_an_edit():
    many = batch("nodule")
    parts = [distill.part_of(many, step) for step in range(300)]
    assert all(len(set(part.times.tolist())) == 1 for part in parts)
    times = np.array([int(part.times[0]) for part in parts])
    assert 0.8 < (times < 1000 * distill.STRENGTH).mean() < 0.95
    assert times.max() > 900
    # Rows stay together.
    row = int(np.flatnonzero((many.clean == parts[0].clean[0]).all((1, 2, 3)))[0])
    assert torch.equal(many.noise[row], parts[0].noise[0])


def test_edits_of_all_strengths_are_trained_the_usual_one_most():
    plans = [distill.plan_of(step, 8) for step in range(400)]
    counts = [plan.effective_steps for plan, _ in plans]
    assert set(counts) == set(range(1, 9))
    assert 0.75 < counts.count(3) / 400 < 0.9
    assert {at for plan, at in plans if plan.effective_steps == 3} == {0, 1, 2}
    scales = torch.cat([distill.drawn_scales(step, 17) for step in range(50)])
    assert scales.min() >= 1
    assert scales.max() <= distill.SCALES[1]
    assert 0.5 < (scales <= 4).float().mean() < 0.7


@pytest.mark.slow
def test_it_resumes_where_it_stopped_and_what_it_writes_is_a_unet_that_takes_the_scale(
    tmp_path, monkeypatch
):
    from diffusers import UNet2DConditionModel

    monkeypatch.setattr(distill, "ROWS", 2)
    run, folder, target = (tmp_path / name for name in ("run", "teacher", "target"))
    run.mkdir()
    model = generator.Generator(vocabulary.tokenizer(folder / "tokenizer"))
    vae = autoencoder.build()
    for name, part in {"unet": model.unet, "text_encoder": model.text, "vae": vae}.items():
        part.save_pretrained(folder / name)
    generator.scheduler().save_pretrained(folder / "scheduler")
    facts = [(["No Finding"], None, None, -1)] * 2 + [(["Edema"], None, None, -1)]
    facts += [(["Nodule"], "left", "mild", 0), (["Edema"], None, "severe", 1)]
    latents = torch.randn((5, 4, 28, 28), generator=torch.Generator().manual_seed(2))
    scale = {"mean": torch.zeros(4), "deviation": torch.ones(4)}
    torch.save({"latents": latents, "facts": facts} | scale, run / "latents.pt")

    def trained(name, *times, **more):
        (tmp_path / name).mkdir()
        for steps in times:
            args = {"run": run, "out": tmp_path / name, "minutes": 9, "begin": None, "few": None}
            args |= {"teacher": folder, "cohort": tmp_path}
            distill.train(SimpleNamespace(**args | {"steps": 2} | steps | more))
        return torch.load(tmp_path / name / distill.NAME, weights_only=True)

    whole, parts = trained("whole", {}), trained("parts", {"minutes": 0}, {})
    assert parts["step"] == whole["step"] == 2
    assert all(torch.equal(parts["student"][k], v) for k, v in whole["student"].items())
    few = trained("few", {}, begin=tmp_path / "whole", few=8)
    target.mkdir()
    (target / "profile.json").write_text('{"name": "mini"}')
    distill.export(folder, tmp_path / "few", 8, target)
    made = UNet2DConditionModel.from_pretrained(target / "unet")
    assert made.config.time_cond_proj_dim == distill.WIDTH
    key = "conv_out.weight"
    assert torch.allclose(made.state_dict()[key], few["average"][key], atol=1e-3)
    profile = json.loads((target / "profile.json").read_text())
    assert profile["steps"] == 8
    assert profile["guidance_range"] == list(distill.SCALES)
    # Latents of another autoencoder are refused.
    torch.nn.init.zeros_(vae.quant_conv.weight)
    vae.save_pretrained(folder / "vae")
    with pytest.raises(SystemExit, match="another autoencoder"):
        trained("other", {})
