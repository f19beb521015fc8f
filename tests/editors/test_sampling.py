"""Noise levels of the blend and the arithmetic of held findings, against known truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from roentmod.editors import sampling

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
SCHEDULERS = ["ddim", "dpmsolver++", "dpmsolver++-logsnr", "pndm"]
SHAPE = (3, 4, 6, 6)
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


CLEAN, NOISE = drawn(*SHAPE, seed=1), drawn(*SHAPE, seed=2)


def plain(scale=1.0, **held):
    states = torch.zeros(SHAPE[0], 1, 144)
    return sampling.Guidance(states, states, torch.full((SHAPE[0],), scale), **held)


def path(alpha):
    """Return the baseline at a noise level, from the definition."""
    return (alpha**0.5 * CLEAN.double() + (1 - alpha) ** 0.5 * NOISE.double()).float()


class Recorder:
    """A U-Net that is always wrong, and remembers what it was shown."""

    def __init__(self):
        self.seen = []

    def __call__(self, latents, time, states):
        self.seen.append((int(time), latents.clone()))
        return drawn(*latents.shape, seed=int(time)) * 3


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_where_the_weight_is_zero_every_step_sees_the_baseline_at_its_own_noise(
    scheduler, strength
):
    plan = sampling.make_schedule(scheduler, 15, strength)
    nowhere = torch.zeros(SHAPE[0], 1, *SHAPE[2:])
    unet = Recorder()
    latents = sampling.denoise(unet, plan, SCHEDULE, CLEAN, NOISE, plain(), nowhere)
    assert len(unet.seen) >= plan.effective_steps
    for time, shown in unet.seen:
        assert torch.allclose(shown, path(ALPHAS[time]), atol=2e-5)
    # The second-order solver ends clean, the others at the least noise of the schedule.
    end = 1.0 if scheduler == "dpmsolver++" else ALPHAS[0]
    assert torch.allclose(latents, path(end), atol=2e-5)


@pytest.mark.parametrize(
    ("scheduler", "strength", "prediction"),
    [
        *(
            (s, t, p)
            for s in SCHEDULERS[:3]
            for t in (0.4, 1.0)
            for p in ("epsilon", "v_prediction")
        ),
        # It mis-times its start when entered in the middle, and averages velocities of two times.
        ("pndm", 1.0, "epsilon"),
    ],
)
def test_a_perfect_denoiser_cannot_tell_a_region_from_none(scheduler, strength, prediction):
    """It walks the baseline's own path, so any blend at the right level changes nothing."""

    def perfect(latents, time, states):
        alpha = float(ALPHAS[int(time)])
        velocity = alpha**0.5 * NOISE - (1 - alpha) ** 0.5 * CLEAN
        return NOISE if prediction == "epsilon" else velocity

    plan = sampling.make_schedule(scheduler, 20, strength)
    schedule = SCHEDULE | {"prediction_type": prediction}
    weights = torch.rand(SHAPE[0], 1, *SHAPE[2:], generator=torch.Generator().manual_seed(3))
    free, blended = (
        sampling.denoise(perfect, plan, schedule, CLEAN, NOISE, plain(), region)
        for region in (None, weights)
    )
    assert torch.allclose(free, blended, atol=1e-4)
    assert torch.allclose(free, path(1.0 if scheduler == "dpmsolver++" else ALPHAS[0]), atol=1e-3)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_where_the_weight_is_one_not_a_bit_changes(scheduler):
    plan = sampling.make_schedule(scheduler, 15, 0.4)
    everywhere = torch.ones(SHAPE[0], 1, *SHAPE[2:])
    free, whole = (
        sampling.denoise(Recorder(), plan, SCHEDULE, CLEAN, NOISE, plain(), region)
        for region in (None, everywhere)
    )
    assert torch.equal(free, whole)
    half = everywhere.clone()
    half[:, :, :3] = 0
    mixed = sampling.denoise(Recorder(), plan, SCHEDULE, CLEAN, NOISE, plain(), half)
    assert torch.equal(mixed[:, :, 3:], free[:, :, 3:])
    assert not torch.allclose(mixed[:, :, :3], free[:, :, :3], atol=0.1)


def linear(latents, time, states):
    """A U-Net whose answer to a prompt is the prompt's own direction, beside what it sees."""
    return 0.1 * latents + states.reshape(latents.shape)


def directions():
    """Return states u, d, e, n x 1 x 144 each: d at right angles to e in every row."""
    u, d, e = (drawn(SHAPE[0], 1, 144, seed=seed) for seed in (4, 5, 6))
    d = d - (d * e).sum(-1, keepdim=True) / (e * e).sum(-1, keepdim=True) * e
    return u, d, e


def run(scheduler, towards, away, **held):
    plan = sampling.make_schedule(scheduler, 15, 0.4)
    guidance = sampling.Guidance(towards, away, torch.full((SHAPE[0],), 4.0), **held)
    return sampling.denoise(linear, plan, SCHEDULE, CLEAN, NOISE, guidance)


@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_hold_takes_off_exactly_the_share_that_leaks(scheduler, removes):
    u, d, e = directions()
    leak = torch.tensor([0.7, 0.05, 2.0])[:, None, None] * e
    flags = {"removes": torch.full((SHAPE[0],), removes)}

    def edit(finding, held=None):
        pair = (u, finding) if removes else (finding, u)
        extra = {} if held is None else {"held": held[:, None], **flags}
        return run(scheduler, *pair, **extra)

    wanted = edit(u + d)
    assert torch.allclose(edit(u + d + leak, u + e), wanted, atol=1e-4)
    assert not torch.allclose(edit(u + d + leak), wanted, atol=1e-1)
    # What goes the other way does not bring the held finding, and stays.
    assert torch.allclose(edit(u + d - leak, u + e), edit(u + d - leak), atol=1e-4)


