"""Figures as data URIs: same rows, same bytes.

Drawn without pyplot and without the user's matplotlibrc, so that nothing outside changes them and
they change nothing outside.
"""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import image as raster
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from roentmod.report.page import Picture
from roentmod.report.words import Form, interval, percent, readable, signed

__all__ = [
    "ACCENT",
    "INK",
    "Axis",
    "Line",
    "Panel",
    "Point",
    "Scale",
    "Square",
    "grid",
    "intervals",
    "lines",
    "photograph",
]

INK, ACCENT = "#1d1d1f", "#D55E00"
_FAINT, _RULE, _PLAIN = "#6b6b70", "#d5d5da", "#e9e9ee"
# Okabe and Ito (2008), less the yellow that paper swallows; markers repeat what colours say.
_LINES = ((ACCENT, "s"), ("#0072B2", "^"), ("#009E73", "D"))
_SERIES = (
    (_FAINT, "o"),
    ("#56B4E9", "v"),
    ("#CC79A7", "P"),
    ("#0072B2", "^"),
    (ACCENT, "s"),
    ("#009E73", "D"),
)
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a finding may be called "$"
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.edgecolor": _FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.fontsize": 8,
    "hatch.linewidth": 0.6,
    "hatch.color": "#b5b5bb",
    "svg.fonttype": "path",
    "svg.hashsalt": "roentmod",
}
_NAME, _LABEL = 26, 48  # characters of a finding, and of a line's label, that fit beside a figure
_ROOM = 0.8  # of a line, shared by its series
_SMALL = 20_000  # bytes up to which a photograph is kept as it is
_SIDE = 288  # pixels to which a larger one is reduced


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def _svg(figure: Figure, alt: str, label: str) -> Picture:
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    width = round(figure.get_size_inches()[0] * 96)
    return Picture(_uri("image/svg+xml", buffer.getvalue()), alt, width, label)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


@dataclass(frozen=True)
class Square:
    """A square of a `grid`, coloured by its value: NaN is hatched, None grey.

    Its frame has the colour `frame`, if any; `small` stands below its text.
    """

    row: str
    column: str
    value: float | None
    text: str
    small: str = ""
    bold: bool = False
    frame: str = ""


@dataclass(frozen=True)
class Scale:
    """Colours of a `grid` from `low` to `high`; with `ticks` (shares) it is drawn below."""

    colours: str
    low: float
    high: float
    ticks: tuple[float, ...] = ()
    label: str = ""


def grid(
    squares: Sequence[Square],
    scale: Scale,
    label: str,
    *,
    down: str,
    across: str,
    columns: Sequence[str] = (),
    alt: str = "",
) -> Picture:
    """Return squares in rows and columns, each in the order in which its name first comes.

    Args:
        squares: what is drawn.
        scale: its colours; where they are drawn, columns are named at the top.
        label: what the figure is called.
        down: what rows are.
        across: what columns are.
        columns: their order, if another.
        alt: the same in words, if not square by square.
    """
    rows = list(dict.fromkeys(square.row for square in squares))
    columns = list(columns or dict.fromkeys(square.column for square in squares))
    barred = bool(scale.ticks)
    width = (2.5 if barred else 1.3) + 0.86 * len(columns)
    height = (2.3 if barred else 1.25) + 0.52 * len(rows)
    with _style():
        figure, (axes,) = _panels(1, width, height)
        for square in squares:
            _square(axes, square, (columns.index(square.column), rows.index(square.row)), scale)
        axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        _names(axes, rows, columns, slanted=barred)
        axes.set_xlabel(across, color=_FAINT)
        axes.set_ylabel(down, color=_FAINT)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if barred:
            _bar(figure, axes, scale)
        else:
            axes.set_title(label)
        parts = "; ".join(f"{one.row} and {one.column}: {one.text}" for one in squares)
        return _svg(figure, alt or f"{label} by {down} and {across}: {parts}.", label)


def _square(axes: Axes, square: Square, place: tuple[int, int], scale: Scale) -> None:
    x, y = place
    face: Any = _PLAIN if square.value is None else "#ffffff"
    ink, hatch = INK, None
    if square.value is not None and math.isfinite(square.value):
        norm = Normalize(scale.low, scale.high, clip=True)
        face = matplotlib.colormaps[scale.colours](norm(square.value))
        ink = "#ffffff" if _dark(face) else INK
    elif square.value is not None:
        hatch = "////"
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=face, hatch=hatch, edgecolor="#ffffff"))
    if square.frame:
        frame = Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, fill=False, edgecolor=square.frame)
        frame.set(linewidth=1.6 if square.frame == INK else 3, zorder=3)
        axes.add_patch(frame)
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    bold = "bold" if square.bold else "normal"
    top = 0.36 if square.small else 0.5
    axes.text(x + 0.5, y + top, square.text, fontsize=8.5, fontweight=bold, **middle)
    axes.text(x + 0.5, y + 0.72, square.small, fontsize=7.5, **middle)


