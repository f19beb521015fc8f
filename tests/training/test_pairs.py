"""What `mini` is taught: arithmetic that must hold whatever the network."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from training import autoencoder, generator, unet, vocabulary


@pytest.fixture
def batches():
    """Two hosts, one real positive, one request painted in three places, one painted once."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((7, 4, 6, 6), generator=generator)
    facts = [(["No Finding"], None, None, -1)] * 2 + [(["Edema"], None, None, -1)]
    facts += [(["Nodule"], "left", "mild", 0)] * 3 + [(["Edema"], None, "severe", 1)]
    return unet.Batches({"latents": latents, "facts": facts})


def perfect(batch, schedule):
    """Return a model that predicts what the training asks for."""
    noisy = schedule.add_noise(batch.clean, batch.noise, batch.times)
    signal = schedule.alphas_cumprod[batch.times][:, None, None, None]
    answer = (signal.sqrt() * noisy - batch.target) / (1 - signal).sqrt()
    return noisy, signal, answer


def test_a_perfect_model_has_no_loss(batches):
    schedule, batch = generator.scheduler(), batches.draw(3)
    _, _, answer = perfect(batch, schedule)
    losses = unet.loss_of(lambda *_: answer, batch, schedule)
    assert [loss.item() for loss in losses] == pytest.approx([0, 0, 0, 0], abs=1e-9)
    worse = unet.loss_of(lambda *_: answer + 0.1, batch, schedule)
    assert worse.error.item() == pytest.approx(0.01, rel=1e-3)
    # An error that both prompts share moves neither.
    assert worse.apart.item() == pytest.approx(0, abs=1e-9)
    assert worse.there.item() == pytest.approx(0, abs=1e-9)


def test_texture_that_a_block_evens_out_is_no_error_of_blocks(batches):
    schedule, batch = generator.scheduler(), batches.draw(3)
    _, _, answer = perfect(batch, schedule)
    texture = torch.ones_like(answer)
    texture[..., ::2] = -1
    texture[unet.PAIRS :] = 0
    fine = unet.loss_of(lambda *_: answer + 0.1 * texture, batch, schedule)
    coarse = unet.loss_of(lambda *_: answer + 0.1 * texture.abs(), batch, schedule)
    assert fine.apart.item() == pytest.approx(coarse.apart.item(), rel=1e-4)
    assert fine.blocks.item() < 1e-9 < 1e-4 < coarse.blocks.item()


def test_an_error_weighs_more_where_the_pictures_differ():
    """Two cells of a nodule: the same error there, and elsewhere."""
    host = torch.zeros(2, 4, 6, 6)
    painted = host[:1].clone()
    painted[:, :, 2, 2:4] = 1
    facts = [(["No Finding"], None, None, -1), (["Edema"], None, None, -1)]
    facts += [(["Nodule"], "left", "mild", 0)]
    state = {"latents": torch.cat([host, painted]), "facts": facts}
    schedule = generator.scheduler()
    batch = unet.Batches(state).draw(0)
    _, _, answer = perfect(batch, schedule)
    wrong = torch.zeros_like(answer)
    wrong[: unet.PAIRS, :, 2, 2:4] = 0.1
    there = unet.loss_of(lambda *_: answer + wrong, batch, schedule)
    elsewhere = unet.loss_of(lambda *_: answer + wrong.roll(3, -2), batch, schedule)
    assert there.apart.item() == pytest.approx(elsewhere.apart.item(), rel=1e-4)
    assert there.there.item() > 100 * elsewhere.there.item()


