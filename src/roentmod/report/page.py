"""What a page is made of. Its text is escaped where it is written, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from markupsafe import Markup

from roentmod.report.tables import Table
from roentmod.report.words import readable

__all__ = [
    "Block",
    "Legend",
    "Page",
    "Panels",
    "Photograph",
    "Photographs",
    "Picture",
    "Section",
    "Verdict",
    "badge",
    "verdict",
]

# How a check went: its symbol, and its colour.
_STATES = {"passed": ("✓", "good"), "failed": ("▲", "bad"), "not measured": ("?", "open")}


@dataclass(frozen=True)
class Picture:
    """A drawn figure: its data, the same in words, CSS pixels, a name and what stands below."""

    kind: ClassVar = "picture"
    uri: str
    alt: str
    width: int
    label: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Panels:
    """Small figures side by side."""

    kind: ClassVar = "panels"
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Photograph:
    """A raster picture in a frame that says whether it is of a patient (`real`) or synthetic.

    Its data are empty where `file` cannot be read.
    """

    uri: str
    alt: str
    label: str = ""
    real: bool = False
    file: str = ""


@dataclass(frozen=True)
class Photographs:
    """Photographs side by side, with what stands below them."""

    kind: ClassVar = "photographs"
    photographs: tuple[Photograph, ...]
    caption: str


@dataclass(frozen=True)
class Legend:
    """Symbols and what they mean."""

    kind: ClassVar = "legend"
    symbols: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """Paragraphs beside a coloured bar: "good", "bad" or "open"."""

    kind: ClassVar = "verdict"
    style: str
    texts: tuple[Markup, ...]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; one with an id is in the page's list, by its label."""

    kind: ClassVar = "section"
    title: str
    blocks: tuple[Block, ...]
    id: str = ""
    label: str = ""


Block: TypeAlias = (
    "Markup | Picture | Panels | Photographs | Legend | Verdict | Table | Section | None"
)


@dataclass(frozen=True)
class Page:
    """A page: what it answers (`lead`), an overview, a summary, sections.

    `about` is added to the title of the window; `synthetic` says which pictures are.
    `studio` that ``roentmod studio`` opens its folder.
    """

    title: str
    lead: str
    summary: tuple[Block, ...]
    sections: tuple[Section, ...]
    overview: tuple[Block, ...] = ()
    about: str = ""
    synthetic: str = field(default="Counterfactuals", kw_only=True)
    studio: bool = field(default=False, kw_only=True)


def badge(symbol: str, text: object) -> Markup:
    """Return a symbol and a word as a badge."""
    return Markup('<span class="badge">{}</span>').format(readable(f"{symbol} {text}".strip()))


def verdict(state: str, word: str, text: Callable[[Markup], Markup], *more: Markup) -> Verdict:
    """Return how a check went: what `text` makes of the badge that says `word`, and `more`."""
    symbol, style = _STATES.get(state, ("•", "open"))
    return Verdict(style, (text(badge(symbol, word)), *more))
