"""The predictions of one test as arrays, checked once, with the resamples all measures share.

A *model* is one arm trained with one seed. Every model has read every picture of a test. Patients
are resampled with all their pictures, once per test: column 0 of the weights is the test as it is,
the others are its resamples, so that value and interval come from the same arithmetic, and models,
findings and slices can be compared draw by draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.errors import DatasetError, RetrainError
from roentmod.science import stats
from roentmod.science.performance.measures import two_way, weighted_mean

__all__ = ["ARMS", "CONTRAST", "PREDICTIONS", "STRATUM", "Panel", "Rules", "panels", "spread"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
# In the order of all tables.
_RIVALS = ("oversampling", "reweighting", "balanced", "group_dro", "jtt", "dfr")
_CORRECTED = ("isolated", "soft", "pair", "pair_hinge", "staged", "teacher")
ARMS = ("erm", *_RIVALS, "synthetic", *_CORRECTED)
# Where predictions name the site of pictures, areas are of pairs of one site.
STRATUM = "site"
_ABOUT = ["image_id", "patient_id", "sex", "age", "view", STRATUM]
_ROW = ["arm", "seed", "test", "image_id", "finding"]
PREDICTIONS: tuple[str, ...] = (
    "arm",
    "seed",
    "test",
    "where",
    "image_id",
    "patient_id",
    "finding",
    "label",
)
PREDICTIONS += ("logit", "sex", "age", "view")
_WHERE = ("val", "internal", "external")
# What `Panel.contrast` returns.
CONTRAST: tuple[str, ...] = (
    "difference",
    "low",
    "high",
    "seeds_low",
    "seeds_high",
    "seeds_p",
    "seeds",
    "seed_sd",
)
CONTRAST += ("seeds_above",)
_BLOCK = 2**20  # numbers held at once by resampling


@dataclass(frozen=True)
class Rules:
    """What is compared with what, and what counts as reached; stated in every report.

    Attributes:
        level: of all intervals.
        resamples: bootstrap resamples of patients.
        seed: of the resamples.
        fewest: positives or negatives below which a row is flagged as "too few".
        bins: of the calibration error.
        reference: the arm that all others are compared with.
        corrected: arms taught with counterfactuals, the one to be improved upon first.
        rivals: arms that the corrected ones should beat.
        gain: least gain of area over the reference, 0.03 for three points.
        inferior: largest loss of macro AUC that still counts as none, 0.01 for one point.
        external_share: share of pairs that must gain outside; inside it is all of them.
        fall: least fall of the audit's shortcut score, as a share of the reference's.
    """

    level: float = 0.95
    resamples: int = 1000
    seed: int = 0
    fewest: int = 10
    bins: int = 15
    reference: str = "erm"
    corrected: tuple[str, ...] = _CORRECTED
    rivals: tuple[str, ...] = _RIVALS
    gain: float = 0.03
    inferior: float = 0.01
    external_share: float = 5 / 6
    fall: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            RetrainError: a value out of its range.
        """
        for name, good, rule in (
            ("level", 0.5 <= self.level < 1, "in [0.5, 1)"),
            ("resamples", self.resamples >= 200, "200 or more"),
            ("fewest", self.fewest >= 1, "1 or more"),
            ("bins", self.bins >= 2, "2 or more"),
        ):
            if not good:
                raise RetrainError(f"{name} must be {rule}; got {getattr(self, name)}.")

    def contrasts(self, arms: Sequence[str]) -> list[tuple[str, str]]:
        """Return which arm is compared with which, of those there are.

        Each with the reference, each corrected one with each rival, and with the first corrected
        one there is.
        """
        requested = [(arm, self.reference) for arm in dict.fromkeys(arms) if arm != self.reference]
        requested += [(arm, rival) for arm in self.corrected for rival in self.rivals]
        there = [arm for arm in self.corrected if arm in arms]
        requested += [(later, there[0]) for later in there[1:]]
        return [pair for pair in requested if set(pair) <= set(arms)]


