"""From predictions to effects: how much a classifier reacts to each edit, and what that means.

Everything starts from the predictions table (`PREDICTIONS` names its columns). A *pair* is one edit
of one baseline: the counterfactual and its sham. A pair's net effect on a head is the head's logit
of the counterfactual less its logit of the sham. Net effects are averaged within a patient, over
seeds and baselines, and patients are the unit of every interval and test.

A head's reaction to an edit it should ignore is measured in its own units: as a ratio to its
reaction to an edit of its own finding (the *yardstick*). A judge that is independent of the
classifier gates the pairs (an edit counts only where the judge sees it), and its own off-target
ratios say how much of the other finding the pictures really show (*leakage*), which is taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from roentmod.plans.audit import Rules
from roentmod.science import stats

__all__ = [
    "CELLS",
    "JUDGE",
    "PREDICTIONS",
    "Rules",
    "cells",
    "doses",
    "gate",
    "net_effects",
    "score",
    "stress",
    "subgroups",
    "verdict",
]

Array = NDArray[np.float64]
JUDGE = "judge"
CELLS: tuple[str, ...] = ("edited", "read", "on_target", "n", "effect", "low", "high")
CELLS += ("effect_p", "low_p", "high_p", "p", "q", "margin", "ratio", "ratio_low", "ratio_high")
CELLS += ("leak", "leak_low", "leak_high", "corrected", "corrected_low", "corrected_high")
CELLS += ("detectable", "verdict", "reason")
_PAIR = ["classifier", "baseline_id", "patient_id", "pair_id", "action", "edited_finding"]
_DOSE = ["severity", "strength", "seed", "read_finding"]
PREDICTIONS: tuple[str, ...] = (*_PAIR[:4], "edit_id", "action", "arm", "edited_finding", *_DOSE)
PREDICTIONS += ("logit_baseline", "logit_edited")
Verdict = Literal["shortcuts found", "no shortcut beyond the margin", "undecided"]


def net_effects(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per classifier, pair and read finding, with `net` and `net_p`.

    `net` is the counterfactual's logit less the sham's; `net_p` the same in probability. A removal
    is compared with the unedited radiograph: a sham prompted "normal" removes, too. A pair of
    which either side is missing or not finite is left out.
    """
    keys = [*_PAIR, *_DOSE]
    own = pd.DataFrame({"key": _numbered(predictions, keys), "arm": predictions["arm"].to_numpy()})
    own["row"] = np.arange(len(own))
    shams = own.loc[own["arm"] == "sham", ["key", "row"]]
    pairs = own.loc[own["arm"] == "counterfactual", ["key", "row"]]
    pairs = pairs.merge(shams, how="left", on="key", suffixes=("", "_sham"))
    row, sham = pairs["row"].to_numpy(), pairs["row_sham"].fillna(-1).to_numpy(np.intp)
    logits = predictions["logit_edited"].to_numpy(float)
    edited, baseline = logits[row], predictions["logit_baseline"].to_numpy(float)[row]
    removed = (predictions["action"] == "remove").to_numpy()[row]
    control = np.where(removed, baseline, np.where(sham < 0, np.nan, logits[sham]))
    net, net_p = edited - control, expit(edited) - expit(control)
    kept = np.isfinite(net)
    table: pd.DataFrame = predictions[keys].iloc[row[kept]].reset_index(drop=True)
    table["net"], table["net_p"] = net[kept], net_p[kept]
    return table


def _numbered(table: pd.DataFrame, keys: Sequence[str]) -> NDArray[np.int64]:
    """Return a number per row that is the same where all keys are, n."""
    code = np.zeros(len(table), np.int64)
    for key in keys:
        own, names = pd.factorize(table[key], use_na_sentinel=False)
        code, _ = pd.factorize(code * len(names) + own)
    return code


