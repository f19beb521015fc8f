"""Labels of many vocabularies brought to the catalogue of findings, in four states.

A state is "positive" (said to be there), "negative" (looked for and said or taken not to be there),
"uncertain" (the source hedges, its readers disagree, or it names several findings of which one is
meant) or "unmentioned" (not looked for, or nothing said). Nothing uncertain becomes positive, and
what the catalogue lacks is kept by its own name.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.domain import FINDINGS, NO_FINDING, finding, words
from roentmod.errors import UnknownFindingError

__all__ = [
    "NAMES",
    "NEGATIVE",
    "NOTHING",
    "POSITIVE",
    "STATES",
    "UNCERTAIN",
    "UNMENTIONED",
    "Codes",
    "Labels",
    "Texts",
    "Vocabulary",
    "answered",
    "doubted",
    "joined",
    "named",
    "others_of",
    "parted",
    "wary",
]

Codes = NDArray[np.int8]
Texts = NDArray[np.object_]

# The order decides where two labels of a source mean one finding: the later state holds.
STATES = ("negative", "unmentioned", "uncertain", "positive")
NEGATIVE, UNMENTIONED, UNCERTAIN, POSITIVE = range(4)
NAMES = tuple(item.name for item in FINDINGS)
_PLACE = {name: place for place, name in enumerate(NAMES)}
_NONE = _PLACE[NO_FINDING.name]
_JOINTS = re.compile(r"[|;,+\n]")
# Cells that say nothing of any finding.
NOTHING = ("nan", "none", "null", "n/a", "unknown", "unmentioned")
# Similarity (difflib) from which a word is taken to be misspelled.
_NEAR = 0.8
_SIGNS = {UNCERTAIN: "?", POSITIVE: ""}


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of n pictures, as a source has them.

    Attributes:
        codes: n x k int8, places in `STATES`; columns as in `NAMES`.
        others: labels outside the catalogue, n texts joined by "|"; a "?" ends an uncertain one.
    """

    codes: Codes
    others: Texts

    def of(self, name: str) -> Codes:
        """Return the states of one finding (canonical name), n."""
        return self.codes[:, _PLACE[name]]

    @property
    def contradicting(self) -> NDArray[np.bool_]:
        """True where "No Finding" and a finding are both positive, n.

        Devices and markers are no findings of disease: CheXpert's labeller says "No Finding" beside
        them (Irvin et al., AAAI 2019, section on the labeller).
        """
        allowed = {NO_FINDING.name, "Support Devices", "Text Marker"}
        ill = [place for name, place in _PLACE.items() if name not in allowed]
        both = (self.codes[:, _NONE] == POSITIVE) & (self.codes[:, ill] == POSITIVE).any(1)
        return np.asarray(both, dtype=np.bool_)


@dataclass(frozen=True)
class Vocabulary:
    """How a source's labels map to the catalogue; what is in neither table goes by the aliases.

    Attributes:
        own: labels, lower case, that mean these findings, all of them.
        either: labels, lower case, that mean one of these findings without saying which.
    """

    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    either: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def meanings(self, label: str) -> dict[str, int]:
        """Return the canonical names that `label` may mean, and the most that it says of each.

        That is "uncertain" where it means one of several; without a "positive" the catalogue lacks
        the label as such.
        """
        key = label.strip().lower()
        if key in self.own or key in self.either:
            exact = dict.fromkeys(self.own.get(key, ()), POSITIVE)
            return exact or dict.fromkeys(self.either[key], UNCERTAIN)
        try:
            return {finding(label).name: POSITIVE}
        except UnknownFindingError:
            return {}

    def findings(self, label: str) -> list[str]:
        """Return the canonical names that `label` stands for; empty outside the catalogue."""
        return [name for name, most in self.meanings(label).items() if most == POSITIVE]


def joined(text: str) -> tuple[str, ...]:
    """Split labels joined by "|"."""
    return tuple(part for part in (piece.strip() for piece in text.split("|")) if part)


def parted(text: str) -> tuple[str, ...]:
    """Split labels as people join them: by "|", ";", ",", "+" or lines, or as a printed list."""
    if text[:1] in "[({" and text[-1:] in "])}":
        quoted = re.findall(r"""'([^']*)'|"([^"]*)\"""", text)
        pieces = ["".join(pair) for pair in quoted] or _JOINTS.split(text[1:-1])
    else:
        pieces = _JOINTS.split(text)
    parts = tuple(piece.strip() for piece in pieces if piece.strip())
    return () if len(parts) == 1 and parts[0].lower() in NOTHING else parts


