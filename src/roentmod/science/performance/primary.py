"""The primary outcome: one number per arm and test, chosen before anything is trained.

Where training confounded pairs, it is the mean over the pairs of the area of `read` among all
pictures labelled for both; otherwise the mean area over findings (macro AUC). What has fewer than
`Rules.fewest` positives or negatives in a test is left out of its mean. Of the network that a
training started from, new heads say nothing: they are left out of its mean, and of both sides of
contrasts with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from roentmod.errors import DatasetError
from roentmod.plans.retrain import BEFORE
from roentmod.science.performance.pairs import Pairs, areas
from roentmod.science.performance.panels import CONTRAST, Floats, Panel, Rules
from roentmod.science.performance.performance import adjusted, state, tests

__all__ = ["MACRO", "primary", "sure"]

MACRO = "macro AUC"
Study = tuple[Sequence[Panel], Pairs]
# Areas of all models, m x (1 + resamples), of a pair or finding, and whether `BEFORE` reads it.
Part = tuple[Floats, bool]
_MEAN = ("value", "value_low", "value_high", "value_seeds_low", "value_seeds_high")
_COLUMNS = ["arm", "reference", "test", "where", "outcome", "parts", *_MEAN, *CONTRAST]


def primary(studies: Sequence[Study], rules: Rules | None = None) -> pd.DataFrame:
    """Return the primary outcome of each arm in each test, and its contrasts.

    Args:
        studies: panels and (cause, read) pairs of a retraining; of several that confounded
            different pairs and were tested on the same patients, the mean is over all their pairs.
        rules: fewest, contrasts.

    Returns:
        one row per arm and test without a ``reference`` (``value`` with ends over patients, and
        over patients and seeds), and one per contrast (`CONTRAST`, and q of ``seeds_p``, adjusted
        as by `comparisons`); ``parts`` is how many pairs or findings are in this row's mean.

    Raises:
        DatasetError: studies were tested on different patients.
    """
    rules, rows = rules or Rules(), []
    for test in dict.fromkeys(panel.test for own, _ in studies for panel in tests(own)):
        found = [
            (panel, parts)
            for own, pairs in studies
            for panel in tests(own)
            if panel.test == test and (parts := list(_parts(panel, pairs, rules)))
        ]
        if not found:
            continue
        panel, every = _joined(found)
        kept = [part for part, read in every if read]
        whole = np.mean([part for part, _ in every], axis=0)
        some = np.mean(kept, axis=0) if kept else whole * np.nan
        outcome = "mean over pairs" if any(pairs for _, pairs in studies) else MACRO
        head = [panel.test, panel.where, outcome]
        counts = {True: (some, len(kept)), False: (whole, len(every))}
        for arm in dict.fromkeys(panel.arms):
            samples, count = counts[arm == BEFORE]
            means = panel.mean(samples, arm)
            rows.append([arm, "", *head, count, *means, *[np.nan] * len(CONTRAST)])
        for arms in rules.contrasts(panel.arms):
            samples, count = counts[BEFORE in arms]
            result = panel.contrast(samples, *arms)
            rows.append([*arms, *head, count, *[np.nan] * len(_MEAN), *result])
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.assign(q=adjusted(table, rules, table["reference"] != ""))


def _parts(panel: Panel, pairs: Pairs, rules: Rules) -> Iterator[Part]:
    """Yield each pair or finding: areas of all models, and whether `BEFORE` reads it."""
    if pairs:
        for _, head, samples in areas([panel], pairs, rules, slices=("all",)):
            if head[-1] == "ok":
                yield samples, _reads(panel, head[3])
        return
    for finding in panel.findings:
        label = panel.label(finding)
        known = np.isfinite(label)
        if state(panel, label == 1, known, rules) == "ok":
            yield panel.areas(finding, label == 1, known), _reads(panel, finding)


def _reads(panel: Panel, finding: str) -> bool:
    """Return whether `BEFORE` has a head for a finding: a new one answers alike to all pictures."""
    own = panel.logits[np.array(panel.arms) == BEFORE][..., panel.column(finding)]
    return not own.size or bool(np.ptp(own, axis=1).any())


def _joined(found: Sequence[tuple[Panel, list[Part]]]) -> tuple[Panel, list[Part]]:
    """Return a panel of the models that all studies have, and all parts of these."""
    panel, parts = found[0]
    if len(found) == 1:
        return panel, parts
    people = {tuple(np.unique(one.cases["patient_id"])) for one, _ in found}
    if len(people) > 1:
        raise DatasetError(
            f"Studies are joined over the same patients; those of '{panel.test}' differ. Leave out "
            "patients that one of them lacks."
        )
    keys = [list(zip(one.arms, one.seeds, strict=True)) for one, _ in found]
    common = [key for key in keys[0] if all(key in own for own in keys)]
    rows = [[own.index(key) for key in common] for own in keys]
    every = [
        (part[at], read) for at, (_, parts) in zip(rows, found, strict=True) for part, read in parts
    ]
    return panel.only(rows[0]), every


def sure(row: Any, rules: Rules) -> bool:
    """Return whether a contrast is surely above or below 0.

    Its interval over patients and seeds must be on one side, its q below 1 - level, and positives
    and negatives must suffice. A row is a mapping; None is unknown.
    """
    low, high, q = (row.get(name) for name in ("seeds_low", "seeds_high", "q"))
    if low is None or high is None or q is None:
        return False
    enough = row.get("state", "ok") == "ok"
    return bool((low > 0 or high < 0) and q < 1 - rules.level and enough)
