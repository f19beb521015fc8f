"""What was asked of retraining, and what of it an arm reaches.

One arm decides, that which the pilot ranked first: the best of several looks better than it is.
Each row of a table is a target, what was found, and a state: met, missed with what the interval
says of why, or not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench import retrain_tune
from roentmod.science.performance import Rules

__all__ = ["decider", "falls", "gain", "limits", "painted", "rows", "span", "why"]

Found = Mapping[str, Mapping[str, Any]]
Row = tuple[str, str, str]
MET, UNKNOWN = "met", "not known"
_RULES = Rules()
_STUDIES = ("truth-first-mini", "truth-second-mini")
_WHERE = ("internal", "external")
# Of what the painter's counterfactuals gain, what those of a generator should.
_SHARE = 0.8


def decider(found: Found) -> str | None:
    """Return the arm that decides; none where no pilot was made."""
    ranked = found["real"].get("ranked") or ()
    return str(ranked[0]) if ranked else None


def rows(found: Found, primary: Mapping[str, Any], arm: str) -> Iterator[Row]:
    """Yield what was asked of an arm.

    Args:
        found: of each study, what ``bench/retrain.json`` tells.
        primary: the primary outcome, by test.
        arm: one that is taught with counterfactuals.
    """
    for test in (test for test in primary if test.startswith("real")):
        against = primary[test].get(arm, {}).get("against", {}).get(_RULES.reference, {})
        least = f"{-100 * _RULES.inferior:+.0f}"
        yield (f"{test}: not inferior to erm, low end above {least}", gain(against), _harm(against))
    for where in _WHERE:
        against = primary[where].get(arm, {}).get("against", {})
        over = against.get(_RULES.reference, {})
        least = f"{100 * _RULES.gain:+.0f}"
        yield (f"{where}: gain over erm of {least}, low end above 0", gain(over), _won(over))
        yield (f"{where}: above every rival, low ends above 0", *_rivals(against, primary[where]))
    for name in _STUDIES:
        short = name.removeprefix("truth-")
        yield (
            f"{short}: score by the editor that made no counterfactual falls by {_RULES.fall:.0%}",
            *_fallen(found.get(name, {}), arm),
        )
    for name in _STUDIES:
        short = name.removeprefix("truth-")
        for where in _WHERE:
            yield (
                f"{short}, {where}: sensitivity gap falls by {_RULES.fall:.0%}",
                *_closed(found.get(name, {}), arm, where),
            )
    for where in _WHERE:
        yield (
            f"first set, {where}: `mini` gains {_SHARE:.0%} of what the painter gains",
            *_share(found, arm, where),
        )


def gain(one: Mapping[str, Any]) -> str:
    """Return a difference of the primary outcome in points, with its interval with seeds."""
    if one.get("mean") is None:
        return "-"
    return f"{100 * one['mean']:+.1f} ({span(one.get('ci_with_seeds'), 100, '{:+.1f}')})"


def span(values: Any, scale: float, form: str) -> str:
    """Return numbers as "low to high", or - where one is not known."""
    if values is None or None in values:
        return "-"
    return " to ".join(form.format(scale * value) for value in values)


def _ends(one: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Return a difference's mean and interval with seeds; none where it is not known."""
    ends = one.get("ci_with_seeds")
    if one.get("mean") is None or ends is None or None in ends:
        return None
    return float(one["mean"]), float(ends[0]), float(ends[1])


def _harm(one: Mapping[str, Any]) -> str:
    if (ends := _ends(one)) is None:
        return UNKNOWN
    _, low, high = ends
    if low > -_RULES.inferior:
        return MET
    return "missed: it is worse" if high < 0 else "missed: no harm shown, the interval is too wide"


def _won(one: Mapping[str, Any]) -> str:
    if (ends := _ends(one)) is None:
        return UNKNOWN
    mean, low, high = ends
    if high < 0:
        return "missed: it is worse"
    if low <= 0:
        return "missed: not told apart from erm"
    return MET if mean >= _RULES.gain else "missed: better, by less"


def _rivals(against: Mapping[str, Any], arms: Mapping[str, Any]) -> tuple[str, str]:
    """Return the rival that an arm is least surely above, and whether it is above all."""
    asked = [name for name in _RULES.rivals if name in arms]
    known = {name: ends for name in asked if (ends := _ends(against.get(name, {}))) is not None}
    if not known:
        return "-", UNKNOWN
    hardest, (_, low, high) = min(known.items(), key=lambda item: item[1][1])
    shown = f"{hardest} {gain(against[hardest])}"
    if low <= 0:
        return shown, f"missed: {'below' if high < 0 else 'not told apart from'} {hardest}"
    return shown, MET if len(known) == len(asked) else UNKNOWN


