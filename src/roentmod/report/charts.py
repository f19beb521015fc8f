"""The pictures of a validation's report, as data URIs: same rows, same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from roentmod.report.figures import _FAINT, _INK, _LINES, Picture, _dark, _style, _svg
from roentmod.report.words import number, percent, readable, signed

__all__ = ["heat_map", "spectra", "spread"]

Row = Mapping[str, Any]


def heat_map(rows: Sequence[Row], key: str, title: str, chosen: Row | None) -> Picture:
    """Return one share over strength (down) and guidance (across); the chosen point is framed."""
    strengths = sorted({float(row["strength"]) for row in rows})
    guidances = sorted({float(row["guidance_scale"]) for row in rows})
    with _style():
        size = (1.3 + 0.72 * len(guidances), 1.25 + 0.5 * len(strengths))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        colours = matplotlib.colormaps["viridis"]
        for row in rows:
            x, y = guidances.index(float(row["guidance_scale"])), strengths.index(row["strength"])
            value = float(row[key])
            known = math.isfinite(value)
            face = colours(Normalize(0, 1, clip=True)(value)) if known else (1.0, 1.0, 1.0)
            hatch = None if known else "////"
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=face, hatch=hatch, edgecolor="w"))
            ink = "#ffffff" if _dark(face) else _INK
            axes.text(x + 0.5, y + 0.5, percent(value), ha="center", va="center", color=ink)
            if chosen is not None and _same(row, chosen):
                frame = Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, fill=False, zorder=3)
                frame.set(edgecolor=_LINES[0][0], linewidth=3)
                axes.add_patch(frame)
        axes.set(xlim=(0, len(guidances)), ylim=(len(strengths), 0))
        axes.set_xticks([i + 0.5 for i in range(len(guidances))], [f"{g:g}" for g in guidances])
        axes.set_yticks([i + 0.5 for i in range(len(strengths))], [f"{s:g}" for s in strengths])
        axes.set_xlabel("guidance_scale", fontsize=8)
        axes.set_ylabel("strength", fontsize=8)
        axes.set_title(title, fontsize=9, loc="left")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        told = "; ".join(
            f"{row['strength']:g} and {row['guidance_scale']:g}: {percent(row[key])}"
            for row in rows
        )
        return _svg(figure, f"{title} by strength and guidance: {told}.")


def _same(row: Row, other: Row) -> bool:
    return all(float(row[k]) == float(other[k]) for k in ("strength", "guidance_scale"))


def spread(groups: Sequence[Row], pairs: Sequence[Row]) -> Picture:
    """Return patients' median distances by group, and each group's median with its interval."""
    with _style():
        figure = Figure(figsize=(7.2, 0.9 + 0.55 * len(groups)), layout="constrained")
        axes = figure.add_subplot()
        for y, group in enumerate(groups):
            values = _by_patient(pairs, group["group"])
            # Dots that would lie upon each other are set apart, in a fixed order.
            shift = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.5
            axes.plot(values, y + shift, "o", color=_LINES[1][0], alpha=0.35, markersize=3.5)
            if math.isfinite(float(group["median"])):
                axes.plot([group["low"], group["high"]], [y, y], color=_INK, linewidth=2)
                axes.plot(group["median"], y, "D", color=_INK, markersize=6)
        axes.set_yticks(range(len(groups)), [readable(g["group"]) for g in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel(
            "pFID: dots are patients, diamonds the median with its interval", fontsize=8
        )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        told = "; ".join(
            f"{readable(g['group'])} {number(g['median'])} ({number(g['low'])} to "
            f"{number(g['high'])}, {g['patients']} patients)"
            for g in groups
        )
        return _svg(figure, f"Median pFID by group: {told}.")


def _by_patient(pairs: Sequence[Row], group: str) -> list[float]:
    found: dict[str, list[float]] = {}
    for row in pairs:
        if row["group"] == group:
            found.setdefault(str(row["patient_id"]), []).append(float(row["pfid"]))
    return sorted(float(np.median(values)) for values in found.values())


def spectra(rows: Sequence[Row]) -> Picture:
    """Return how power differs from the baseline's by frequency, a panel an arm, a line a mode."""
    arms = list(dict.fromkeys(str(row["arm"]) for row in rows))
    with _style():
        figure = Figure(figsize=(1 + 3.3 * len(arms), 3.0), layout="constrained")
        panels = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
        told = []
        for axes, arm in zip(panels, arms, strict=True):
            told.append(_spectrum(axes, arm, [row for row in rows if row["arm"] == arm]))
        panels[0].set_ylabel("Change of log10 power", fontsize=8)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=8, ncols=3)
        return _svg(figure, f"Change of log10 power at the highest frequencies: {'; '.join(told)}.")


def _spectrum(axes: Axes, arm: str, rows: Sequence[Row]) -> str:
    axes.axhline(0, color=_FAINT, linewidth=0.8)
    told = []
    modes = list(dict.fromkeys(str(row["composite"]) for row in rows))
    for mode, (colour, marker) in zip(modes, _LINES, strict=False):
        own = [row for row in rows if row["composite"] == mode]
        x, y, low, high = (
            np.array([float(row[key]) for row in own])
            for key in ("frequency", "change", "low", "high")
        )
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, y, color=colour, marker=marker, markersize=3, linewidth=1.4, label=mode)
        told.append(f"{mode} {signed(y[-1])}")
    axes.set_title(f"{arm} against its own baseline", fontsize=9, loc="left")
    axes.set_xlabel("cycles a pixel", fontsize=8)
    axes.tick_params(labelsize=8)
    return f"{arm} {', '.join(told)}"
