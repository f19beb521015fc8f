"""Does the analysis of reader studies recover the truth? Coverage of its intervals.

Studies of simulated readers whose truth is known are analysed, and it is counted how often each
95 % interval holds it, how often Holm's family of off-target comparisons raises an alarm where
there is nothing, and how wide intervals are beside what the planning formula expects:
``python -m bench.readings`` writes ``bench/readings.json``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats

from roentmod.science.readers import simulated
from roentmod.science.readers.analysis import Analysis, Rules, analyse
from roentmod.science.readers.power import Assumed, precision
from roentmod.science.readers.simulated import FINDING, REALISM, Scale, Skill

FINDINGS = ("Edema", "Pleural Effusion")
SKILL = Skill(realism=0.5)
_PRESENT, _ALTERED = 4, 4
OUT = Path(__file__).with_name("readings.json")


class Size(NamedTuple):
    """How large a study is."""

    readers: int
    edits: int
    positives: int
    normals: int
    pairs: int


SCENARIOS = {
    "5 readers": Size(5, 60, 30, 40, 24),
    "3 readers, fewer cases": Size(3, 40, 20, 24, 16),
}


def truth(size: Size) -> pd.DataFrame:
    """Return the cases of a study, one per patient, without repeats."""
    rows = []
    groups = {"edit": size.edits, "real_positive": size.positives, "real_normal": size.normals}
    for kind, count in groups.items():
        for n in range(count):
            name = "" if kind == "real_normal" else FINDINGS[n % len(FINDINGS)]
            present = [name] if name else []
            rows.append((f"{kind}{n}", kind, "", f"p{kind}{n}", name, present, "", ""))
    columns = ["case", "kind", "of", "patient", "finding", "present", "side", "severity"]
    return pd.DataFrame(rows, columns=columns)


def held(table: pd.DataFrame, size: Size, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return simulated readers of one study, and what they answer."""
    names = [f"r{n}" for n in range(size.readers)]
    people = simulated.drawn(SKILL, names, seed)
    shown = simulated.order(table["case"].tolist(), names, seed)
    pairs = [
        (name, 2, len(table) + n + 1, f"edit{n}", f"real_positive{n}")
        for name in names
        for n in range(size.pairs)
    ]
    columns = ["reader", "session", "position", "case", "other"]
    shown = pd.concat([shown[columns], pd.DataFrame(pairs, columns=columns)], ignore_index=True)
    return people, simulated.answers(table, people, shown, FINDINGS, SKILL, seed=seed)


def agreeing(people: pd.DataFrame, what: str, there: Mapping[float, int], scale: Scale) -> float:
    """Return the AC1 of these readers on infinitely many cases of such a mixture.

    Args:
        people: of `held`.
        what: "realism" or "finding".
        there: numbers of cases by whether the thing is there.
        scale: of the answers, cut at the fourth.
    """
    node, mass = np.polynomial.hermite_e.hermegauss(41)
    common, own = SKILL.correlation, 1 - SKILL.correlation
    rest = 1 - SKILL.fatigue * np.linspace(0, 1, 101)
    count, total = len(scale.limits) + 1, sum(there.values())
    pairs, rate, r = 0.0, 0.0, len(people)
    for amount, cases in there.items():
        d = people[what].to_numpy(float)[:, None, None] * amount * rest
        mean = d + people["bias"].to_numpy(float)[:, None, None] - scale.limits[2]
        mean = (mean + math.sqrt(common) * node[:, None]) / math.sqrt(own)
        yes = special.ndtr(mean).mean(axis=-1)
        yes = (1 - SKILL.lapses) * yes + SKILL.lapses * (count - 3) / count
        same = sum(part.sum(axis=0) ** 2 - (part**2).sum(axis=0) for part in (yes, 1 - yes))
        share = cases / total
        pairs += share * float(same @ mass / mass.sum()) / (r * (r - 1))
        rate += share * float((yes @ mass / mass.sum()).mean())
    chance = 2 * rate * (1 - rate)
    return (pairs - chance) / (1 - chance)