def falls(one: Mapping[str, Any], unseen: bool) -> dict[str, tuple[float, float]]:
    """Return how far each arm's score falls against erm of its study, and the low end of that.

    Nothing of what has no interval: an audit of either that gives no score, or erm's near 0.
    """
    own = [row for row in one.get("scores", ()) if bool(row.get("editor")) == unseen]
    return {
        row["arm"]: (row["fall"], row["fall_low"])
        for row in own
        if row["fall"] is not None and row.get("fall_low") is not None
    }


def blinded(one: Mapping[str, Any], arm: str, unseen: bool) -> str:
    """Say in how many seeds an arm's score is of fewer heads than erm's; "" of none."""
    own = [
        row
        for row in one.get("scores", ())
        if row["arm"] == arm and bool(row.get("editor")) == unseen and row.get("blinded")
    ]
    return "".join(f"; {row['blinded']} of {row['seeds']} seeds blinded" for row in own)


def _fallen(one: Mapping[str, Any], arm: str) -> tuple[str, str]:
    fall, low = falls(one, unseen=True).get(arm, (math.nan, math.nan))
    if math.isnan(fall):
        return "-", UNKNOWN
    shown = f"{fall:.0%}, at least {low:.0%}{blinded(one, arm, unseen=True)}"
    # The high end is not kept: a score that rises is not told apart from one that does not.
    return shown, _halved(fall, falls_surely=low > 0)


def _halved(fall: float, *, falls_surely: bool, rises_surely: bool = False) -> str:
    if rises_surely:
        return "missed: it rises"
    if not falls_surely:
        return "missed: not told apart from erm"
    return MET if fall >= _RULES.fall else "missed: it falls by less"


def _closed(one: Mapping[str, Any], arm: str, where: str) -> tuple[str, str]:
    """Return by how much the sensitivity gap of an arm is smaller than erm's of the same study.

    A head that ranks nothing has no gap, too, so that the area must not have fallen; and of erm
    there must be a gap that can fall.
    """
    gaps = {row["arm"]: row for row in one.get("reverse", ()) if row["where"] == where}
    changes = [
        row
        for row in one.get("reverse_comparisons", ())
        if (row["arm"], row["reference"], row["where"]) == (arm, _RULES.reference, where)
    ]
    erm = gaps.get(_RULES.reference, {})
    base = erm.get("dependence")
    if arm not in gaps or not base or not changes or changes[0]["seeds_high"] is None:
        return "-", UNKNOWN
    change = changes[0]
    left = gaps[arm]["dependence"]
    ends = f"{change['seeds_low']:+.2f} to {change['seeds_high']:+.2f}"
    shown = f"{1 - left / base:.0%}: {base:.2f} to {left:.2f} ({ends}; {change['pairs']} pairs)"
    low, high = erm.get("low"), erm.get("high")
    if low is None or high is None or low <= 0 <= high:
        return shown, f"{UNKNOWN}: erm has no gap for sure"
    state = _halved(
        1 - left / base,
        falls_surely=change["seeds_high"] < 0,
        rises_surely=change["seeds_low"] > 0,
    )
    over = _over(one, arm, where)
    if state == MET and (over is None or over[1] <= -_RULES.inferior):
        return shown, "missed: the area may have fallen, too"
    return shown, state


def _over(one: Mapping[str, Any], arm: str, where: str) -> tuple[float, float, float] | None:
    """Return an arm's gain over erm in the pairs of a study, and its ends."""
    for test, arms in one.get("primary", {}).items():
        if (test == "external") == (where == "external"):
            return _ends(arms.get(arm, {}).get("against", {}).get(_RULES.reference, {}))
    return None


def _both(found: Found, arm: str, where: str) -> list[tuple[float, float, float] | None]:
    """Return an arm's gains in the first set of pairs, with counterfactuals by `mini`, painter."""
    return [_over(found.get(f"truth-first-{name}", {}), arm, where) for name in ("mini", "painter")]