def test_the_other_severity_is_the_same_finding_in_the_same_host():
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn((6, 4, 6, 6), generator=generator)
    facts = [(["No Finding"], None, None, -1)] * 2 + [(["Edema"], None, None, -1)]
    facts += [(["Mass"], "left", "mild", 0), (["Mass"], "left", "severe", 0)]
    facts += [(["Mass"], "left", "severe", 1)]
    batches = unet.Batches({"latents": latents, "facts": facts})
    assert batches.other == {3: 4, 4: 3}
    words = [
        (batch.prompts[row], batch.prompts[unet.PAIRS + row])
        for batch in map(batches.draw, range(12))
        for row in range(unet.PAIRS)
    ]
    graded = [(one, two) for one, two in words if "mass" in two and not two.startswith("no ")]
    assert 0.1 < len(graded) / len(words) < 0.4


def test_plain_rows_are_usual_v_prediction(batches):
    schedule, batch = generator.scheduler(), batches.draw(5)
    _, _, answer = perfect(batch, schedule)
    usual = schedule.get_velocity(batch.clean, batch.noise, batch.times)
    plain = slice(2 * unet.PAIRS, None)
    assert torch.allclose(answer[plain], usual[plain], atol=1e-4)


def test_guidance_arrives_at_the_painting(batches):
    """At guidance 1 / REACH from the empty prompt, a perfect model's picture is the painted one."""
    schedule = generator.scheduler()
    seen = 0
    for step in range(20):
        batch = batches.draw(step)
        noisy, signal, answer = perfect(batch, schedule)
        away, towards = answer[unet.PAIRS : 2 * unet.PAIRS], answer[: unet.PAIRS]
        guided = away + (towards - away) / unet.REACH
        picture = signal[: unet.PAIRS].sqrt() * noisy[: unet.PAIRS]
        picture = picture - (1 - signal[: unet.PAIRS]).sqrt() * guided
        for row in range(unet.PAIRS):
            if batch.prompts[unet.PAIRS + row] == "":
                distance = (batches.latents[3:] - picture[row]).abs().amax((1, 2, 3)).min()
                assert distance < 1e-3
                seen += 1
    assert seen > 20


def test_the_way_to_an_absence_arrives_at_the_host_and_stays_there(batches):
    """Another finding's absence gives back what was noised, as the empty prompt does."""
    seen = {True: 0, False: 0}
    for step in range(60):
        batch = batches.draw(step)
        for row in range(unet.PAIRS):
            words = batch.prompts[unet.PAIRS + row]
            clean, target = batch.clean[row], batch.target[unet.PAIRS + row]
            if not words.startswith("no ") or words in vocabulary.NORMAL:
                continue
            own = not torch.equal(clean, target)
            arrived = clean + (target - clean) / unet.REACH
            distance = (batches.latents[:3] - arrived).abs().amax((1, 2, 3)).min()
            moved = (clean - batches.latents[:3]).abs().amax((1, 2, 3)).min() > 1e-3
            if own:
                assert distance < 1e-3
            # What says that another finding is not there leaves this one.
            seen[own] += bool(own or moved)
    assert min(seen.values()) > 5


def test_same_step_same_batch(batches):
    one, two, other = batches.draw(1), batches.draw(1), batches.draw(2)
    assert torch.equal(one.clean, two.clean)
    assert one.prompts == two.prompts
    assert not torch.equal(one.noise, other.noise)


def test_evened_out_latents_are_standard_and_pictures_stay():
    torch.manual_seed(0)
    vae: AutoencoderKL = autoencoder.build().eval()
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (3, 1, 64, 64)).astype("f4"))
    with torch.no_grad():
        before = vae.encode(x).latent_dist
        picture = vae.decode(before.mean).sample
        mean, deviation = before.mean.mean((0, 2, 3)), before.mean.std((0, 2, 3))
        autoencoder.even_out(vae, mean, deviation)
        after = vae.encode(x).latent_dist
        assert torch.allclose(after.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
        assert torch.allclose(after.mean.std((0, 2, 3)), torch.ones(4), atol=1e-4)
        assert torch.allclose(after.std, before.std / deviation[:, None, None], rtol=1e-3)
        assert torch.allclose(vae.decode(after.mean).sample, picture, atol=1e-4)
