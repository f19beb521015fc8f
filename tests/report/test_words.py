"""Numbers and sentences of the report."""

import math

import pytest

from roentmod.jobs.audit import sections
from roentmod.report import words
from roentmod.science.effects import CELLS
from tests.report.fake import cells

PLAN = {"margin": 0.2, "level": 0.9}


def row(**changes):
    found = cells(1).to_dict("records")
    first = next(
        r for r in found if (r["edited"], r["read"]) == ("Support Devices", "Pneumothorax")
    )
    return first | changes


def said(*args, **options):
    return sections.cell_sentence(*args, **options).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.234, "+1.23"), (-1.236, "−1.24"), (0, "0.00"), (-0.001, "0.00"), (math.nan, "–")],
)
def test_signed(value, text):
    assert words.signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.476, "48 %"), (-0.3, "−30 %"), (math.inf, "–"), (None, "–")]
)
def test_percent(value, text):
    assert words.percent(value).replace("\u00a0", " ") == text


@pytest.mark.parametrize(("p", "text"), [(0.0009, "<0.001"), (0.0371, "0.037"), (math.nan, "–")])
def test_p(p, text):
    assert words.p_value(p) == text


def test_a_rise():
    text = said(row(ratio=0.33, corrected=0.33, effect=1.7, low=1.2, high=2.1), PLAN)
    assert text == (
        "Adding Support Devices raises Pneumothorax by +1.7 logits (90 % CI 1.2 to 2.1): "
        "33 % of what adding Pneumothorax itself does; margin 20 %."
    )


def test_a_fall_is_told_in_the_direction_of_its_verb():
    text = said(row(ratio=-0.1, corrected=-0.1, effect=-0.5, low=-1.2, high=0.2), {})
    assert text == (
        "Adding Support Devices lowers Pneumothorax by 0.5 logits (95 % CI −0.2 to 1.2): "
        "10 % of what adding Pneumothorax itself does, the other way."
    )


def test_a_removal_with_a_positive_effect_is_a_fall():
    text = said(row(ratio=0.3, corrected=0.3, effect=1.5, low=1, high=2), PLAN, removed=True)
    assert text.startswith("Removing Support Devices lowers Pneumothorax by 1.5 logits")
    assert "30 % of what removing Pneumothorax itself does; margin" in text
    rise = said(row(effect=-1.5, low=-2, high=-1), PLAN, removed=True)
    assert rise.startswith("Removing Support Devices raises Pneumothorax by +1.5 logits")


def test_without_a_yardstick_or_an_effect():
    share = dict.fromkeys(CELLS[CELLS.index("margin") : CELLS.index("detectable")], math.nan)
    assert "has no sure effect of its own to compare with" in said(row(**share), PLAN)
    assert said(row(effect=math.nan), PLAN).endswith("the effect on Pneumothorax is not known.")


def test_ranking_puts_verdict_before_size():
    order = [
        row(verdict="within margin", corrected=-0.15),
        row(verdict="shortcut", corrected=0.3),
        row(verdict="undecided", corrected=0.9),
        row(verdict="shortcut", corrected=0.5),
        row(verdict="no yardstick", corrected=math.nan),
    ]
    found = [r["corrected"] for r in sections.ranked(order)]
    assert found[:3] == [0.5, 0.3, 0.9]
    assert found[4] == -0.15


def test_settings_are_flattened():
    nested = {"a": {"b": 1.50, "c": [1, 2]}, "d": [{"e": True}], "f": None, "g": {}}
    assert words.flat(nested) == [
        ("a.b", "1.5"),
        ("a.c", "1, 2"),
        ("d.1.e", "yes"),
        ("f", "–"),
        ("g", "–"),
    ]


def test_readable():
    assert words.readable("a\n\x00b") == "a  b"
    assert words.readable("Pleural Effusion", 8) == "Pleural…"