def _share(found: Found, arm: str, where: str) -> tuple[str, str]:
    """Return `mini`'s gain over the painter's, and its interval (Fieller), as if independent."""
    ours, painter = _both(found, arm, where)
    if ours is None or painter is None:
        return "-", UNKNOWN
    told = f"{100 * ours[0]:+.1f} of {100 * painter[0]:+.1f}"
    if painter[1] <= 0:
        return told, f"{UNKNOWN}: the painter gains nothing for sure"
    half, whole = ((high - low) / 2 for _, low, high in (ours, painter))
    first = painter[0] ** 2 - whole**2
    product = ours[0] * painter[0]
    root = math.sqrt(max(product**2 - first * (ours[0] ** 2 - half**2), 0))
    share, ends = ours[0] / painter[0], ((product - root) / first, (product + root) / first)
    shown = f"{share:.0%} ({span(ends, 1, '{:.0%}')}): {told}"
    if share >= _SHARE:
        return shown, MET if ends[0] > 0 else "missed: not surely anything"
    less = ends[1] < _SHARE
    return shown, "missed: surely less" if less else f"missed: not told apart from {_SHARE:.0%}"


def painted(found: Found, arm: str) -> Iterator[str]:
    """Say what an arm gains with the painter's counterfactuals: whether a miss is the editor's."""
    for where in _WHERE:
        ours, painter = _both(found, arm, where)
        if ours is None or painter is None:
            continue
        apart = painter[0] - ours[0]
        margin = math.hypot(*((high - low) / 2 for _, low, high in (ours, painter)))
        why = "which is not told apart from what `mini`'s gain"
        if apart > margin:
            why = "surely more than with `mini`'s: what is missed there is the editor's part"
        elif apart < -margin:
            why = "surely less than with `mini`'s"
        ends = span(painter[1:], 100, "{:+.1f}")
        yield (
            f"- With the painter's counterfactuals (first set), {where}, {arm} gains "
            f"{100 * painter[0]:+.1f} ({ends}), {why}."
        )


def why(found: Found, primary: Mapping[str, Any], arm: str) -> Iterator[str]:
    """Say what the figures tell of why targets are missed."""
    for test in (test for test in primary if test.startswith("real")):
        ends = _ends(primary[test].get(arm, {}).get("against", {}).get(_RULES.reference, {}))
        if ends is None:
            continue
        times = (ends[2] - ends[1]) / 2 / _RULES.inferior
        # What is surely worse, or worse by a narrow interval, does not want for patients.
        if ends[1] <= -_RULES.inferior and ends[2] >= 0 and times > 1:
            yield (
                f"- {test}: no interval so wide can exclude harm of {100 * _RULES.inferior:.0f} "
                f"point where there is none; it would have to be {times:.1f} times narrower, for "
                f"which some {times**2:.0f} times as many patients and seeds are needed."
            )
    for name in (*_STUDIES, "truth-first-painter"):
        own, other = (falls(found.get(name, {}), unseen).get(arm) for unseen in (False, True))
        if own is not None and other is not None:
            learned = (
                " What the first is greater by may be learned of how that editor draws, and not of "
                "the findings."
            )
            yield (
                f"- {name.removeprefix('truth-')}: the score falls by {own[0]:.0%} by the editor "
                f"that made the counterfactuals, by {other[0]:.0%} by the other one."
                f"{learned if own[0] > other[0] else ''}"
            )


def _tuned() -> tuple[int, int]:
    """Return how many values the pilot tries for arms with counterfactuals, and for rivals."""
    tried = [(arm, len(values)) for arm, values in retrain_tune.GRID.values()]
    ours = sum(count for arm, count in tried if arm in _RULES.corrected)
    return ours, sum(count for arm, count in tried if arm in _RULES.rivals)


def limits() -> Iterator[str]:
    """Say what the intervals take no account of."""
    ours, rivals = _tuned()
    yield from (
        "- Hosts are those of the earlier tries, with findings drawn anew and with seeds that no "
        "try and no pilot had. Arms, shares and severities were changed after those tries' tests "
        "were read, which no interval counts.",
        "- The editor that made no counterfactual is the painter where `mini` corrects. It painted "
        "what all training pictures show, and its pictures taught `mini`: it is new to an arm as a "
        "source of counterfactuals alone.",
        f"- The pilot tried {ours} values of numbers for arms with counterfactuals, by those of "
        f"`mini`, and {rivals} for rivals; the painter's study has the same numbers.",
        "- Of a size of the sensitivity gap chance alone makes a part, the more the fewer "
        "radiographs show both findings: falls are understated. Pairs with fewer than "
        f"{_RULES.fewest} of either kind are left out.",
        "- The patients of the AP radiographs of (a), and most of (b), are of the split whose "
        "radiographs taught `mini` or the judge: arms that learn from counterfactuals may know "
        "something of them by way of the editor.",
        "- A study has one planted training set and one set of counterfactuals, which all its "
        "seeds share: intervals are of other patients and seeds, not of another such set. Of real "
        "labels the models of the folds are fixed, too.",
    )
