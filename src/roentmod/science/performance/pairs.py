"""Pairs of findings that training confounded: cause, and the finding read because of it.

Where a shortcut from cause to read was learned, the head of `read` answers to `cause`. It ranks
worst where the two are told apart, `read` alone against `cause` alone (the *cross* slice). A
correction that goes too far shows in the opposite place, where the two truly come together: the
head's sensitivity there is less than where `read` is alone. That loss, where it is above 0, is the
*reverse shortcut*; its size, whatever the sign, is the *residual dependence* on the cause. Below 0
the cause still helps, which is no merit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from roentmod.science.performance.panels import CONTRAST, Floats, Mask, Panel, Rules
from roentmod.science.performance.performance import adjusted, state, tests

__all__ = [
    "SLICES",
    "Pairs",
    "areas",
    "pair_comparisons",
    "pair_performance",
    "reverse_comparisons",
    "reverse_scores",
    "reverse_shortcut",
    "stress_specificity",
]

Pairs = Sequence[tuple[str, str]]
SLICES = ("all", "cause present", "cause absent", "cross")
_SLICE = ["test", "where", "cause", "read", "slice", "n", "positives", "state"]
_AREA = ["arm", *_SLICE, "auc", "low", "high", "seeds", "seed_sd"]
_DIFFERENCE = ["arm", "reference", *_SLICE, *CONTRAST]
_REVERSE = ["arm", "test", "where", "cause", "read", "n_single", "n_both", "n_cause", "state"]
_REVERSE += [f"{a}{b}" for a in ("single", "both", "loss", "auc") for b in ("", "_low", "_high")]
_REVERSE += ["loss_sd", "change", "change_low", "change_high"]
_SCORE = ["arm", "test", "where", "pairs", "loss", "low", "high", "seed_sd"]
# Both are means over seeds and pairs of what each model shows, so that losses of opposite sign do
# not make up for each other.
_SIDES = ("reverse", "dependence")
_SCORE += [f"{name}{end}" for name in _SIDES for end in ("", "_low", "_high")]
_REVERSE += _SCORE[-6:]
_CHANGE = ["arm", "reference", "test", "where", "pairs", "measure", *CONTRAST]
_STRESS = ["arm", "test", "where", "finding", "n_clean", "n_stress", "state"]
_STRESS += [f"{a}{b}" for a in ("clean", "stress", "drop") for b in ("", "_low", "_high")]


def _slices(panel: Panel, cause: str, read: str) -> tuple[Mask, dict[str, Mask]]:
    """Return who is positive for `read`, and who is in which slice; both labels are known."""
    first, second = panel.label(cause), panel.label(read)
    known = np.isfinite(first) & np.isfinite(second)
    present, positive = known & (first == 1), known & (second == 1)
    masks = (known, present, known & ~present, known & (present != positive))
    return positive, dict(zip(SLICES, masks, strict=True))


def areas(
    panels: Sequence[Panel], pairs: Pairs, rules: Rules, *, slices: Sequence[str] = SLICES
) -> Iterable[tuple[Panel, list[Any], Floats]]:
    """Yield panel, head of the row (its state last), and areas of all models by slice.

    Areas are m x (1 + resamples). Arguments as `pair_performance`.
    """
    for panel in tests(panels):
        for cause, read in pairs:
            positive, masks = _slices(panel, cause, read)
            for name in slices:
                chosen = masks[name]
                result = state(panel, positive, chosen, rules)
                if result == "one class":
                    continue
                head = [panel.test, panel.where, cause, read, name, int(chosen.sum())]
                head += [int(positive[chosen].sum()), result]
                yield panel, head, panel.areas(read, positive, chosen)


def pair_performance(
    panels: Sequence[Panel], pairs: Pairs, rules: Rules | None = None
) -> pd.DataFrame:
    """Return each arm's area of head `read` in each slice of each test, means over seeds.

    Slices: all pictures labelled for both; those with the cause; those without it; and *cross*,
    `read` without the cause against the cause without `read`, where a head that answers to the
    cause alone has an area of 0. Slices of one class are left out.

    Args:
        panels: all of them; validation is left out.
        pairs: of (cause, read).
        rules: fewest.

    Raises:
        DatasetError: a finding was not read.
    """
    rules, rows = rules or Rules(), []
    for panel, head, samples in areas(panels, pairs, rules):
        for arm, (*ends, sd) in panel.means(samples):
            rows.append([arm, *head, *ends, panel.arms.count(arm), sd])
    return pd.DataFrame(rows, columns=_AREA)


def pair_comparisons(
    panels: Sequence[Panel], pairs: Pairs, rules: Rules | None = None
) -> pd.DataFrame:
    """Return differences of those areas between arms; arguments as `pair_performance`.

    q is `seeds_p` over all pictures of the pairs, adjusted as by `comparisons`; NaN in slices.
    """
    rules, rows = rules or Rules(), []
    for panel, head, samples in areas(panels, pairs, rules):
        rows += [[*arms, *head, *result] for arms, result in panel.contrasts(samples, rules)]
    table = pd.DataFrame(rows, columns=_DIFFERENCE)
    return table.assign(q=adjusted(table, rules, table["slice"] == "all"))


def _called(panel: Panel, pair: tuple[str, str], points: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return sensitivity to `read` without and with the cause, each m x (1 + resamples)."""
    positive, slices = _slices(panel, *pair)
    calls = panel.called(points, pair[1])
    present = slices["cause present"]
    return panel.shares(calls, positive & ~present), panel.shares(calls, positive & present)


