"""The pictures of the report, as data URIs: same rows, same bytes.

Drawn on figures of their own, without pyplot and without the user's matplotlibrc, so that nothing
outside changes them and they change nothing outside.
"""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from roentmod.report.words import SYMBOLS, interval, off_target, pair, percent, readable, signed

__all__ = ["Picture", "dose_panels", "forest", "matrix", "photograph"]

Row = Mapping[str, Any]
_INK, _FAINT, _GRID = "#1d1d1f", "#6b6b70", "#d5d5da"
# Okabe and Ito (2008), less the yellow that paper swallows; markers repeat what colours say.
_LINES = (("#D55E00", "s"), ("#0072B2", "^"), ("#009E73", "D"))
_MARKERS = {"shortcut": "^", "suppression": "v", "leakage": "h", "undecided": "D", "too few": "x"}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a finding may be called "$"
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "hatch.color": "#b5b5bb",
    "svg.fonttype": "path",
    "svg.hashsalt": "roentmod",
}
_LABEL = 26  # characters of a finding's name that fit beside a figure
_SMALL = 20_000  # bytes up to which a photograph is kept as it is
_SIDE = 288  # pixels to which a larger one is reduced


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        uri: its data.
        alt: the same in words, with the numbers.
        width: natural width in CSS pixels.
    """

    uri: str
    alt: str
    width: int


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def _svg(figure: Figure, alt: str) -> Picture:
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    width = round(figure.get_size_inches()[0] * 96)
    return Picture(_uri("image/svg+xml", buffer.getvalue()), alt, width)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _unique(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def matrix(rows: Sequence[Row], *, margin: float | None) -> Picture:
    """Return edited x read findings: colour and text are the corrected ratio, below it the effect.

    On the diagonal, framed, stands the effect alone: it is the yardstick of its column.
    """
    edited = _unique([row["edited"] for row in rows])
    present = _unique([row["read"] for row in rows])
    read = [name for name in edited if name in present]
    read += [name for name in present if name not in read]
    with _style():
        width, height = 2.5 + 0.86 * len(read), 2.3 + 0.52 * len(edited)
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        colours = matplotlib.colormaps["RdBu_r"]
        for row in rows:
            place = read.index(row["read"]), edited.index(row["edited"])
            _matrix_cell(axes, row, place, colours)
        _matrix_axes(axes, edited, read)
        scale = matplotlib.cm.ScalarMappable(Normalize(-1, 1), colours)
        bar = figure.colorbar(scale, ax=axes, orientation="horizontal", fraction=0.06, aspect=40)
        ticks = [-1.0, -0.5, 0.0, 0.5, 1.0]
        if margin is not None and 0.1 <= margin <= 0.4:
            ticks = [-1.0, -0.5, -margin, 0.0, margin, 0.5, 1.0]
        bar.set_ticks(ticks, labels=[percent(tick) for tick in ticks])
        bar.ax.tick_params(labelsize=8, color=_FAINT)
        bar.outline.set_visible(False)
        bar.set_label("Corrected share of the read finding's own effect", fontsize=8)
        return _svg(figure, _matrix_alt(rows, len(edited), len(read)))


def _matrix_cell(axes: Axes, row: Row, place: tuple[int, int], colours: Any) -> None:
    x, y = place
    value, verdict = float(row["corrected"]), str(row["verdict"])
    symbol = SYMBOLS.get(verdict, "•")
    face, hatch, ink = "#ffffff", None, _INK
    if row["on_target"]:
        face = "#e9e9ee"
    elif math.isfinite(value) and verdict != "too few":
        face = colours(Normalize(-1, 1, clip=True)(value))
        ink = "#ffffff" if _dark(face) else _INK
    else:
        hatch = "////"
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=face, hatch=hatch, edgecolor="#ffffff"))
    bold = "bold" if verdict == "shortcut" else "normal"
    if row["on_target"]:
        axes.add_patch(
            Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, fill=False, edgecolor=_INK, linewidth=1.6)
        )
        first = symbol
    else:
        first = f"{symbol} {percent(value)}" if math.isfinite(value) else symbol
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    axes.text(x + 0.5, y + 0.36, first, fontsize=8.5, fontweight=bold, **middle)
    axes.text(x + 0.5, y + 0.72, signed(row["effect"], 1), fontsize=7.5, **middle)


def _dark(colour: tuple[float, ...]) -> bool:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2] < 0.45


def _matrix_axes(axes: Axes, edited: list[Any], read: list[Any]) -> None:
    axes.set(xlim=(0, len(read)), ylim=(len(edited), 0))
    axes.set_xticks(
        [i + 0.5 for i in range(len(read))],
        [readable(name, _LABEL) for name in read],
        rotation=35,
        ha="left",
        rotation_mode="anchor",
    )
    axes.set_yticks(
        [i + 0.5 for i in range(len(edited))], [readable(name, _LABEL) for name in edited]
    )
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("Finding read by the classifier", fontsize=8, color=_FAINT)
    axes.set_ylabel("Finding edited", fontsize=8, color=_FAINT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _matrix_alt(rows: Sequence[Row], edited: int, read: int) -> str:
    told = [row for row in off_target(rows) if row["verdict"] != "within margin"]
    parts = [
        f"{pair(row)} {percent(row['corrected'])} ({signed(row['effect'], 1)} logits), "
        f"{readable(row['verdict'])}"
        for row in told[:16]
    ]
    more = f" and {len(told) - 16} more" if len(told) > 16 else ""
    said = f"{'; '.join(parts)}{more}. The other pairs" if parts else "All pairs"
    return (
        f"Matrix of {edited} edited by {read} read findings. {said} are within the margin or on "
        "target. All numbers are in the table of pairs below."
    )


def forest(rows: Sequence[Row], *, margin: float | None, level: float) -> Picture:
    """Return corrected ratios with their intervals, one line a row, against the margin."""
    with _style():
        figure = Figure(figsize=(7.2, 1.15 + 0.3 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        if margin is not None:
            axes.axvspan(-margin, margin, color="#e9e9ee", zorder=0, linewidth=0)
        axes.axvline(0, color=_FAINT, linewidth=0.8, zorder=1)
        for y, row in enumerate(rows):
            verdict = str(row["verdict"])
            colour = _LINES[0][0] if verdict == "shortcut" else _INK
            axes.plot(
                [row["corrected_low"], row["corrected_high"]], [y, y], color=colour, linewidth=1.6
            )
            marker = _MARKERS.get(verdict, "o")
            axes.plot(row["corrected"], y, marker, color=colour, markersize=6)
        labels = [f"{pair(row, 22)}  {SYMBOLS.get(str(row['verdict']), '•')}" for row in rows]
        axes.set_yticks(range(len(rows)), labels, fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(lambda value, _: percent(value))
        note = "" if margin is None else f"; grey: margin of ±{percent(margin)}"
        axes.set_xlabel(
            f"Corrected share of the read finding's own effect, {percent(level)} CI{note}",
            fontsize=8,
        )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return _svg(figure, _forest_alt(rows))


def _forest_alt(rows: Sequence[Row]) -> str:
    parts = [
        f"{pair(row)} {percent(row['corrected'])} "
        f"({interval(row['corrected_low'], row['corrected_high'], share=True)})"
        for row in rows
    ]
    return f"Off-target pairs by size, with intervals: {'; '.join(parts)}."


def dose_panels(rows: Sequence[Row]) -> tuple[list[Picture], list[Row]]:
    """Return one panel an edited finding, on one scale, and the rows that are drawn.

    A panel shows the edited finding itself and the three others that move most at the last dose.
    """
    panels: list[tuple[Any, list[list[Row]]]] = []
    for edited in _unique([row["edited"] for row in rows]):
        panels.append((edited, _dose_lines([row for row in rows if row["edited"] == edited])))
    drawn = [row for _, lines in panels for line in lines for row in line]
    ends = [float(row[key]) for row in drawn for key in ("effect", "low", "high")]
    finite = [value for value in ends if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    space = 0.06 * (high - low) or 1.0
    return [
        _dose_panel(edited, lines, (low - space, high + space)) for edited, lines in panels
    ], drawn


def _dose_lines(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the lines of a panel, the edited finding's own first, doses in order."""
    lines = [
        sorted((row for row in rows if row["read"] == read), key=lambda row: float(row["level"]))
        for read in _unique([row["read"] for row in rows])
    ]

    def size(line: list[Row]) -> float:
        value = abs(float(line[-1]["effect"]))
        return value if math.isfinite(value) else -1.0

    own = [line for line in lines if line[0]["read"] == line[0]["edited"]]
    others = sorted((line for line in lines if line not in own), key=size, reverse=True)
    return own + others[: len(_LINES)]


