"""Lines that are drawn are found; borders, blobs and growing hearts are none."""

import numpy as np
import pytest

from roentmod.datasets.phantom import phantom
from roentmod.editors.painter import paint
from roentmod.errors import AuditError
from roentmod.science.fidelity import LONG, longest_line

SIDE = 224
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(float)


def curve(width=1.5, height=0.2):
    """A tube from the neck down and aside, as a catheter lies."""
    middle = 90 + 30 * np.sin(ROWS / 60)
    inside = (np.abs(COLUMNS - middle) < width) & (ROWS > 20) & (ROWS < 180)
    return height * inside


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tube_is_found_bright_or_dark(sign):
    noise = np.random.default_rng(0).normal(0, 0.003, (SIDE, SIDE))
    assert longest_line(sign * curve() + noise) == pytest.approx(165 / SIDE, abs=0.12)


@pytest.mark.parametrize(
    "change",
    [
        np.zeros((SIDE, SIDE)),
        0.2 * (ROWS > 150),  # a level of fluid: a border, however long
        0.3 * (np.hypot(ROWS - 100, COLUMNS - 80) < 12),  # a mass
        0.3 * np.exp(-(((COLUMNS - 112) / 40) ** 2)),  # a veil
        np.random.default_rng(1).normal(0, 0.01, (SIDE, SIDE)),
        curve(height=0.01),  # what nobody sees
    ],
)
def test_what_is_no_tube(change):
    assert longest_line(change) < 0.2


def test_painted_tubes_and_hearts():
    tubes, hearts = [], []
    for seed in range(3):
        body = phantom(seed, size=SIDE)
        pixels = body.radiograph.pixels
        for name, form, found in (
            ("Support Devices", "gastric tube", tubes),
            ("Cardiomegaly", "globular", hearts),
        ):
            made = paint(pixels, body.anatomy, name, seed=seed, form=form)
            found.append(longest_line(made.image - pixels))
    assert sorted(tubes)[1] >= LONG
    assert min(tubes) > max(hearts)
    assert max(hearts) < LONG


def test_another_size_is_refused():
    with pytest.raises(AuditError, match="224 x 224"):
        longest_line(np.zeros((100, 100)))