def _dark(colour: tuple[float, ...]) -> bool:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2] < 0.45


def _names(axes: Axes, rows: Sequence[str], columns: Sequence[str], *, slanted: bool) -> None:
    across, down = ([readable(name, _NAME) for name in names] for names in (columns, rows))
    axes.set_yticks([i + 0.5 for i in range(len(rows))], down)
    turned: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"}
    axes.set_xticks([i + 0.5 for i in range(len(columns))], across, **(turned if slanted else {}))
    if slanted:
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")


def _bar(figure: Figure, axes: Axes, scale: Scale) -> None:
    colours = matplotlib.cm.ScalarMappable(
        Normalize(scale.low, scale.high), matplotlib.colormaps[scale.colours]
    )
    bar = figure.colorbar(colours, ax=axes, orientation="horizontal", fraction=0.06, aspect=40)
    bar.set_ticks(scale.ticks, labels=[percent(tick) for tick in scale.ticks])
    bar.ax.tick_params(labelsize=8, color=_FAINT)
    bar.outline.set_visible(False)
    bar.set_label(scale.label)


@dataclass(frozen=True)
class Point:
    """A value with its interval (`at`; NaN is not drawn) in a line, a series and a panel.

    Series have colours and a legend; without them a point has its own `colour` and `marker`. The
    cloud is single values behind it.
    """

    line: str
    at: tuple[float, float, float]
    series: str = ""
    panel: str = ""
    colour: str = INK
    marker: str = "o"
    cloud: tuple[float, ...] = ()


@dataclass(frozen=True)
class Axis:
    """The axis of values: half a grey band about 0, a dotted line, where it begins.

    `form` writes its values in words.
    """

    label: str
    form: Form
    margin: float | None = None
    goal: float | None = None
    least: float | None = None


def intervals(points: Sequence[Point], axis: Axis, label: str) -> Picture:
    """Return values with their intervals (a forest plot), one line below the other."""
    names, series, panels = (
        list(dict.fromkeys(getattr(point, key) for point in points))
        for key in ("line", "series", "panel")
    )
    several = series != [""]
    each = 0.14 + 0.15 * len(series) if several else 0.3
    each = 0.55 if any(point.cloud for point in points) else each
    width = 7.2 if panels == [""] else 2.6 + 3.1 * len(panels)
    with _style():
        figure, drawn = _panels(len(panels), width, 1.05 + 0.45 * several + each * len(names))
        for axes, panel in zip(drawn, panels, strict=True):
            own = [point for point in points if point.panel == panel]
            _guides(axes, axis, len(names) if several else 0)
            _points(axes, own, names, series)
            if axis.least is not None:  # after the points, to which the other end is fitted
                axes.set_xlim(left=axis.least)
            axes.set(title=readable(panel, _LABEL), xlabel=axis.label)
        drawn[0].set_yticks(range(len(names)), [readable(n, _LABEL) for n in names], fontsize=8)
        drawn[0].set_ylim(len(names) - 0.5, -0.5)
        if several:
            _legend(figure, drawn[0], len(series))
        return _svg(figure, f"{label}: {'; '.join(_words(p, axis) for p in points)}.", label)


def _words(point: Point, axis: Axis) -> str:
    name = ", ".join(filter(None, (point.line, point.series, point.panel)))
    return f"{name} {axis.form(point.at[0])} ({interval(*point.at[1:], axis.form)})"


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _guides(axes: Axes, axis: Axis, rules: int) -> None:
    if axis.margin is not None:
        axes.axvspan(-axis.margin, axis.margin, color=_PLAIN, zorder=0, linewidth=0)
    axes.axvline(0, color=_FAINT, linewidth=0.8, zorder=1)
    if axis.goal is not None:
        axes.axvline(axis.goal, color=_FAINT, linewidth=0.8, linestyle=":", zorder=1)
    for line in range(1, rules):
        axes.axhline(line - 0.5, color=_RULE, linewidth=0.6, zorder=0)
    if axis.form is percent:
        axes.xaxis.set_major_formatter(lambda value, _: percent(value))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["left"].set_visible(False)


