"""Who reads what and when: sessions, blocks and pairs, drawn per reader."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Shown", "Step", "assign", "count_sessions", "orders", "pairings"]


class Shown(NamedTuple):
    """A case as orders know it.

    Attributes:
        case: opaque id.
        kind: what it is in the study.
        patient: pseudonym.
        finding: requested or labelled, "" for normals.
        of: for a repeat, the case shown before.
    """

    case: str
    kind: str
    patient: str
    finding: str = ""
    of: str = ""


class Step(NamedTuple):
    """One page of a reader: a case, or a pair of cases.

    Attributes:
        case: opaque id; of a pair, the left one.
        other: the right one of a pair, else "".
        session: from 1.
        scored: whether it counts.
    """

    case: str
    other: str
    session: int
    scored: bool = True


def count_sessions(cases: Sequence[Shown]) -> int:
    """Return the number of sessions in which no patient comes twice.

    A patient's repeat needs one besides those of all versions.
    """
    versions = Counter(c.patient for c in cases if c.kind not in ("repeat", "practice"))
    repeats = any(c.kind == "repeat" for c in cases)
    return max(versions.values(), default=1) + repeats


def assign(
    cases: Sequence[Shown], readers: Sequence[str], readings: int, rng: np.random.Generator
) -> dict[str, list[str]]:
    """Return the readers of each case: all, or balanced incomplete blocks.

    Within each kind and finding, then in all, readers get equally many cases (within one), and
    pairs of readers meet equally often as far as numbers allow. A repeat goes to the readers of its
    case; practice and attention go to all.

    Args:
        cases: of the study.
        readers: opaque ids.
        readings: readers per case.
        rng: breaks ties.
    """
    everyone = list(readers)
    if readings == len(everyone):
        return {one.case: everyone for one in cases}
    chosen: dict[str, list[str]] = {}
    total: Counter[str] = Counter()
    stratum: Counter[tuple[str, str, str]] = Counter()
    met: Counter[tuple[str, str]] = Counter()
    for one in cases:
        if one.kind in ("practice", "attention"):
            chosen[one.case] = everyone
        if one.kind in ("practice", "attention", "repeat"):
            continue
        group: list[str] = []
        while len(group) < readings:
            free = [reader for reader in everyone if reader not in group]
            burden = {
                reader: (
                    stratum[one.kind, one.finding, reader],
                    total[reader],
                    sum(met[reader, other] for other in group),
                    float(rng.random()),
                )
                for reader in free
            }
            group.append(min(free, key=burden.__getitem__))
        for reader in group:
            stratum[one.kind, one.finding, reader] += 1
            total[reader] += 1
            met.update((reader, other) for other in group if other != reader)
        chosen[one.case] = [reader for reader in everyone if reader in group]
    return chosen | {one.case: chosen[one.of] for one in cases if one.kind == "repeat"}


def orders(
    cases: Sequence[Shown],
    pairs: Sequence[tuple[str, str]],
    readers: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
) -> dict[str, list[Step]]:
    """Return each reader's steps: practice, the sessions, then the pairs.

    A patient's versions follow a Latin square: each is in another session, and another reader's
    sessions are shifted by one. A repeat is in a later session than its case. The pairs are a
    session by themselves.

    Args:
        cases: of the study.
        pairs: edited and real case of each.
        readers: of each case.
        rng: of all drawing.
    """
    sessions = count_sessions(cases)
    everyone = list(dict.fromkeys(reader for group in readers.values() for reader in group))
    patients = _ranks(cases, rng)
    result: dict[str, list[Step]] = {}
    for shift, reader in enumerate(everyone):
        own = [one for one in cases if reader in readers[one.case]]
        places = _sessions(own, patients, sessions, shift, rng)
        steps = [Step(one.case, "", 1, False) for one in _mixed(own, "practice", rng)]
        for number in range(sessions):
            there = [one for one in own if places.get(one.case) == number]
            numbers = rng.permutation(len(there))
            steps += [Step(there[n].case, "", number + 1) for n in numbers]
        for n in rng.permutation(len(pairs)):
            left, right = pairs[n] if rng.random() < 0.5 else pairs[n][::-1]
            steps.append(Step(left, right, sessions + 1))
        result[reader] = steps
    return result


def _mixed(cases: Sequence[Shown], kind: str, rng: np.random.Generator) -> list[Shown]:
    some = [one for one in cases if one.kind == kind]
    return [some[n] for n in rng.permutation(len(some))]


def _ranks(cases: Sequence[Shown], rng: np.random.Generator) -> dict[str, int]:
    """Return a number per patient; patients of one kind and finding follow each other."""
    order = sorted(
        (one for one in cases if one.kind not in ("repeat", "practice")),
        key=lambda one: (one.kind, one.finding, float(rng.random())),
    )
    patients = dict.fromkeys(one.patient for one in order)
    return {patient: number for number, patient in enumerate(patients)}


def _sessions(
    cases: Sequence[Shown],
    patients: Mapping[str, int],
    sessions: int,
    shift: int,
    rng: np.random.Generator,
) -> dict[str, int]:
    """Return the session, from 0, of each case that is no practice."""
    places: dict[str, int] = {}
    versions: defaultdict[str, list[Shown]] = defaultdict(list)
    for one in cases:
        if one.kind not in ("repeat", "practice"):
            versions[one.patient].append(one)
    for patient, some in versions.items():
        for number, one in enumerate(some):
            places[one.case] = (patients[patient] + number + shift) % sessions
    for one in cases:
        if one.kind == "repeat":
            used = {places[other.case] for other in versions[one.patient]}
            free = [n for n in range(sessions) if n not in used]
            first = places[one.of]
            later = [n for n in free if n > first]
            second = int(rng.choice(later or free))
            # The first reading comes first.
            places[one.of], places[one.case] = min(first, second), max(first, second)
    return places


def pairings(
    edits: Sequence[Shown], reals: Sequence[Shown], count: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Return pairs of an edited and a real case of different patients, each patient in one pair.

    A real case with the same finding is preferred.

    Args:
        edits: edited cases.
        reals: real cases.
        count: how many at most.
        rng: of all drawing.
    """
    pairs: list[tuple[str, str]] = []
    used: set[str] = set()
    for n in rng.permutation(len(edits)):
        edit = edits[n]
        free = [one for one in reals if one.patient not in used and one.patient != edit.patient]
        if len(pairs) == count or edit.patient in used or not free:
            continue
        alike = [one for one in free if one.finding == edit.finding] or free
        real = alike[int(rng.integers(len(alike)))]
        used |= {edit.patient, real.patient}
        pairs.append((edit.case, real.case))
    return pairs