def test_rows_are_held_each_by_their_own():
    u, d, e = directions()
    leaks = torch.tensor([0.5, -0.5, 0.0])[:, None, None]
    together = run("ddim", u + d + leaks * e, u, held=(u + e)[:, None])
    wanted = run("ddim", u + d + leaks.clamp(max=0) * e, u)
    assert torch.allclose(together, wanted, atol=1e-4)


def test_without_guidance_hold_still_holds():
    u, d, e = directions()
    plan = sampling.make_schedule("ddim", 15, 0.4)
    one = torch.ones(SHAPE[0])
    loose = sampling.Guidance(u + d + e, u, one)
    tight = replace(loose, held=(u + e)[:, None])
    wanted = replace(loose, towards=u + d)
    got, clean = (
        sampling.denoise(linear, plan, SCHEDULE, CLEAN, NOISE, g) for g in (tight, wanted)
    )
    assert torch.allclose(got, clean, atol=1e-4)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_several_held_findings_are_the_non_negative_least_squares_of_scipy(k):
    d, e = drawn(5, 4, 6, 6, seed=7), drawn(5, k, 4, 6, 6, seed=8)
    # Overlapping among themselves and with the direction, as linked findings do.
    e = e + 0.8 * e[:, :1] + 0.4 * d[:, None]
    kept = sampling.spare(d, e)
    for row in range(5):
        a = e[row].flatten(1).T.double().numpy()
        shares, _ = nnls(a, d[row].flatten().double().numpy())
        wanted = d[row].flatten().double().numpy() - a @ shares
        assert np.allclose(kept[row].flatten().numpy(), wanted, atol=1e-4)
    assert (torch.einsum("nkchw,nchw->nk", e, kept) <= 1e-2).all()
    assert torch.allclose(sampling.spare(d, e.flip(1)), kept, atol=1e-4)


def test_what_is_not_brought_is_not_touched_and_a_mute_prompt_holds_nothing():
    d, e = drawn(2, 4, 6, 6, seed=9), drawn(2, 4, 6, 6, seed=10)
    away = e * torch.where((d * e).sum((1, 2, 3)) > 0, -1.0, 1.0)[:, None, None, None]
    assert torch.equal(sampling.spare(d, away[:, None]), d)
    assert torch.equal(sampling.spare(d, torch.zeros(2, 1, 4, 6, 6)), d)


OWN = torch.arange(SHAPE[0])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("scheduler", SCHEDULERS[:3])
def test_on_its_own_path_a_row_with_nothing_to_guide_ends_at_the_baseline(scheduler, prediction):
    """However wrong the U-Net is: what it misses of the baseline is put right."""
    plan = sampling.make_schedule(scheduler, 15, 0.8)
    schedule = SCHEDULE | {"prediction_type": prediction}
    u, d, _ = directions()
    states = u + d
    for guidance in (
        sampling.Guidance(states, states, torch.full((SHAPE[0],), 4.0), own=OWN),
        sampling.Guidance(states, states, torch.ones(SHAPE[0]), inside=True, own=OWN),
    ):
        got = sampling.denoise(linear, plan, schedule, CLEAN, NOISE, guidance)
        end = 1.0 if scheduler == "dpmsolver++" else ALPHAS[0]
        assert torch.allclose(got, path(end), atol=1e-4)


@pytest.mark.parametrize("removes", [False, True])
def test_what_a_unet_gets_wrong_of_the_baseline_does_not_matter(removes):
    """A drift of any size, the same under all prompts, leaves the edit as it is."""
    u, d, e = directions()
    pair = (u, u + d) if removes else (u + d, u)
    held = {"held": (u + e)[:, None], "removes": torch.full((SHAPE[0],), removes)}

    def drifting(latents, time, states):
        rows = len(latents) // SHAPE[0]
        return linear(latents, time, states) + drawn(*SHAPE, seed=int(time)).repeat(rows, 1, 1, 1)

    for more in ({}, held):
        guidance = sampling.Guidance(*pair, torch.full((SHAPE[0],), 4.0), own=OWN, **more)
        plan = sampling.make_schedule("dpmsolver++-logsnr", 15, 0.4)
        exact, drifted = (
            sampling.denoise(unet, plan, SCHEDULE, CLEAN, NOISE, guidance)
            for unet in (linear, drifting)
        )
        assert torch.allclose(exact, drifted, atol=1e-4)
        assert (exact - CLEAN).abs().mean() > 0.1


def test_rows_of_one_baseline_share_its_path():
    u, d, e = directions()
    rows = torch.tensor([0, 0, 1])
    clean, noise = CLEAN[[0, 0, 2]], NOISE[[0, 0, 2]]
    towards, away = torch.stack([u[0] + d[0], u[0] + e[0], u[2] + d[2]]), u[[0, 0, 2]]
    seen = []

    def counted(latents, time, states):
        seen.append((len(latents), len(states)))
        return linear(latents, time, states)

    def run(unet, keep, own):
        guidance = sampling.Guidance(
            towards[keep], away[keep], torch.full((len(keep),), 3.0), own=own
        )
        plan = sampling.make_schedule("ddim", 15, 0.4)
        return sampling.denoise(unet, plan, SCHEDULE, clean[keep], noise[keep], guidance)

    together = run(counted, [0, 1, 2], rows)
    assert set(seen) == {(3 * 2 + 2, 3 * 2 + 2)}
    for row in range(3):
        alone = run(linear, [row], torch.zeros(1, dtype=torch.long))
        assert torch.allclose(alone[0], together[row], atol=1e-5)