def _points(axes: Axes, points: Sequence[Point], names: list[str], series: list[str]) -> None:
    for place, one in enumerate(series):
        shift = ((place + 0.5) / len(series) - 0.5) * _ROOM
        for point in [point for point in points if point.series == one]:
            y = names.index(point.line) + shift
            colour, marker = _SERIES[place % len(_SERIES)] if one else (point.colour, point.marker)
            # Dots that would lie upon each other are set apart, in a fixed order.
            apart = (np.arange(len(point.cloud)) * 0.618 % 1 - 0.5) * 0.5
            axes.plot(point.cloud, y + apart, "o", color=_LINES[1][0], alpha=0.35, markersize=3.5)
            axes.plot(point.at[1:], [y, y], color=colour, linewidth=1.6)
            drawn = axes.plot(point.at[0], y, marker, color=colour, markersize=5)
        drawn[0].set_label(readable(one))


@dataclass(frozen=True)
class Line:
    """A line through points (x, y, low, high); the `main` one is dashed and dark."""

    name: str
    points: Sequence[tuple[float, float, float, float]]
    main: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines on one pair of axes; with `ticks`, their x have names and intervals are bars."""

    title: str
    lines: Sequence[Line]
    ticks: Mapping[float, str] = field(default_factory=dict)
    label: str = ""


def lines(
    panels: Sequence[Panel], label: str, *, limits: tuple[float, float] | None = None
) -> Picture:
    """Return panels of lines with intervals on one scale; `label` says what they show."""
    with _style():
        figure, drawn = _panels(len(panels), 3.3 * len(panels) + 0.3 * (len(panels) > 1), 2.9)
        for axes, panel in zip(drawn, panels, strict=True):
            axes.axhline(0, color=_FAINT, linewidth=0.8)
            styles = iter(_LINES)
            for line in panel.lines:
                _line(axes, line, (INK, "o") if line.main else next(styles), bars=bool(panel.ticks))
            if panel.ticks:
                axes.set_xticks(list(panel.ticks), [readable(t, 12) for t in panel.ticks.values()])
                axes.margins(x=0.1)
            axes.set(title=panel.title, xlabel=panel.label)
            axes.tick_params(labelsize=8)
        drawn[0].set_ylabel(label)
        if limits is not None:
            drawn[0].set_ylim(*limits)
        _legend(figure, drawn[0], 1 if len(panels) == 1 else len(_LINES))
        parts = [f"{p.title}: {'; '.join(_course(line, p) for line in p.lines)}" for p in panels]
        return _svg(figure, f"{label}. {'. '.join(parts)}.", label)


def _course(line: Line, panel: Panel) -> str:
    """Return a line in words: all its named points, else the last."""
    if panel.ticks:
        parts = [f"{signed(y, 1)} at {panel.ticks[x]}" for x, y, _, _ in line.points]
        return f"{line.name} {', '.join(parts)}"
    x, y, _, _ = line.points[-1]
    return f"{line.name} {signed(y)} at {x:.2g} {panel.label}"


def _line(axes: Axes, line: Line, style: tuple[str, str], *, bars: bool) -> None:
    colour, marker = style
    x, y, low, high = np.array(line.points, float).T
    if bars:
        axes.vlines(x, low, high, color=colour, linewidth=1.2)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    kind, name = "--" if line.main else "-", readable(line.name, 2 * _NAME)
    axes.plot(x, y, kind, color=colour, marker=marker, markersize=5 if bars else 3, label=name)


def photograph(path: Path, side: int = _SIDE) -> str:
    """Return a PNG file as a data URI, reduced to `side` where large; "" where it is unreadable."""
    try:
        data = path.read_bytes()
        if not data.startswith(b"\x89PNG\r\n\x1a\n"):
            return ""
        if len(data) <= _SMALL:
            return _uri("image/png", data)
        pixels = np.asarray(raster.imread(io.BytesIO(data), format="png"), np.float32)
    except (OSError, ValueError, SyntaxError):  # the last is Pillow's for a damaged PNG
        return ""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1} if pixels.ndim == 2 else {}
    raster.imsave(
        buffer, _reduced(pixels, side), format="jpeg", pil_kwargs={"quality": 88}, **options
    )
    return _uri("image/jpeg", buffer.getvalue())


def _reduced(pixels: Any, longest: int) -> Any:
    """Return the means of square blocks, so that no side is longer than `longest`."""
    step = math.ceil(max(pixels.shape[:2]) / longest)
    rows, columns = (side // step for side in pixels.shape[:2])
    colours = pixels[..., :3] if pixels.ndim == 3 else pixels
    blocks = colours[: rows * step, : columns * step].reshape(
        rows, step, columns, step, *colours.shape[2:]
    )
    return blocks.mean(axis=(1, 3))