def _dose_panel(edited: Any, lines: list[list[Row]], limits: tuple[float, float]) -> Picture:
    with _style():
        figure = Figure(figsize=(3.3, 2.9), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=_FAINT, linewidth=0.8)
        styles = iter(_LINES)
        ticks: dict[float, str] = {}
        for line in lines:
            own = line[0]["read"] == edited
            colour, marker = (_INK, "o") if own else next(styles)
            x = np.array([float(row["level"]) for row in line])
            y, low, high = (
                np.array([float(row[key]) for row in line]) for key in ("effect", "low", "high")
            )
            ticks.update(zip(x, (readable(row["dose"], 12) for row in line), strict=True))
            axes.vlines(x, low, high, color=colour, linewidth=1.2)
            name = f"{readable(line[0]['read'], _LABEL)}{' (edited)' if own else ''}"
            style = "--" if own else "-"
            axes.plot(x, y, style, color=colour, marker=marker, markersize=5, label=name)
        axes.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
        axes.margins(x=0.1)
        axes.set_ylim(*limits)
        axes.set_title(f"Adding {readable(edited, _LABEL)}", fontsize=9, loc="left")
        axes.set_ylabel("Net effect (logits)", fontsize=8)
        axes.tick_params(labelsize=8)
        figure.legend(loc="outside lower left", fontsize=7.5, frameon=False, ncols=1)
        return _svg(figure, _dose_alt(edited, lines))


def _dose_alt(edited: Any, lines: list[list[Row]]) -> str:
    parts = []
    for line in lines:
        doses = ", ".join(f"{signed(row['effect'], 1)} at {readable(row['dose'])}" for row in line)
        parts.append(f"{readable(line[0]['read'])} {doses}")
    return f"Net effect of adding {readable(edited)} by dose, in logits: {'; '.join(parts)}."


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
