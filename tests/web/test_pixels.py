"""What the server gives a viewer."""

import gzip

import numpy as np

import roentmod as rm
from roentmod.radiograph import Radiograph
from roentmod.web.pixels import encode


def test_display_values_are_exact():
    shown = np.linspace(0, 1, 80 * 64, dtype=np.float32).reshape(80, 64)
    radiograph = Radiograph.from_array(shown)
    pixels = encode(radiograph)
    values = np.frombuffer(gzip.decompress(pixels.body), "<u2").reshape(80, 64)
    np.testing.assert_allclose(values / 65535, radiograph.pixels, atol=0.5 / 65535)
    assert pixels.headers["X-Width"] == "64"
    assert pixels.headers["X-Height"] == "80"
    assert pixels.headers["X-Spacing-Mm"] == ""
    assert encode(radiograph) == pixels


def test_spacing_is_that_of_the_picture():
    drawn = rm.phantom(0, size=192).radiograph
    assert float(encode(drawn).headers["X-Spacing-Mm"]) == round(drawn.spacing_mm[0], 5)