def _rows(result: Analysis, people: pd.DataFrame, size: Size) -> Iterator[tuple[str, Any, float]]:
    """Yield a name, the row with its interval, and the truth."""

    def one(table: pd.DataFrame, **wanted: str) -> Any:
        chosen = np.logical_and.reduce([table[key] == value for key, value in wanted.items()])
        (row,) = table[chosen].to_dict("records")
        return row

    real, altered = 1 - simulated.shares(SKILL, "realism", [0, 1], _ALTERED, REALISM)
    false, hit = simulated.shares(SKILL, "finding", [0, 1], _PRESENT, FINDING)
    area = simulated.area(SKILL)
    for against in ("real", "real_normal"):
        row = one(result.realism, against=against, samples="readers and cases")
        yield f"realism AUC against {against}", row, area
    for measure, finding, kind, value in (
        ("realistic", "all", "edit", altered),
        ("realistic", "all", "real_normal", real),
        ("seen", "all", "edit", hit),
        ("seen", "Edema", "edit", hit),
        ("seen", "Edema", "real_normal", false),
    ):
        row = one(result.shares, measure=measure, finding=finding, kind=kind)
        yield f"share {measure} {finding} {kind}", row, float(value)
    for measure, finding, read, value in (
        ("realistic", "all", "", altered - real),
        ("seen", "Edema", "Edema", hit - false),
        ("seen_real", "Edema", "Edema", 0.0),
        ("off_target", "Edema", "Pleural Effusion", 0.0),
    ):
        row = one(result.contrasts, measure=measure, finding=finding, read=read)
        yield f"difference {measure}", row, float(value)
    reals = size.positives + size.normals
    half = (size.edits + size.positives) // 2
    for question, what, there, scale in (
        ("realism", "realism", {1.0: size.edits, 0.0: reals}, REALISM),
        ("finding:Edema", "finding", {1.0: half, 0.0: size.edits + reals - half}, FINDING),
    ):
        row = one(result.agreement, raters="readers", question=question, scale="binary",
                  measure="AC")  # fmt: skip
        yield f"AC1 {question}", row, agreeing(people, what, there, scale)
    yield "share of pairs", one(result.pairs, finding="all"), simulated.preference(SKILL)


def coverage(size: Size, studies: int, *, resamples: int = 300, first: int = 0) -> dict[str, Any]:
    """Return what `studies` studies of a size show, by quantity.

    Args:
        size: of each study.
        studies: how many.
        resamples: of patients, for agreement.
        first: seed of the first.
    """
    table, rules = truth(size), Rules(FINDINGS, resamples=resamples)
    hits: dict[str, list[tuple[bool, float, float, float]]] = {}
    alarms, areas = [], []
    for seed in range(first, first + studies):
        people, answers = held(table, size, seed)
        result = analyse(table, answers, rules)
        for name, row, value in _rows(result, people, size):
            inside = row["low"] <= value <= row["high"]
            mean = (bool(inside), value, row["value"], row["high"] - row["low"])
            hits.setdefault(name, []).append(mean)
        off = result.contrasts[result.contrasts["measure"] == "off_target"]
        alarms.append(bool((off["p_holm"] < 0.05).any()))
        areas.append(result.realism.iloc[0][["spread", "variance", "covariance"]].to_list())
    return {
        "size": size._asdict(),
        "studies": studies,
        "coverage": {name: _counted(rows) for name, rows in hits.items()},
        "family_wise_error": _rate(sum(alarms), studies),
        "planning": _planned(size, np.mean(areas, axis=0), hits["realism AUC against real"]),
    }


def _counted(rows: list[tuple[bool, float, float, float]]) -> dict[str, Any]:
    inside, value, mean, width = (np.array(column, float) for column in zip(*rows, strict=True))
    result = _rate(int(inside.sum()), len(rows))
    low, high = stats.binom.interval(0.95, len(rows), 0.95)
    nominal = low <= inside.sum() <= high
    return result | {
        "nominal": bool(nominal),
        "truth": round(float(value.mean()), 4),
        "mean": round(float(mean.mean()), 4),
        "width": round(float(width.mean()), 4),
    }


def _rate(count: int, n: int) -> dict[str, Any]:
    ends = stats.binomtest(count, n).proportion_ci(method="wilson")
    ci = [round(float(end), 4) for end in (ends.low, ends.high)]
    return {"share": round(count / n, 4), "ci": ci}


def _planned(size: Size, parts: Any, rows: list[tuple[bool, float, float, float]]) -> Any:
    """Return the half-width that the formula expects of these variance components, and the mean."""
    spread, variance, covariance = (float(part) for part in parts)
    assumed = Assumed(
        "realism",
        simulated.area(SKILL),
        spread=math.sqrt(max(0.0, spread)),
        correlation=max(0.0, covariance / variance),
        real=(size.positives + size.normals) / size.edits,
    )
    expected = precision(assumed, size.readers, size.edits)
    values = [row[2] for row in rows]
    return {
        "half_width_expected": round(expected.half_width, 4),
        "half_width_mean": round(float(np.mean([row[3] for row in rows])) / 2, 4),
        "error_expected": round(expected.error, 4),
        "error_observed": round(float(np.std(values, ddof=1)), 4),
    }


def main() -> None:
    """Write ``bench/readings.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    result = {name: coverage(size, given.studies) for name, size in SCENARIOS.items()}
    text = json.dumps({"simulated": True, "skill": vars(SKILL), "scenarios": result}, indent=2)
    given.out.write_text(text + "\n", encoding="utf-8")
    for name, one in result.items():
        print(name, one["family_wise_error"], one["planning"])
        print(pd.DataFrame(one["coverage"]).T.to_string())


if __name__ == "__main__":
    main()