def _on_target(nets: pd.DataFrame) -> NDArray[np.bool_]:
    """Return whether each row reads the edited finding, n; columns may be categorical."""
    read, edited = nets["read_finding"], nets["edited_finding"]
    if read.dtype != edited.dtype:
        read, edited = read.astype(object), edited.astype(object)
    return np.asarray(read == edited, np.bool_)


def gate(
    nets: pd.DataFrame, rules: Rules, *, judge: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the pairs in which the judge sees the edit, and a table of how many there are.

    Args:
        nets: net effects of all readers.
        rules: `gate_logit` is the limit.
        judge: those of the judge, which decide; None: of `JUDGE` among `nets`.

    Returns:
        baseline_id and pair_id of every pair that counts; and, one row per edited finding: edited,
        asked, passed, share, judge_effect, judge_low, judge_high. Findings that the judge does not
        read pass ungated, with judge_effect NaN.
    """
    pairs = nets[["baseline_id", "pair_id", "patient_id", "edited_finding", "action"]]
    pairs = pairs.drop_duplicates(["baseline_id", "pair_id"])
    judge = nets[nets["classifier"] == JUDGE] if judge is None else judge
    own = judge[_on_target(judge)]
    seen = pairs.merge(own[["baseline_id", "pair_id", "net"]], how="left")
    towards = np.where(seen["action"] == "remove", -1.0, 1.0) * seen["net"].to_numpy(float)
    known = set(own["edited_finding"])
    ungated = ~seen["edited_finding"].isin(known).to_numpy()
    seen = seen.assign(towards=towards, passed=ungated | (towards >= rules.gate_logit))
    columns = ["edited", "asked", "passed", "share", "judge_effect", "judge_low", "judge_high"]
    rows: list[list[Any]] = []
    for name, part in seen.groupby("edited_finding", sort=True, observed=True):
        judged: list[Any] = [np.nan] * 3
        if name in known:
            by_patient = _patients_mean(part, "towards")
            judged = [np.nanmean(by_patient), *_interval(by_patient[:, None], rules)[:, 0]]
        rows.append([name, len(part), part["passed"].sum(), part["passed"].mean(), *judged])
    counted = seen.loc[seen["passed"], ["baseline_id", "pair_id"]].reset_index(drop=True)
    return counted, pd.DataFrame(rows, columns=columns)


def cells(
    nets: pd.DataFrame,
    judge: pd.DataFrame,
    rules: Rules,
    *,
    edited: Sequence[str] = (),
    read: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the effect matrix as one row per edited and read finding (`CELLS`).

    Args:
        nets: net effects of one classifier, gated; removals are read with their sign turned.
        judge: the judge's net effects of the same pairs.
        rules: margin, level and the rest.
        edited: findings that were requested, and
        read: heads that were read: a cell of which nothing is left is a row with 0 patients.
    """
    cell = nets[["edited_finding", "read_finding"]].drop_duplicates()
    known = {*zip(cell["edited_finding"], cell["read_finding"], strict=True)}
    lost = pd.DataFrame(
        [
            {"edited": e, "read": r, "on_target": e == r, "n": 0, "verdict": "too few"}
            | {"reason": f"No pair counts; {rules.fewest} patients are needed."}
            for e in edited
            for r in read
            if (e, r) not in known
        ],
        columns=list(CELLS),
    )
    if nets.empty:
        return lost
    patients = sorted(nets["patient_id"].unique())
    keys, values = _by_patient(nets, patients, "net")
    _, chances = _by_patient(nets, patients, "net_p")
    own_keys, own = _by_patient(judge, patients, "net") if len(judge) else ([], values[:, :0])
    # One table, so that every column is of the same resamples of patients.
    together = np.concatenate([values, chances, own], axis=1)
    samples = stats.resampled_means(together, rules.resamples, rules.seed)
    parts = np.split(samples, [len(keys), 2 * len(keys)], axis=1)
    boot, likely = _Boot(keys, values, parts[0], rules), _Boot(keys, chances, parts[1], rules)
    seen = _Boot(own_keys, own, parts[2], rules) if len(judge) else None
    p = stats.sign_flip_columns(values, rules.flips, rules.seed)
    on_target = np.array([edited == read for edited, read in keys])
    q = np.full(len(keys), np.nan)
    q[~on_target] = stats.benjamini_hochberg(p[~on_target])
    rows = []
    for j, key in enumerate(keys):
        row = {"edited": key[0], "read": key[1], "on_target": bool(on_target[j]), "p": p[j]}
        row |= {"q": q[j]} | boot.plain(key) | likely.plain(key, "_p") | boot.detectable(key)
        row |= _ratios(key, boot, seen, rules)
        row["verdict"], row["reason"] = _judged(row, rules, scaled=boot.yardstick(key[1]))
        rows.append(row)
    table = pd.DataFrame([*rows, *lost.to_dict("records")], columns=list(CELLS))
    return table.sort_values(["edited", "read"], ignore_index=True)


class _Boot:
    """Means over patients of every cell, and their bootstrap samples (the same patients in all)."""

    def __init__(
        self, keys: list[tuple[str, str]], values: Array, samples: Array, rules: Rules
    ) -> None:
        self.place = {key: j for j, key in enumerate(keys)}
        self.values, self.samples, self.rules = values, samples, rules
        self.counts = np.isfinite(values).sum(0)
        with np.errstate(invalid="ignore"):
            self.means = np.nansum(values, 0) / np.where(self.counts, self.counts, np.nan)

    def plain(self, key: tuple[str, str], mark: str = "") -> dict[str, Any]:
        """Return n, effect, low, high of one cell."""
        j = self.place[key]
        low, high = _percentiles(self.samples[:, j], self.rules)
        effect = {f"effect{mark}": self.means[j], f"low{mark}": low, f"high{mark}": high}
        return effect if mark else {"n": int(self.counts[j])} | effect

    def detectable(self, key: tuple[str, str]) -> dict[str, float]:
        """Return the smallest effect of one cell that this many patients show with power 80 %."""
        own = self.values[:, self.place[key]]
        own = own[np.isfinite(own)]
        if own.size < 3:
            return {"detectable": np.nan}
        alpha = 1 - self.rules.level
        least = stats.smallest_detectable(float(own.std(ddof=1)), own.size, alpha=alpha)
        return {"detectable": float(least)}

    def yardstick(self, finding: str) -> bool:
        """Tell whether a head reacts to edits of its own finding, surely and in enough patients."""
        j = self.place.get((finding, finding))
        if j is None or self.counts[j] < self.rules.fewest:
            return False
        return bool(_percentiles(self.samples[:, j], self.rules)[0] > 0)

    def scale(self, key: tuple[str, str]) -> str | None:
        """Return the finding whose own effect a cell is measured by.

        That is the read one. A head that was tried and does not react to its own finding is
        measured by the edited finding's head: it may know nothing but the shortcut.
        """
        edited, read = key
        if self.yardstick(read):
            return read
        own = self.place.get((read, read))
        tried = own is not None and self.counts[own] >= self.rules.fewest
        return edited if tried and self.yardstick(edited) else None

    def ratio(self, key: tuple[str, str], by: str) -> tuple[float, Array] | None:
        """Return a cell's effect as a share of the own effect of the finding `by`, and samples."""
        if key not in self.place or not self.yardstick(by):
            return None
        j, k = self.place[key], self.place[by, by]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = self.samples[:, j] / self.samples[:, k]
        return float(self.means[j] / self.means[k]), share


def _by_patient(
    nets: pd.DataFrame, patients: Sequence[str], column: str
) -> tuple[list[tuple[str, str]], Array]:
    """Return the cells' keys, sorted, and the mean of `column` per patient and cell (NaN: none)."""
    sign = np.where(nets["action"] == "remove", -1.0, 1.0)
    value = nets[column].to_numpy(float) * sign
    edited, first = pd.factorize(nets["edited_finding"])
    read, second = pd.factorize(nets["read_finding"])
    # Arrays of the size of the table, and no copies of it: there may be millions of rows.
    cell, codes = pd.factorize(edited * len(second) + read)
    pairs = (divmod(int(code), len(second)) for code in codes)
    keys = [(str(first[one]), str(second[other])) for one, other in pairs]
    row = pd.Index(patients).get_indexer(pd.Index(nets["patient_id"]))
    known, size = row >= 0, len(patients) * len(keys)
    place = (row * len(keys) + cell)[known]
    count = np.bincount(place, minlength=size).astype(float)
    means = stats.ratio(np.bincount(place, value[known], minlength=size), count)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [keys[j] for j in order], means.reshape(len(patients), -1)[:, order]


def _patients_mean(table: pd.DataFrame, column: str) -> Array:
    means = table.groupby("patient_id", sort=True, observed=True)[column].mean()
    return means.to_numpy(float)


def _percentiles(samples: Array, rules: Rules) -> tuple[float, float]:
    kept = samples[np.isfinite(samples)]
    if kept.size < 0.9 * samples.size or not kept.size:
        return np.nan, np.nan
    return stats.interval(kept, rules.level)


def _interval(values: Array, rules: Rules) -> Array:
    """Return low and high, 2 x m, of the means of n x m patients' values."""
    samples = stats.resampled_means(values, rules.resamples, rules.seed)
    return np.array([_percentiles(samples[:, j], rules) for j in range(samples.shape[1])]).T


def _ratios(
    key: tuple[str, str], boot: _Boot, seen: _Boot | None, rules: Rules
) -> dict[str, float]:
    """Return margin, ratio, leak and corrected ratio of one cell, with intervals."""
    row = dict.fromkeys(CELLS[CELLS.index("margin") : CELLS.index("detectable")], np.nan)
    by = boot.scale(key)
    own = boot.ratio(key, by) if by else None
    if by is None or own is None:
        return row
    ratio, samples = own
    row["margin"] = rules.margin * boot.means[boot.place[by, by]]
    row["ratio"], (row["ratio_low"], row["ratio_high"]) = ratio, _percentiles(samples, rules)
    leak = seen.ratio(key, by) if seen is not None else None
    if leak is not None:
        row["leak"], (row["leak_low"], row["leak_high"]) = leak[0], _percentiles(leak[1], rules)
    if rules.exact or key[0] == key[1]:
        leak = (0.0, np.zeros_like(samples))
    if leak is None:
        return row
    # Leakage explains a rise, and no more of it than there is; a negative leak is the judge's own
    # habit, as a radiograph without a finding cannot lose it.
    row["corrected"] = ratio - min(max(0.0, leak[0]), max(0.0, ratio))
    corrected = samples - np.clip(leak[1], 0.0, np.maximum(0.0, samples))
    row["corrected_low"], row["corrected_high"] = _percentiles(corrected, rules)
    return row


def _judged(row: dict[str, Any], rules: Rules, *, scaled: bool) -> tuple[str, str]:
    """Return verdict and reason of one cell; `scaled`: by the read finding's own effect."""
    edited, read, margin = row["edited"], row["read"], rules.margin
    if row["n"] < rules.fewest:
        return "too few", f"{row['n']} patients count; {rules.fewest} are needed."
    if row["on_target"]:
        verb = "reacts" if row["low"] > 0 else "does not surely react"
        return "on target", f"The head for {read} {verb} to edits of its own finding."
    blind = f"The head for {read} has no sure reaction to {read} itself to measure by."
    if not np.isfinite(row["ratio"]):
        return "no yardstick", blind
    if not np.isfinite(row["corrected"]):
        return "undecided", f"The judge cannot say how much of {read} these pictures show."
    low, high, sure = row["corrected_low"], row["corrected_high"], row["q"] <= 1 - rules.level
    whose = read if scaled else edited
    share = f"{row['corrected']:.0%} of the reaction to {whose} itself"
    if low > margin and row["ratio_low"] > 0 and sure:
        rest = "" if scaled else f"; to {read} itself the head is blind"
        return "shortcut", f"{edited} raises {read} by {share}, beyond {margin:.0%}{rest}."
    if not scaled:
        return "no yardstick", blind
    if high < -margin and row["ratio_high"] < 0 and sure:
        return (
            "suppression",
            f"{edited} lowers {read} by {share.replace('-', '')}: it hides it, or speaks against.",
        )
    inside = -margin < low and high < margin
    if inside and row["ratio_low"] > margin:
        return "leakage", f"The judge, too, sees {read} in these pictures ({row['leak']:.0%})."
    if inside:
        return "within margin", f"{edited} moves {read} by {share}, surely within {margin:.0%}."
    return "undecided", f"{share}, {low:.0%} to {high:.0%}: more patients are needed."


def verdict(table: pd.DataFrame) -> Verdict:
    """Return what a classifier's cells say in all.

    No shortcut is claimed only where every off-target cell that can be judged is within the margin,
    suppressed, or leakage, and at least one is.
    """
    off = table.loc[~table["on_target"].astype(bool), "verdict"]
    if (off == "shortcut").any():
        return "shortcuts found"
    settled = off.isin(["within margin", "suppression", "leakage"])
    return "no shortcut beyond the margin" if len(off) and settled.all() else "undecided"


def score(table: pd.DataFrame) -> float | None:
    """Return the shortcut score: the largest corrected off-target ratio, at least 0, or None."""
    off = table[~table["on_target"].astype(bool) & (table["verdict"] != "too few")]
    known = off["corrected"].dropna()
    return float(max(0.0, known.max())) if len(known) else None


def doses(nets: pd.DataFrame, levels: Sequence[tuple[str, float]], rules: Rules) -> pd.DataFrame:
    """Return effects by dose, and a test that they rise.

    Args:
        nets: net effects of one classifier whose column `dose` names the dose of each pair.
        levels: each dose's label and number, in rising order.
        rules: level of the intervals.
    """
    columns = ["edited", "read", "dose", "level", "n", "effect", "low", "high", "trend_p"]
    rows = []
    for (edited, read), part in nets.groupby(
        ["edited_finding", "read_finding"], sort=True, observed=True
    ):
        table = part.pivot_table(
            index="patient_id", columns="dose", values="net", aggfunc="mean", observed=True
        )
        made = [level for level in levels if level[0] in table]
        table = table[[label for label, _ in made]].dropna()
        if len(table) < 3 or len(made) < 2:
            continue
        values = table.to_numpy(float)
        _, p = stats.trend(np.array([level for _, level in made]), values, seed=rules.seed)
        low, high = _interval(values, rules)
        for j, (label, level) in enumerate(made):
            row = [edited, read, label, level, len(table), values[:, j].mean(), low[j], high[j], p]
            rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def subgroups(
    nets: pd.DataFrame, patients: pd.DataFrame, attributes: Iterable[str], rules: Rules
) -> pd.DataFrame:
    """Return effects by subgroup, with a permutation test that they differ.

    Args:
        nets: net effects of one classifier, gated.
        patients: one row per patient, indexed by patient_id, one column per attribute; empty:
            unknown.
        attributes: columns to split by; groups of fewer than `rules.fewest` patients are left out.
        rules: level, resamples and seed.
    """
    columns = ["edited", "read", "attribute", "group", "n", "effect", "low", "high"]
    columns += ["interaction_p"]
    rows: list[list[Any]] = []
    if nets.empty:
        return pd.DataFrame(columns=[*columns, "interaction_q"])
    order = sorted(nets["patient_id"].unique())
    keys, values = _by_patient(nets, order, "net")
    attributes = list(attributes)
    # As many permutations as it takes for one test among all to stay below the level.
    count = max(1999, 40 * len(keys) * len(attributes))
    for attribute in attributes:
        group = patients[attribute].reindex(order).fillna("").astype(str).to_numpy()
        for j, (edited, read) in enumerate(keys):
            known = np.isfinite(values[:, j]) & (group != "")
            own, of = values[known, j], group[known]
            names = [g for g in sorted(set(of)) if (of == g).sum() >= rules.fewest]
            if len(names) < 2:
                continue
            fit = np.isin(of, names)
            p = stats.interaction(own[fit], of[fit], count=count, seed=rules.seed)
            for name in names:
                part = own[of == name]
                low, high = _interval(part[:, None], rules)[:, 0]
                head = [edited, read, attribute, name]
                rows.append([*head, len(part), part.mean(), low, high, p])
    table = pd.DataFrame(rows, columns=columns)
    tests = table.drop_duplicates(["edited", "read", "attribute"])
    q = stats.benjamini_hochberg(tests["interaction_p"].to_numpy(float))
    tests = tests.assign(interaction_q=q)[["edited", "read", "attribute", "interaction_q"]]
    return table.merge(tests, how="left", on=["edited", "read", "attribute"])


def stress(
    readings: pd.DataFrame, states: pd.DataFrame, findings: Sequence[str], rules: Rules
) -> pd.DataFrame:
    """Return each head's AUC of real positives against clean negatives and against other findings.

    Args:
        readings: image_id, patient_id, read_finding, logit of real radiographs, one classifier.
        states: indexed by image_id, one column per finding: "positive", "negative", "uncertain" or
            "unmentioned"; `clean`, bool: read as showing no finding; and `drawn`: the findings it
            was drawn for, joined by "|". Positives are those drawn as such: a picture drawn for
            another finding brings that finding with it.
        findings: heads, and findings that negatives may carry.
        rules: level, resamples and seed.

    Returns:
        read, against, n_positive, n_negative, auc with DeLong's and the patients' bootstrap
        intervals, and drop and drop_p against clean negatives. Fewer than 5 on a side: left out.
    """
    columns = ["read", "against", "n_positive", "n_negative", "auc", "low", "high"]
    columns += ["boot_low", "boot_high", "drop", "drop_p"]
    rows: list[list[Any]] = []
    for read in findings:
        own = readings[readings["read_finding"] == read].dropna(subset=["logit"])
        if own.empty or read not in states:
            continue
        own = own.join(states, on="image_id", how="inner").reset_index(drop=True)
        drawn = np.array([read in names.split("|") for names in own["drawn"]], dtype=bool)
        positive = (own[read] == "positive").to_numpy() & drawn
        clean = own["clean"].to_numpy(bool) & ~positive
        absent = own[read].isin(["negative", "unmentioned"]).to_numpy()
        groups = {"clean": clean}
        for other in findings:
            if other != read and other in own:
                groups[other] = (own[other] == "positive").to_numpy() & absent & ~positive
        if positive.sum() < 5 or clean.sum() < 5:
            continue
        logit = own["logit"].to_numpy(float)
        for name, negative in groups.items():
            if negative.sum() < 5:
                continue
            fall = [np.nan] * 4
            if name != "clean":
                sides = (logit[chosen] for chosen in (positive, clean, negative))
                fall = [*stats.auc_difference_shared_positives(*sides)]
            areas = _contrast(logit, own["patient_id"], positive, negative, rules)
            rows.append([read, name, *areas, fall[0], fall[3]])
    return pd.DataFrame(rows, columns=columns)


def _contrast(
    logit: Array,
    patient: pd.Series[str],
    positive: NDArray[np.bool_],
    negative: NDArray[np.bool_],
    rules: Rules,
) -> list[Any]:
    """Return the counts, the AUC, DeLong's interval and the bootstrap interval of patients."""
    kept = positive | negative
    scores, truth = logit[kept], positive[kept]
    area, low, high = stats.delong_interval(scores, truth, level=rules.level)
    cluster = patient.to_numpy(str)[kept]
    boot = stats.clustered_auc_interval(
        scores, truth, cluster, count=rules.resamples, seed=rules.seed, level=rules.level
    )
    return [int(positive.sum()), int(negative.sum()), area, low, high, *boot]
