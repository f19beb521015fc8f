"""Figures show all that they are given, in the picture and in words."""

import base64
import re

import pytest

from roentmod.report import figures
from roentmod.report.words import number


def drawn(picture):
    return base64.b64decode(picture.uri.partition(",")[2]).decode()


@pytest.mark.parametrize("top", [0.01, 50.0])
def test_an_axis_from_zero_is_fitted_to_the_values(top):
    point = figures.Point("a", (top / 2, 0.0, top), cloud=(top,))
    picture = figures.intervals([point], figures.Axis("d", number, least=0), "Distances")
    dots = re.findall(r'<use [^>]*x="([0-9.]+)"[^>]*fill: #0072b2', drawn(picture))
    points = picture.width * 72 / 96
    assert [0.8 * points < float(x) < points for x in dots] == [True]


def test_lines_are_said_point_by_point():
    line = figures.Line("Edema", [(1.0, 0.5, 0.4, 0.6), (2.0, 1.1, 1.0, 1.2)])
    ticks = {1.0: "mild", 2.0: "severe"}
    picture = figures.lines([figures.Panel("Adding Mass", [line], ticks)], "Effect")
    assert picture.alt == "Effect. Adding Mass: Edema +0.5 at mild, +1.1 at severe."


def test_squares_are_said_one_by_one():
    squares = [figures.Square("a", "x", 0.5, "50 %"), figures.Square("b", "x", 0.1, "10 %")]
    scale = figures.Scale("viridis", 0, 1)
    picture = figures.grid(squares, scale, "Success", down="strength", across="guidance")
    assert picture.alt == "Success by strength and guidance: a and x: 50 %; b and x: 10 %."