def wary(labels: Iterable[str]) -> Vocabulary:
    """Return the vocabulary in which labels that resemble findings say that these are uncertain.

    A label outside the catalogue resembles a finding that it names inside itself, or nearly spells:
    "no effusion", "effusion (left)" and "Efusion" do not say plainly that there is one, and a
    picture that carries them is no negative of it.
    """
    bare = {_bare(label)[0] for label in labels}
    strange = {label for label in bare if not Vocabulary().findings(label)}
    near = {label.lower(): _resembled(label) for label in sorted(strange)}
    return Vocabulary(either={label: names for label, names in near.items() if names})


def _resembled(label: str) -> tuple[str, ...]:
    bare = " ".join(re.findall(r"[a-z0-9]+", label.lower()))
    known = {key: item.name for key, item in words().items() if item != NO_FINDING}
    inside = [key for key in known if f" {key} " in f" {bare} "]
    near = inside or difflib.get_close_matches(bare, known, cutoff=_NEAR)
    return tuple(dict.fromkeys(known[key] for key in near))


def named(
    texts: Texts,
    vocabulary: Vocabulary,
    *,
    looked_for: Collection[str] | None = None,
    split: Callable[[str], Sequence[str]] = joined,
) -> Labels:
    """Read labels that name what is there: n texts, which `split` parts into labels.

    A label that ends in "?" is uncertain. Where a picture has any label, what the source looks for
    in every picture (`looked_for`, canonical names; None for what it names in any of them) and does
    not name is negative; all else is unmentioned.
    """
    places, distinct = pd.factorize(texts)
    rows = [[_bare(label) for label in split(str(text))] for text in distinct]
    if looked_for is None:
        looked_for = {n for row in rows for label, _ in row for n in vocabulary.findings(label)}
    absent = {*looked_for, NO_FINDING.name}
    return _spread([_read(row, vocabulary, absent if row else ()) for row in rows], places)


def answered(columns: Mapping[str, Codes], vocabulary: Vocabulary) -> Labels:
    """Read labels that come as one column each: label to n codes."""
    codes = np.stack(list(columns.values()), axis=1)
    distinct, places = np.unique(codes, axis=0, return_inverse=True)
    rows = [_read(zip(columns, row, strict=True), vocabulary) for row in distinct.tolist()]
    return _spread(rows, places.ravel())


def _bare(label: str) -> tuple[str, int]:
    hedged = label.endswith("?")
    return label.rstrip("? "), UNCERTAIN if hedged else POSITIVE


def _read(
    states: Iterable[tuple[str, int]], vocabulary: Vocabulary, absent: Collection[str] = ()
) -> tuple[list[int], str]:
    """Return the codes, and the labels outside the catalogue, of one picture's labels."""
    row, others = [-1] * len(NAMES), []
    for name in absent:
        row[_PLACE[name]] = NEGATIVE
    for label, state in states:
        meanings = vocabulary.meanings(label)
        for name, most in meanings.items():
            row[_PLACE[name]] = max(row[_PLACE[name]], min(state, most))
        if POSITIVE not in meanings.values() and state in _SIGNS:
            others.append(label + _SIGNS[state])
    return [UNMENTIONED if code < 0 else code for code in row], "|".join(others)


def _spread(rows: Sequence[tuple[list[int], str]], places: NDArray[np.integer]) -> Labels:
    """Return the labels of n pictures, each of which is read as one of `rows`."""
    codes = np.array([row for row, _ in rows], dtype=np.int8).reshape(len(rows), len(NAMES))
    others = np.array([text for _, text in rows], dtype=object)
    return Labels(codes[places], others[places])


def doubted(labels: Labels, rows: NDArray[np.bool_]) -> Labels:
    """Return `labels` with those of `rows` (n) not trusted.

    What they name becomes uncertain, and what they do not name unmentioned.
    """
    codes = labels.codes.copy()
    part = codes[rows]
    codes[rows] = np.where(part >= UNCERTAIN, UNCERTAIN, UNMENTIONED)
    others = labels.others.copy()
    others[rows] = [
        "|".join(_bare(label)[0] + "?" for label in joined(text)) for text in others[rows]
    ]
    return Labels(codes, others)


def others_of(texts: Texts) -> Counter[str]:
    """Count the pictures that carry each label outside the catalogue, hedged or not."""
    counts: Counter[str] = Counter()
    for text, number in Counter(texts.tolist()).items():
        for label in dict.fromkeys(_bare(label)[0] for label in joined(text)):
            counts[label] += number
    return counts
