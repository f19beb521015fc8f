"""From predictions to effects: how much a classifier reacts to each edit, and what that means.

Everything starts from the predictions table (`PREDICTIONS` names its columns). A *pair* is one edit
of one baseline: the counterfactual and its sham. A pair's net effect on a head is the head's logit
of the counterfactual less its logit of the sham. Net effects are averaged within a patient, over
seeds and baselines, and patients are the unit of every interval and test.

A head's reaction to an edit it should ignore is measured in its own units: as a ratio to its
reaction to an edit of its own finding (the *yardstick*). A judge, or people, gate the pairs (an
edit counts only where it is seen), and their off-target changes say how much of the other finding
the pictures really show (*leakage*), which is taken off. `margins` has the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from roentmod.edits import control_of
from roentmod.errors import AuditError
from roentmod.plans.audit import Rules
from roentmod.science import margins, stats

__all__ = [
    "CELLS",
    "JUDGE",
    "PREDICTIONS",
    "READERS",
    "SECOND",
    "Rules",
    "Score",
    "Witness",
    "among",
    "cells",
    "doses",
    "gate",
    "net_effects",
    "readings",
    "score",
    "subgroups",
    "verdict",
]

Array = NDArray[np.float64]
JUDGE, SECOND, READERS = "judge", "second judge", "readers"
CELLS: tuple[str, ...] = ("edited", "read", "on_target", "n", "effect", "low", "high")
CELLS += ("effect_p", "low_p", "high_p", "n_all", "effect_all", "low_all", "high_all", "p", "q")
_SHARES: tuple[str, ...] = ("margin", *margins.Shares._fields)
_TESTED = ("least", "beyond_p", "below_p", "within_p", "detectable")
CELLS += (*_SHARES, "verdict", "reason")
_PAIR = ["classifier", "baseline_id", "patient_id", "pair_id", "action", "edited_finding"]
_DOSE = ["severity", "strength", "seed", "read_finding"]
PREDICTIONS: tuple[str, ...] = (*_PAIR[:4], "edit_id", "action", "arm", "edited_finding", *_DOSE)
PREDICTIONS += ("logit_baseline", "logit_edited")
Verdict = Literal["shortcuts found", "no shortcut beyond the margin", "undecided"]
Witness = Literal["gate", "second", "readers"]

# Logits below which a head that reacts to its own finding hardly knows it: half of what a gate
# asks of an edit where nothing else is said.
_WEAK = 0.5


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
    action = predictions["action"].iloc[row]
    # Audits have no composite from which the sham is taken off already.
    against = {one: control_of("baseline", one) for one in action.unique()}
    untouched = action.map(against).to_numpy() == "baseline"
    control = np.where(untouched, baseline, np.where(sham < 0, np.nan, logits[sham]))
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


def readings(table: pd.DataFrame, nets: pd.DataFrame) -> pd.DataFrame:
    """Return what people saw in edited pictures, as net effects of `READERS`.

    They serve `gate` and `cells` in place of a judge's, wherever they come from.

    Args:
        table: one row per edited picture that was read. It is named by `baseline_id` and `pair_id`
            (the edit's id), or by `patient_id` and `edited_finding`. `seen`, in [0, 1]: the share
            of readers who see the edited finding in it, or their mean certainty, less the same in
            its control. Further columns, named by findings, in [-1, 1]: the change of the share
            who see that finding; NaN where nobody was asked. Other columns are left alone.
            Where controls are other patients' radiographs, shares are those in the picture itself,
            and each such radiograph is a row whose `edited_finding` is "", with its patient_id and
            the shares who see each finding: `cells` takes their mean off, with its error.
        nets: net effects of a classifier, which say what the pairs are.

    Raises:
        AuditError: a column is missing, a number is out of its range, or no row is of a pair.
    """
    pairs = nets[["baseline_id", "patient_id", "pair_id", "action", "edited_finding"]]
    pairs = pairs.drop_duplicates(["baseline_id", "pair_id"]).astype({"edited_finding": str})
    ways = (["baseline_id", "pair_id"], ["patient_id", "edited_finding"])
    keys = next((one for one in ways if {*one, "seen"} <= set(table.columns)), None)
    if keys is None:
        raise AuditError(
            "Readings need seen, and baseline_id and pair_id or patient_id and edited_finding; got "
            f"{', '.join(map(str, table.columns))}."
        )
    names = sorted(set(table.columns) & set(nets["read_finding"].unique()))
    control = table.get("edited_finding", pd.Series("-", table.index)).eq("")
    controls, table = table[control].fillna({"seen": 0}), table[~control]
    values = pd.concat([table, controls])[["seen", *names]].astype(float)
    if not values["seen"].between(0, 1).all() or (values[names].abs() > 1).any(axis=None):
        raise AuditError("Readings are shares: seen in [0, 1], changes of findings in [-1, 1].")
    joined = pairs.merge(table[keys].join(values).drop_duplicates(keys), on=keys)
    if joined.empty:
        raise AuditError(f"No reading is of an edit of this audit, by {' and '.join(keys)}.")
    sign = np.where(joined["action"] == "remove", -1.0, 1.0)
    own = joined.assign(read_finding=joined["edited_finding"], net=joined["seen"] * sign)
    parts = [own, *(joined.assign(read_finding=name, net=joined[name]) for name in names)]
    parts = [parts[0], *(one[~_on_target(one)] for one in parts[1:])]
    if len(controls):
        parts += [controls.assign(action="add", read_finding=n, net=controls[n]) for n in names]
    rows = pd.concat(parts, ignore_index=True).dropna(subset=["net"])
    return rows[[*pairs.columns, "read_finding", "net"]].assign(classifier=READERS)


def gate(
    nets: pd.DataFrame, rules: Rules, *, judge: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the pairs in which the judge sees the edit, and a table of how many there are.

    Args:
        nets: net effects of all readers.
        rules: `gate_logit` is the limit; of people's `readings` it is half of them.
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
    limit = 0.5 if (own["classifier"] == READERS).any() else rules.gate_logit
    seen = pairs.merge(own[["baseline_id", "pair_id", "net"]], how="left")
    towards = np.where(seen["action"] == "remove", -1.0, 1.0) * seen["net"].to_numpy(float)
    known = set(own["edited_finding"])
    ungated = ~seen["edited_finding"].isin(known).to_numpy()
    seen = seen.assign(towards=towards, passed=ungated | (towards >= limit))
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
    counted: pd.DataFrame | None = None,
    witness: Witness = "gate",
    edited: Sequence[str] = (),
    read: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the effect matrix as one row per edited and read finding (`CELLS`).

    Args:
        nets: net effects of one classifier; removals are read with their sign turned.
        judge: net effects of whoever measures leakage, of the same pairs. Rows whose
            edited_finding is "" are unedited radiographs of other patients (`readings`).
        rules: margin, level and the rest.
        counted: baseline_id and pair_id of the pairs that a gate let pass; None: all. `n_all`,
            `effect_all` and its interval are of all pairs, everything else of these.
        witness: who measures leakage. "gate": the judge that chose the pairs. Where there are
            several seeds it is measured in the patient's other pictures, too: a shortcut is called
            by the higher of the two, a pair is cleared by the lower. "second": another judge.
            "readers": people, on whom a large leakage rests well enough.
        edited: findings that were requested, and
        read: heads that were read: a cell of which nothing is left is a row with 0 patients.
    """
    cell = nets[["edited_finding", "read_finding"]].drop_duplicates()
    known = {*zip(cell["edited_finding"], cell["read_finding"], strict=True)}
    lost = pd.DataFrame(
        [
            {"edited": e, "read": r, "on_target": e == r, "n": 0, "n_all": 0, "verdict": "too few"}
            | {"reason": f"No pair counts; {rules.fewest} patients are needed."}
            for e in edited
            for r in read
            if (e, r) not in known
        ],
        columns=list(CELLS),
    )
    if nets.empty:
        return lost
    controls = judge.loc[judge["edited_finding"].eq(""), "patient_id"] if len(judge) else ()
    patients = sorted({*nets["patient_id"].unique(), *controls})
    keys, every = _by_patient(nets, patients, "net")
    kept = nets if counted is None else among(nets, counted)
    values, chances = (_placed(kept, patients, keys, one) for one in ("net", "net_p"))
    # One table, so that every column is of the same resamples of patients.
    together = np.concatenate([values, chances, every], axis=1)
    samples = stats.resampled_means(together, rules.resamples, rules.seed)
    parts = np.split(samples, [len(keys), 2 * len(keys)], axis=1)
    boot, likely, ungated = (
        _Boot(keys, *one, rules) for one in zip((values, chances, every), parts, strict=True)
    )
    p = stats.sign_flip_columns(values, rules.flips, rules.seed)
    on_target = np.array([edited == read for edited, read in keys])
    q = np.full(len(keys), np.nan)
    q[~on_target] = stats.benjamini_hochberg(p[~on_target])
    seen = _Seen(judge, patients, keys, counted, rules, crossed=witness == "gate")
    measured = _shares(boot, ungated, seen, rules)
    rows = []
    for j, key in enumerate(keys):
        row = {"edited": key[0], "read": key[1], "on_target": bool(on_target[j]), "p": p[j]}
        row |= {"q": q[j]} | boot.plain(key) | likely.plain(key, "_p") | ungated.plain(key, "_all")
        row |= {"n_all": int(ungated.counts[j])} | measured[key]
        row["verdict"], row["reason"] = _judged(
            row, rules, scaled=boot.yardstick(key[1]), witness=witness
        )
        rows.append(row)
    table = pd.DataFrame([*rows, *lost.to_dict("records")], columns=list(CELLS))
    return table.sort_values(["edited", "read"], ignore_index=True)


class _Boot:
    """Means over patients of every cell, and their bootstrap samples (the same patients in all)."""

    def __init__(
        self, keys: list[tuple[str, str]], values: Array, samples: Array, rules: Rules
    ) -> None:
        self.place = {key: j for j, key in enumerate(keys)}
        self.values, self.rules = values, rules
        self.low, self.high = _percentiles(samples, rules)
        self.counts = np.isfinite(values).sum(0)
        with np.errstate(invalid="ignore"):
            self.means = np.nansum(values, 0) / np.where(self.counts, self.counts, np.nan)

    def plain(self, key: tuple[str, str], mark: str = "") -> dict[str, Any]:
        """Return n, effect, low, high of one cell."""
        j = self.place[key]
        effect = {f"effect{mark}": self.means[j]}
        effect |= {f"low{mark}": self.low[j], f"high{mark}": self.high[j]}
        return effect if mark else {"n": int(self.counts[j])} | effect

    def yardstick(self, finding: str) -> bool:
        """Tell whether a head reacts to edits of its own finding, surely and in enough patients."""
        j = self.place.get((finding, finding))
        if j is None or self.counts[j] < self.rules.fewest:
            return False
        return bool(self.low[j] > 0)

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


class _Seen:
    """What the judge sees, per patient and cell of the audited classifier (NaN: nothing).

    `leak` is of the pairs that count and `every` of all pairs; `other` of other pictures of the
    same edits, with `weight`, how many pairs count; `base` of the read finding in unedited
    radiographs of other patients. None where there are none.
    """

    def __init__(
        self,
        judge: pd.DataFrame,
        patients: Sequence[str],
        keys: list[tuple[str, str]],
        counted: pd.DataFrame | None,
        rules: Rules,
        *,
        crossed: bool,
    ) -> None:
        self.every = self.leak = np.full((len(patients), len(keys)), np.nan)
        self.other: Array | None = None
        self.weight: Array | None = None
        self.base: Array | None = None
        if judge.empty:
            return
        controls = judge[judge["edited_finding"].eq("")]
        if len(controls):
            wide = controls.pivot_table(index="patient_id", columns="read_finding", values="net")
            wide = wide.reindex(index=list(patients), columns=[read for _, read in keys])
            self.base = wide.to_numpy(float)
        self.every = _placed(judge, patients, keys, "net")
        kept = judge if counted is None else among(judge, counted)
        self.leak = _placed(kept, patients, keys, "net")
        if crossed and counted is not None:
            elsewhere, others = _elsewhere(judge)
            if others:
                kept = among(judge.assign(net=elsewhere), counted)
                # Of two pictures, the one that passes is measured in the other: where both pass,
                # that is one that passed, and it counts for two.
                total, self.weight = _sums(kept, patients, keys, "net")
                self.other = stats.ratio(total, self.weight)
        # A judge that is blind to a finding cannot say how much of it there is.
        own = [j for j, (edited, read) in enumerate(keys) if edited == read]
        tables = [self.every] if self.base is None else [self.every, self.base]
        together = np.concatenate([table[:, own] for table in tables], axis=1)
        samples = stats.resampled_means(together, rules.resamples, rules.seed)
        if self.base is not None:
            samples = samples[:, : len(own)] - samples[:, len(own) :]
        low, _ = _percentiles(samples, rules)
        blind = {keys[j][1] for j, end in zip(own, low, strict=True) if not end > 0}
        for table in (self.leak, self.other):
            if table is not None:
                table[:, [read in blind for _, read in keys]] = np.nan


def _elsewhere(judge: pd.DataFrame) -> tuple[Array, bool]:
    """Return a judge's net effects in a patient's other pictures of an edit, n; whether any has.

    The judge that lets a picture count also errs in it; its errors in others did not choose them.
    Where there is no other, it is the picture itself.
    """
    keys = ["patient_id", "edited_finding", "read_finding", "action"]
    groups = _numbered(judge, keys)
    net = judge["net"].to_numpy(float)
    count, total = np.bincount(groups)[groups], np.bincount(groups, net)[groups]
    several = count > 1
    return np.where(several, (total - net) / np.maximum(count - 1, 1), net), bool(several.any())


def among(nets: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `nets` whose baseline_id and pair_id are those of one of `pairs`."""
    names = ["baseline_id", "pair_id"]
    known = [pd.Index(pairs[name].unique()) for name in names]

    def codes(table: pd.DataFrame) -> NDArray[np.int64]:
        first, second = (
            k.get_indexer(pd.Index(table[n])) for k, n in zip(known, names, strict=True)
        )
        code = first.astype(np.int64) * (len(known[1]) + 1) + second
        return np.where((first < 0) | (second < 0), -1, code)

    chosen = np.isin(codes(nets), codes(pairs))
    return nets if chosen.all() else nets[chosen]


def _by_patient(
    nets: pd.DataFrame, patients: Sequence[str], column: str
) -> tuple[list[tuple[str, str]], Array]:
    """Return the cells' keys, sorted, and the mean of `column` per patient and cell (NaN: none)."""
    pairs = nets[["edited_finding", "read_finding"]].drop_duplicates().astype(str)
    keys = sorted(zip(pairs["edited_finding"], pairs["read_finding"], strict=True))
    return keys, _placed(nets, patients, keys, column)


def _placed(
    nets: pd.DataFrame, patients: Sequence[str], keys: list[tuple[str, str]], column: str
) -> Array:
    """Return the mean of `column` per patient and cell, NaN where there is none."""
    return stats.ratio(*_sums(nets, patients, keys, column))


def _sums(
    nets: pd.DataFrame, patients: Sequence[str], keys: list[tuple[str, str]], column: str
) -> tuple[Array, Array]:
    """Return the sum of `column` per patient and cell, and of how many rows it is."""
    sign = np.where(nets["action"] == "remove", -1.0, 1.0)
    value = nets[column].to_numpy(float) * sign
    edited, first = pd.factorize(nets["edited_finding"])
    read, second = pd.factorize(nets["read_finding"])
    # Arrays of the size of the table, and no copies of it: there may be millions of rows.
    place = {key: j for j, key in enumerate(keys)}
    pairs = [(str(one), str(other)) for one in first for other in second]
    column_of = np.array([place.get(pair, -1) for pair in pairs], np.intp)
    row = pd.Index(patients).get_indexer(pd.Index(nets["patient_id"]))
    cell = column_of[edited * len(second) + read] if len(nets) else np.zeros(0, np.intp)
    known, size = (row >= 0) & (cell >= 0), len(patients) * len(keys)
    at = (row * len(keys) + cell)[known]
    shape = (len(patients), len(keys))
    total, count = (
        np.bincount(at, w, minlength=size).astype(np.float64).reshape(shape)
        for w in (value[known], known[known])
    )
    return total, count


def _patients_mean(table: pd.DataFrame, column: str) -> Array:
    means = table.groupby("patient_id", sort=True, observed=True)[column].mean()
    return means.to_numpy(float)


def _percentiles(samples: Array, rules: Rules) -> tuple[Array, Array]:
    """Return low and high of columns of samples, NaN where too many lack a value."""
    known = np.isfinite(samples).sum(axis=0) >= max(0.9 * len(samples), 1)
    low, high = stats.percentile_interval(samples, rules.level)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _interval(values: Array, rules: Rules) -> Array:
    """Return low and high, 2 x m, of the means of n x m patients' values."""
    samples = stats.resampled_means(values, rules.resamples, rules.seed)
    return np.array(_percentiles(samples, rules))


def _shares(
    boot: _Boot, ungated: _Boot, seen: _Seen, rules: Rules
) -> dict[tuple[str, str], dict[str, float]]:
    """Return margin, shares of the own effect and tests at the margin, by cell."""
    by = {key: boot.scale(key) for key in boot.place}
    scaled = [key for key, name in by.items() if name]
    found = {key: dict.fromkeys(_SHARES, np.nan) for key in boot.place}
    # The tests are adjusted over off-target cells that are judged; the others have shares alone.
    judged = [key for key in scaled if boot.counts[boot.place[key]] >= rules.fewest]
    off = [key for key in judged if key[0] != key[1]]
    for keys in (off, [key for key in scaled if key not in set(off)]):
        at = [boot.place[key] for key in keys]
        own = [boot.place[by[key] or "", by[key] or ""] for key in keys]
        read = [boot.place[key[1], key[1]] for key in keys]
        # An edit of the finding itself leaks nothing of it.
        itself = [key[0] == key[1] for key in keys]
        other, base = (
            None if one is None else np.where(itself, 0.0, one[:, at])
            for one in (seen.other, seen.base)
        )
        terms = margins.Terms(
            boot.values[:, at],
            boot.values[:, own],
            np.where(itself, 0.0, seen.leak[:, at]),
            ungated.values[:, read],
            seen.every[:, read],
            other=other,
            weight=None if seen.weight is None else seen.weight[:, at],
            base=base,
        )
        table = margins.shares(terms, rules)
        for j, key in enumerate(keys):
            found[key] = {"margin": rules.margin * boot.means[own[j]]}
            found[key] |= {name: float(column[j]) for name, column in table._asdict().items()}
            found[key] |= {} if keys is off else dict.fromkeys(_TESTED, np.nan)
    return found


def _judged(
    row: dict[str, Any], rules: Rules, *, scaled: bool, witness: Witness
) -> tuple[str, str]:
    """Return verdict and reason of one cell; `scaled`: by the read finding's own effect."""
    edited, read, margin, alpha = row["edited"], row["read"], rules.margin, (1 - rules.level) / 2
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
    share = f"{row['corrected']:.0%} of the reaction to {read if scaled else edited} itself"
    beyond, inside = row["beyond_p"] <= alpha, row["within_p"] <= alpha
    if _leaks(row, rules) and witness != "readers":
        leak = f"the judge sees as much {read} as explains {row['leak']:.0%} of {row['ratio']:.0%}"
        return "needs readers", f"{leak} of the own effect: too much to rest on a judge."
    if beyond:
        rest = "" if scaled else f"; to {read} itself the head is blind"
        own = row["margin"] / margin
        if scaled and own < _WEAK:
            rest = f". {read} itself moves the head by {own:.2f} logits alone: it hardly knows it"
        return "shortcut", f"{edited} raises {read} by {share}, beyond {margin:.0%}{rest}."
    if not scaled:
        return "no yardstick", blind
    if row["below_p"] <= alpha:
        return (
            "suppression",
            f"{edited} lowers {read} by {share.replace('-', '')}: it hides it, or speaks against.",
        )
    if inside and row["ratio_low"] > margin:
        return "leakage", f"These pictures, too, show {read} ({row['leak']:.0%})."
    if inside:
        return "within margin", f"{edited} moves {read} by {share}, surely within {margin:.0%}."
    return (
        "undecided",
        f"{share}, {row['corrected_low']:.0%} to {row['corrected_high']:.0%}, beside the other "
        "pairs: more patients are needed.",
    )


def _leaks(row: dict[str, Any], rules: Rules) -> bool:
    """Tell whether leakage is more than half of an effect that may be beyond the margin."""
    if rules.exact or row["ratio_high"] <= rules.margin or row["ratio"] <= 0:
        return False
    called = (1 - rules.level) / 2 >= row["beyond_p"]
    return bool(row["leak"] > row["ratio"] / 2 and (row["leak_low"] > 0 or called))


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


class Score(NamedTuple):
    """A classifier's largest off-target share, in [0, 1], with its interval (NaN: unknown).

    `blind` are the heads that it leaves out.
    """

    value: float
    low: float
    high: float
    blind: tuple[str, ...] = ()


def score(table: pd.DataFrame) -> Score | None:
    """Return the shortcut score of a classifier's cells; None: nothing gives one.

    It is the largest r / (1 + r), where r is a cell's corrected ratio, 0 where that is negative:
    of what moves a head, the share that is the other finding and not its own. 0 is a head that
    moves for its own finding alone, one half one that moves as much for the other. It is 1 where a
    shortcut moves a head that is not sure to react to its own finding; other cells of such a head
    are left out, as r is of another head's effect there. r can be any size where an own effect is
    small; its share cannot.
    Its interval covers the largest: the low end holds for all cells at once (the largest of many
    is large by chance), the high end is the highest of any cell. Of a head that may not react to
    its own finding, the low end is beside the most that its own effect may be.
    """
    table = table.reindex(columns=list(CELLS))
    itself, tried = table["on_target"].astype(bool), table["verdict"] == "on target"
    own = table[itself & tried & ~(table["low"].astype(float) > 0)].set_index("read")["high"]
    off = table[~itself & (table["verdict"] != "too few") & table["corrected"].notna()]
    unsure = off["read"].isin(own.index)
    only = off[unsure & (off["verdict"] == "shortcut")]
    if len(only):
        moved = (only["least"] * only["effect"] / only["ratio"]).clip(lower=0)
        most = moved + only["read"].map(own).clip(lower=0)
        return Score(1.0, float((moved / most).max()), 1.0)
    blind = tuple(sorted(set(off.loc[unsure, "read"])))
    off = off[~unsure]
    if off.empty:
        return None
    ends = off[["corrected", "least", "corrected_high"]].astype(float)
    kept = ends.clip(lower=0)
    # r / (1 + r), whose limit is 1.
    shares = (1 - 1 / (1 + kept)).max(axis=0)
    value, low, high = (float(one) for one in shares)
    return Score(value, low, high, blind)


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