@dataclass(frozen=True, eq=False)
class Panel:
    """What m models say of the n pictures of one test, for k findings.

    Attributes:
        test: its name.
        where: "val", "internal" or "external".
        arms: m, the arm of each model.
        seeds: m.
        findings: k.
        logits: m x n x k.
        labels: n x k; 0, 1 or NaN where unlabelled.
        cases: n rows of image_id, patient_id, sex, age, view and site.
        drawn: patients x (1 + resamples), how often each is drawn; ones in column 0.
        member: n, each picture's row in `drawn`.
        strata: n, the number of each picture's site.
        level: of the intervals.
    """

    test: str
    where: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    findings: tuple[str, ...]
    logits: Floats
    labels: Floats
    cases: pd.DataFrame
    drawn: NDArray[np.int16]
    member: NDArray[np.intp]
    strata: NDArray[np.intp]
    level: float

    def only(self, rows: Sequence[int]) -> Panel:
        """Return the panel of some of its models."""
        return replace(
            self,
            arms=tuple(self.arms[row] for row in rows),
            seeds=tuple(self.seeds[row] for row in rows),
            logits=self.logits[list(rows)],
        )

    def column(self, finding: str) -> int:
        """Return the place of `finding`.

        Raises:
            DatasetError: the models did not read it.
        """
        if finding not in self.findings:
            known = ", ".join(self.findings)
            raise DatasetError(f"A finding must be one of those read; got {finding!r} of {known}.")
        return self.findings.index(finding)

    def label(self, finding: str) -> Floats:
        """Return the labels of one finding, n."""
        return np.asarray(self.labels[:, self.column(finding)], np.float64)

    def resampled(self, chosen: Mask, statistic: Callable[[Floats], Floats]) -> Floats:
        """Return a statistic of the chosen pictures in the test and in each resample.

        Args:
            chosen: n.
            statistic: from weights, chosen x any, to ... x the same.

        Returns:
            ... x (1 + resamples).
        """
        rows = self.member[chosen]
        step, count = max(1, _BLOCK // max(1, rows.size)), self.drawn.shape[1]
        parts = [
            statistic(self.drawn[rows, start : start + step].astype(np.float64))
            for start in range(0, count, step)
        ]
        return np.concatenate(parts, axis=-1)

    def areas(self, finding: str, positive: Mask, chosen: Mask) -> Floats:
        """Return each model's area of one head among the chosen pictures, m x (1 + resamples).

        Pairs of a positive and a negative are of one site, in each resample too.

        Args:
            finding: the head.
            positive: n; what counts as positive.
            chosen: n.
        """
        scores = self.logits[:, chosen, self.column(finding)]
        own, strata, rows = positive[chosen], self.strata[chosen], self.member[chosen]
        once = np.ones((rows.size, 1))
        parts = [np.stack([stats.weighted_auc(one, own, once, strata) for one in scores])]
        step, count = max(1, _BLOCK // max(1, rows.size)), self.drawn.shape[1]
        for start in range(1, count, step):
            drawn = self.drawn[:, start : start + step]
            areas = [stats.resampled_auc(one, own, rows, drawn, strata) for one in scores]
            parts.append(np.stack(areas))
        return np.concatenate(parts, axis=-1)

    def shares(self, hits: Floats, chosen: Mask) -> Floats:
        """Return the mean of hits among the chosen pictures, m x (1 + resamples).

        Args:
            hits: m x n; 1, 0, or NaN for models that cannot say.
            chosen: n.
        """
        own = hits[:, chosen]
        return self.resampled(chosen, lambda weights: weighted_mean(own, weights))

    def by_arm(self, samples: Floats) -> dict[str, Floats]:
        """Return means over the seeds of an arm, draw by draw, so that patients are the spread.

        Args:
            samples: m x ....
        """
        arms = np.array(self.arms)
        return {arm: samples[arms == arm].mean(axis=0) for arm in dict.fromkeys(self.arms)}

    def seed_spread(self, samples: Floats, arm: str) -> float:
        """Return the standard deviation between an arm's seeds; NaN with one seed."""
        return spread(samples[np.array(self.arms) == arm, 0])

    def contrast(self, samples: Floats, arm: str, reference: str) -> tuple[float, ...]:
        """Return arm less reference of m x (1 + resamples) samples.

        Returns:
            difference of means over seeds, its low and high over patients; `two_way` of it; the
            number of seeds in common, the deviation of their differences, and how many of them are
            above 0.
        """
        means = self.by_arm(samples)
        value = dict(zip(zip(self.arms, self.seeds, strict=True), samples[:, 0], strict=True))
        common = [seed for name, seed in value if name == arm and (reference, seed) in value]
        by_seed = np.array([value[arm, seed] - value[reference, seed] for seed in common])
        draws = means[arm] - means[reference]
        both = two_way(draws, by_seed, len(self.drawn), self.level)
        above = int((by_seed > 0).sum())
        return *self.interval(draws), *both, len(common), spread(by_seed), above

    def contrasts(
        self, samples: Floats, rules: Rules
    ) -> Iterator[tuple[list[str], tuple[float, ...]]]:
        """Yield the arms of each contrast of the rules, and `contrast` of them."""
        for arm, reference in rules.contrasts(self.arms):
            yield [arm, reference], self.contrast(samples, arm, reference)

    def mean(self, samples: Floats, arm: str) -> tuple[float, ...]:
        """Return value, low and high over patients, and low and high over seeds, too, of an arm."""
        own = samples[np.array(self.arms) == arm]
        draws = own.mean(axis=0)
        both = two_way(draws, own[:, 0], len(self.drawn), self.level)
        return *self.interval(draws), *both[:2]

    def means(self, samples: Floats) -> Iterator[tuple[str, tuple[float, ...]]]:
        """Yield each arm with value, low, high and deviation between seeds of its mean."""
        for arm, own in self.by_arm(samples).items():
            yield arm, (*self.interval(own), self.seed_spread(samples, arm))

    def called(self, points: pd.DataFrame, finding: str) -> Floats:
        """Return which logits reach their model's threshold, m x n; NaN where it has none."""
        keys = points.set_index(["arm", "seed", "finding"])["threshold"]
        models = zip(self.arms, self.seeds, strict=True)
        thresholds = np.array([float(keys[arm, seed, finding]) for arm, seed in models])[:, None]
        calls = self.logits[..., self.column(finding)] >= thresholds
        return np.where(np.isnan(thresholds), np.nan, calls.astype(np.float64))

    def interval(self, samples: Floats) -> tuple[float, float, float]:
        """Return value, low and high of 1 + resamples numbers; low and high by percentiles."""
        if math.isnan(samples[0]):
            return (math.nan,) * 3
        return float(samples[0]), *stats.interval(samples[1:], self.level)


def spread(values: Floats) -> float:
    """Return the standard deviation of a sample; NaN of fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def panels(predictions: pd.DataFrame, rules: Rules | None = None) -> tuple[Panel, ...]:
    """Return one panel per test, validation first; the order of rows does not matter.

    Args:
        predictions: one row per model, picture and finding, with the columns of `PREDICTIONS`;
            label 0, 1 or NaN; sex and view "" and age NaN where unknown. `STRATUM`, "" where
            unknown, may be there or not: pictures without it are one stratum.
        rules: level, resamples and their seed.

    Raises:
        DatasetError: a column is missing, a row is twice there or not at all, a logit is not
            finite, a label is none, or two rows disagree about the same picture.
    """
    rules = rules or Rules()
    missing = [name for name in PREDICTIONS if name not in predictions.columns]
    if missing:
        raise DatasetError(f"Predictions need the columns {', '.join(missing)}; add them.")
    texts = ("arm", "test", "where", "image_id", "patient_id", "finding", "sex", "view", STRATUM)
    table = predictions.reindex(columns=[*PREDICTIONS, STRATUM]).astype({STRATUM: object})
    table = table.fillna(dict.fromkeys(("sex", "view", STRATUM), ""))
    table = table.astype(dict.fromkeys(texts, "str") | {"seed": "int64"})
    table = table.astype(dict.fromkeys(("label", "logit", "age"), "float64"))
    _check_rows(table)
    groups = [group for _, group in table.groupby(["where", "test"], sort=True)]
    groups.sort(key=lambda group: _WHERE.index(group["where"].iloc[0]))
    return tuple(_panel(group, rules) for group in groups)


def _check_rows(table: pd.DataFrame) -> None:
    places = table.groupby("test")["where"].nunique()
    for bad, rule in (
        (~np.isfinite(table["logit"]), "a finite logit"),
        (~(table["label"].isna() | table["label"].isin([0, 1])), "a label of 0, 1 or NaN"),
        (~table["where"].isin(_WHERE), f"a place of {', '.join(_WHERE)}"),
        (table["test"].map(places).gt(1), "one place per test"),
        (table.duplicated(_ROW), "each model, picture and finding once"),
    ):
        if bad.any():
            row = table[bad].iloc[0]
            first = ", ".join(f"{name} {row[name]}" for name in [*_ROW, "where", "label", "logit"])
            raise DatasetError(
                f"Predictions must have {rule}; got {int(bad.sum())} rows that have not, the first "
                f"{first}. Correct or remove them."
            )


def _panel(table: pd.DataFrame, rules: Rules) -> Panel:
    test = str(table["test"].iloc[0])
    place = {arm: f"{index:02d}" for index, arm in enumerate(ARMS)}
    order = table["arm"].map(lambda arm: place.get(arm, f"{len(ARMS):02d}{arm}"))
    table = table.assign(order=order).sort_values(["order", "seed", "image_id", "finding"])
    models = table[["arm", "seed"]].drop_duplicates()
    findings = tuple(sorted(table["finding"].unique()))
    cases = table[_ABOUT].drop_duplicates()
    if cases["image_id"].duplicated().any():
        twice = cases.loc[cases["image_id"].duplicated(), "image_id"].iloc[0]
        raise DatasetError(
            f"A picture of a test has one patient, sex, age, view and site; {twice} in "
            f"{test} has several. Give it one."
        )
    shape = len(models), len(cases), len(findings)
    if len(table) != math.prod(shape):
        raise DatasetError(
            f"Every model must have read every picture of {test}: {math.prod(shape)} rows; got "
            f"{len(table)}. Run the missing predictions."
        )
    labels = table["label"].to_numpy().reshape(shape)
    if not np.array_equal(labels, np.broadcast_to(labels[:1], shape), equal_nan=True):
        raise DatasetError(f"Labels of {test} must be the same for all models; make them so.")
    cases = cases.sort_values("image_id").reset_index(drop=True)
    people, member = np.unique(cases["patient_id"].to_numpy(str), return_inverse=True)
    blocks = stats.draw_blocks(rules.resamples, len(people), rules.seed)
    drawn = np.concatenate([block.astype(np.int16) for block in blocks]).T
    return Panel(
        test=test,
        where=str(table["where"].iloc[0]),
        arms=tuple(models["arm"]),
        seeds=tuple(map(int, models["seed"])),
        findings=findings,
        logits=table["logit"].to_numpy().reshape(shape),
        labels=labels[0],
        cases=cases,
        drawn=np.concatenate([np.ones((len(people), 1), np.int16), drawn], axis=1),
        member=member,
        strata=np.unique(cases[STRATUM].to_numpy(str), return_inverse=True)[1],
        level=rules.level,
    )