def reverse_shortcut(
    panels: Sequence[Panel], pairs: Pairs, points: pd.DataFrame, rules: Rules | None = None
) -> pd.DataFrame:
    """Return how a head's sensitivity differs where the finding truly comes with the cause.

    Args:
        panels: all of them; validation is left out.
        pairs: of (cause, read).
        points: of `operating_points`.
        rules: fewest, reference.

    Returns:
        one row per arm, test and pair. ``single``: sensitivity where `read` comes without the
        cause; ``both``: where they come together; ``loss`` is single less both: positive where
        the model under-calls what truly comes together, negative where the cause helps it.
        ``change`` is the loss less the reference's. ``auc``: area among pictures with the cause.
        ``reverse`` is the loss where it is above 0, and ``dependence`` its size, means over seeds.
        ``state`` is "too few" with fewer than `rules.fewest` of either kind.

    Raises:
        DatasetError: a finding was not read.
    """
    rules = rules or Rules()
    rows: list[list[Any]] = []
    for panel in tests(panels):
        for cause, read in pairs:
            positive, slices = _slices(panel, cause, read)
            present = slices["cause present"]
            counts = _counts(positive, present)
            result = "ok" if min(counts) >= rules.fewest else "too few"
            head = [panel.test, panel.where, cause, read, *counts, int(present.sum()), result]
            single, both = _called(panel, (cause, read), points)
            within = panel.by_arm(panel.areas(read, positive, present))
            means = [panel.by_arm(samples) for samples in (single, both, single - both)]
            base = means[2].get(rules.reference)
            sides = [panel.by_arm(side) for side in _sides([single - both])]
            for arm, area in within.items():
                loss = means[2][arm]
                four = [panel.interval(own) for own in (means[0][arm], means[1][arm], loss, area)]
                spread = panel.seed_spread(single - both, arm)
                change = panel.interval(loss - (loss * np.nan if base is None else base))
                two = [panel.interval(side[arm]) for side in sides]
                rows.append([arm, *head, *sum(four, ()), spread, *change, *sum(two, ())])
    return pd.DataFrame(rows, columns=_REVERSE)


def _counts(positive: Mask, present: Mask) -> list[int]:
    """Return how many of n are positive without the cause, and with it."""
    return [int((positive & ~present).sum()), int((positive & present).sum())]


def _known_losses(
    panels: Sequence[Panel], pairs: Pairs, points: pd.DataFrame, rules: Rules
) -> Iterable[tuple[Panel, list[Floats]]]:
    """Yield panel, and losses of the pairs with enough of both, each m x (1 + resamples)."""
    for panel in tests(panels):
        losses = []
        for pair in pairs:
            positive, slices = _slices(panel, *pair)
            if min(_counts(positive, slices["cause present"])) >= rules.fewest:
                single, both = _called(panel, pair, points)
                losses.append(single - both)
        known = [loss for loss in losses if np.isfinite(loss[:, 0]).all()]
        if known:
            yield panel, known


