import numpy as np
import torch
from scipy import ndimage

from roentmod.learning import augmentation as module
from roentmod.learning.augmentation import vary


def blob(row, column, side=64):
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18).astype(np.float32)


def test_a_blob_stays_on_its_side():
    """Moved by less than a turn, a zoom and a shift can explain; never to the other side."""
    images = torch.from_numpy(np.repeat(blob(20, 46)[None, None], 200, axis=0)) * 0.8 + 0.1
    varied = vary(images, range(200), 200, 3).numpy()[:, 0]
    centres = [ndimage.center_of_mass(np.clip(one - 0.45, 0, None)) for one in varied]
    moved = np.array(centres) - [20, 46]
    assert np.abs(moved).max() < 9
    assert moved.std(axis=0).min() > 1
    assert varied.min() >= 0
    assert varied.max() <= 1


def test_each_kind_of_change_is_made(monkeypatch):
    still = dict.fromkeys(
        ("_TURN", "_SHIFT", "_ZOOM", "_GAMMA", "_CONTRAST", "_BRIGHTNESS", "_GRAIN"), 0.0
    )
    image = torch.from_numpy(blob(20, 40)[None, None]) * 0.6 + 0.2

    def with_only(name):
        for key, value in still.items():
            monkeypatch.setattr(module, key, usual[key] if key == name else value)
        return (vary(image, [0], 1, 5) - image).abs().max().item()

    usual = {name: getattr(module, name) for name in still}
    assert with_only("none") < 1e-5
    assert all(with_only(name) > 0.005 for name in still)


def test_processes_vary_their_part_as_one_would_the_whole():
    images = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = vary(images, range(8), 8, 7)
    for rank in (0, 1):
        own = list(range(rank, 8, 2))
        assert torch.allclose(vary(images[own], own, 8, 7), whole[own], atol=1e-5)
    assert torch.equal(vary(images, range(8), 8, 7), whole)
    assert not torch.allclose(vary(images, range(8), 8, 8), whole, atol=1e-2)
