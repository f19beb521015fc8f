"""The picture of a retraining's report: what each arm gains over the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roentmod.report.figures import _FAINT, _GRID, Picture, Row, _style, _svg, _unique
from roentmod.report.words import interval, readable, signed

__all__ = ["gains"]

# Okabe and Ito (2008), less the yellow that paper swallows; markers repeat what colours say.
_ARMS = (
    ("#6b6b70", "o"),
    ("#56B4E9", "v"),
    ("#CC79A7", "P"),
    ("#0072B2", "^"),
    ("#D55E00", "s"),
    ("#009E73", "D"),
)
_LABEL = 34  # characters of a pair's name that fit beside the figure
_ROOM = 0.8  # of a line, shared by the arms
_VALUE = ("difference", "low", "high")


def gains(rows: Sequence[Row], *, limit: float, reference: str) -> Picture:
    """Return gains in points of AUC with intervals, a panel a test, a line a subject.

    Args:
        rows: subject, arm, test, where, difference, low and high; differences as shares.
        limit: what a gain should reach.
        reference: the arm they are against.
    """
    tests = _unique([(row["where"], row["test"]) for row in rows])
    subjects = _unique([row["subject"] for row in rows])
    arms = _unique([row["arm"] for row in rows])
    with _style():
        height = 1.5 + (0.14 + 0.15 * len(arms)) * len(subjects)
        figure = Figure(figsize=(2.6 + 3.1 * len(tests), height), layout="constrained")
        panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
        for axes, (where, test) in zip(panels, tests, strict=True):
            own = [row for row in rows if (row["where"], row["test"]) == (where, test)]
            _panel(axes, own, subjects, arms, limit)
            axes.set_title(f"{where}: {readable(test, _LABEL)}", fontsize=9, loc="left")
            axes.set_xlabel(f"Points of AUC above {readable(reference)}", fontsize=8)
        names = [readable(subject, _LABEL) for subject in subjects]
        panels[0].set_yticks(range(len(subjects)), names, fontsize=8)
        panels[0].set_ylim(len(subjects) - 0.5, -0.5)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=8, ncols=len(arms))
        return _svg(figure, _alt(rows, reference))


def _panel(
    axes: Axes, rows: Sequence[Row], subjects: list[str], arms: list[str], limit: float
) -> None:
    axes.axvline(0, color=_FAINT, linewidth=0.8, zorder=1)
    axes.axvline(100 * limit, color=_FAINT, linewidth=0.8, linestyle=":", zorder=1)
    for line in range(1, len(subjects)):
        axes.axhline(line - 0.5, color=_GRID, linewidth=0.6, zorder=0)
    for place, arm in enumerate(arms):
        colour, marker = _ARMS[place % len(_ARMS)]
        shift = ((place + 0.5) / len(arms) - 0.5) * _ROOM
        own = [row for row in rows if row["arm"] == arm]
        y = [subjects.index(row["subject"]) + shift for row in own]
        value, low, high = ([100 * float(row[k]) for row in own] for k in _VALUE)
        axes.hlines(y, low, high, color=colour, linewidth=1.4)
        axes.plot(value, y, marker, color=colour, markersize=4.5, label=readable(arm))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["left"].set_visible(False)


def _alt(rows: Sequence[Row], reference: str) -> str:
    told = []
    for row in rows:
        value, low, high = (100 * float(row[k]) for k in _VALUE)
        if math.isfinite(value):
            name = f"{readable(row['subject'])}, {readable(row['arm'])}, {readable(row['test'])}"
            told.append(f"{name} {signed(value, 1)} ({interval(low, high, 1)})")
    return f"Points of AUC above {readable(reference)}, with intervals: {'; '.join(told)}."