def _sides(losses: Sequence[Floats]) -> list[Floats]:
    """Return means over pairs of the losses above 0, and of their sizes, m x (1 + resamples).

    Resampling adds to a size what sampling has added already: resamples are centred on the value.
    """
    means = [np.mean([side(loss) for loss in losses], axis=0) for side in (_above, np.abs)]
    for mean in means:
        draws = mean[:, 1:]
        counts = np.maximum(np.isfinite(draws).sum(axis=1, keepdims=True), 1)
        draws -= np.nansum(draws, axis=1, keepdims=True) / counts - mean[:, :1]
        np.maximum(draws, 0, out=draws)
    return means


def _above(loss: Floats) -> Floats:
    return np.asarray(np.maximum(loss, 0))


def reverse_scores(
    panels: Sequence[Panel], pairs: Pairs, points: pd.DataFrame, rules: Rules | None = None
) -> pd.DataFrame:
    """Return each arm's mean loss over pairs in each test, reverse shortcut and dependence.

    Pairs with fewer than `rules.fewest` singly or jointly positive pictures in a test are left out;
    ``pairs`` says how many are in. A test without any has no row. Arguments as `reverse_shortcut`.
    """
    rows = []
    for panel, losses in _known_losses(panels, pairs, points, rules or Rules()):
        sides = [panel.by_arm(side) for side in _sides(losses)]
        for arm, result in panel.means(np.mean(losses, axis=0)):
            both = [end for side in sides for end in panel.interval(side[arm])]
            rows.append([arm, panel.test, panel.where, len(losses), *result, *both])
    return pd.DataFrame(rows, columns=_SCORE)


def reverse_comparisons(
    panels: Sequence[Panel], pairs: Pairs, points: pd.DataFrame, rules: Rules | None = None
) -> pd.DataFrame:
    """Return differences of both measures between arms; arguments as `reverse_shortcut`.

    Returns:
        one row per contrast, test and ``measure``: "reverse" or "dependence".
    """
    rules = rules or Rules()
    rows = [
        [*arms, panel.test, panel.where, len(losses), measure, *result]
        for panel, losses in _known_losses(panels, pairs, points, rules)
        for measure, samples in zip(_SIDES, _sides(losses), strict=True)
        for arms, result in panel.contrasts(samples, rules)
    ]
    return pd.DataFrame(rows, columns=_CHANGE)


def stress_specificity(
    panels: Sequence[Panel], points: pd.DataFrame, rules: Rules | None = None
) -> pd.DataFrame:
    """Return how specificity falls where another finding is there.

    Args:
        panels: all of them; validation is left out.
        points: of `operating_points`.
        rules: fewest.

    Returns:
        one row per arm, test and finding that has both kinds of negatives. ``clean``: specificity
        where every other finding is known to be absent; ``stress``: where at least one is
        present; ``drop`` is clean less stress.
    """
    rules = rules or Rules()
    rows: list[list[Any]] = []
    for panel in tests(panels):
        for finding in panel.findings:
            negative = panel.label(finding) == 0
            others = np.delete(panel.labels, panel.column(finding), axis=1)
            clean = negative & (others == 0).all(axis=1)
            stress = negative & (others == 1).any(axis=1)
            counts = [int(clean.sum()), int(stress.sum())]
            if not min(counts):
                continue
            result = "ok" if min(counts) >= rules.fewest else "too few"
            spared = 1 - panel.called(points, finding)
            shares = [panel.shares(spared, chosen) for chosen in (clean, stress)]
            means = [panel.by_arm(s) for s in (*shares, shares[0] - shares[1])]
            for arm in means[0]:
                head = [arm, panel.test, panel.where, finding, *counts, result]
                rows.append(head + [x for mean in means for x in panel.interval(mean[arm])])
    return pd.DataFrame(rows, columns=_STRESS)
