"""The fidelity of the bundled editors: ``bench/fidelity.json`` and ``docs/fidelity.md``.

``python -m bench.fidelity --data DIR`` validates `mini` and the painter on the test split and keeps
the two reports (``report.html``) in ``--run``. It goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from bench import weights
from roentmod import datasets
from roentmod.classifiers import Judge, load
from roentmod.classifiers.extractors import load_extractor
from roentmod.editors import Editor
from roentmod.jobs import validate as validation
from roentmod.jobs.validate.sections import CHECKS
from roentmod.science.fidelity import GROUPS
from roentmod.store import atomic, write_json

EDITORS = ("mini", "painter")
# Findings that come along with others; the painter brings none along, and keeps to its places.
HOLD = ("Cardiomegaly", "Pleural Effusion", "Consolidation")
JSON, PAGE = Path("bench/fidelity.json"), Path("docs/fidelity.md")
log = logging.getLogger(__name__)


def validate(name: str, data: Path, run: Path, count: int, second: str = "") -> dict[str, Any]:
    """Validate one editor on `count` test baselines and return its figures and checks.

    `second` is the form of a second judge; "": none.
    """
    source = datasets.load(data)
    editor = Editor.load(name)
    able = getattr(editor, "findings", None)
    findings = tuple(f for f in Judge.load().findings if able is None or f in able)
    plan = validation.ValidatePlan(
        findings=tuple(f for f in findings if f != "Hernia"),
        hold=HOLD if name == "mini" else (),
        regional=name == "mini",
    )
    result = validation.run(
        source,
        validation.choose(source, count=count, split="test"),
        editor,
        plan,
        run / name,
        split="test",
        extractor=load_extractor("judge"),
        second=load(second) if second else None,
    )
    result.report()
    more = {"n_baselines": count, "missing": result.counts["missing"]}
    checks = result.checks.to_dict("records")
    unknown = [str(check["check"]) for check in checks if check["state"] == "not measured"]
    return result.figures() | more | {"failed": failed(checks), "not_measured": unknown}


def failed(checks: list[dict[Any, Any]]) -> dict[str, float]:
    """Return the value of each of the report's checks that failed."""
    return {
        str(check["check"]): round(float(check["value"]), 4)
        for check in checks
        if check["state"] == "failed"
    }


def page(figures: dict[str, dict[str, Any]]) -> str:
    """Return the page of both editors' figures."""
    figures = {name: figures[name] for name in EDITORS if name in figures}
    second = any("second_success_plain" in one for one in figures.values())
    lines = [
        "# How faithful the bundled editors are",
        "",
        "Made by `python -m bench.fidelity --data DIR` (`bench/fidelity.json`) on the test split; "
        "what each figure means, and the limit of each check, stands in the report that `roentmod "
        "validate` writes, and in `roentmod.science.fidelity`. pFID ignores place, so that "
        "it cannot show that anatomy is preserved; places moved can. The judge and both "
        "editors know the same painter, so that success by it is obedience"
        f"{'; the second one of `make fidelity` learned real labels alone' if second else ''}. The "
        "painter's shams are the baselines, so that no detector can tell them apart. How well the "
        "recogniser tells patients apart says [its own page](recogniser.md).",
        "",
        "| | " + " | ".join(figures) + " |",
        "|---|" + "---|" * len(figures),
    ]
    rows: list[tuple[str, list[str]]] = [
        ("baselines", [str(one["n_baselines"]) for one in figures.values()])
    ]
    groups = dict.fromkeys(g for one in figures.values() for g in one["pfid"])
    rows.append(("edits are compared with the", [one["control"] for one in figures.values()]))
    for group in groups:
        rows.append((f"pFID, {group}, median", [_interval(o, group) for o in figures.values()]))
    for key, word in (
        ("own_closer_fraction", "own edits nearer, on average, than any other picture"),
        ("success_plain", "edits that succeed"),
        ("leakage_plain", "leakage"),
        ("success_hold", "edits that succeed, with --hold"),
        ("leakage_hold", "leakage, with --hold"),
        ("success_region", "edits that succeed, in the usual region"),
        ("leakage_region", "leakage, in the usual region"),
        ("prompt_icc", "wording: intraclass correlation"),
        ("minutes", "minutes"),
    ):
        rows.append((word, [_with(one, key) for one in figures.values()]))
    rows += _optional(figures)
    for mode in ("sham", "baseline", "none"):
        cells = [
            _ranged(one["artefact_auc"].get(mode), one.get("artefact_ci", {}).get(mode))
            for one in figures.values()
        ]
        rows.append((f"detector of shams, AUC, composite `{mode}`", cells))
    lines += [f"| {word} | {' | '.join(cells)} |" for word, cells in rows]
    lines += ["", "## What falls short", "", *_weak(figures), ""]
    return "\n".join(lines)


def _optional(figures: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the rows of what not every editor and run has, where anything is measured."""
    rows = [
        (f"{word}, by the second judge", [_shown(one.get(key)) for one in figures.values()])
        for key, word in (
            ("second_success_plain", "edits that succeed"),
            ("second_leakage_plain", "leakage"),
        )
    ]
    for mode in ("sham", "baseline", "none"):
        cells = [_shown(one.get("own", {}).get(mode)) for one in figures.values()]
        rows.append((f"edits whose nearest baseline is their own, composite `{mode}`", cells))
    for arm in dict.fromkeys(a for one in figures.values() for a in one.get("same_patient", {})):
        cells = [_share(one.get("same_patient", {}).get(arm)) for one in figures.values()]
        rows.append((f"nearest baseline by the recogniser is the patient's own, {arm}", cells))
    for group in GROUPS:
        moved = [one.get("displaced", {}).get(group, {}) for one in figures.values()]
        cells = [_shown(one.get("mean")) for one in moved]
        rows.append((f"places moved, share of the side, {group}", cells))
    for name in dict.fromkeys(n for one in figures.values() for n in one.get("real_auc", {})):
        cells = [_of_real(one.get("real_auc", {}).get(name)) for one in figures.values()]
        rows.append((f"detector of edits among real positives, AUC, {name}", cells))
        cells = [_of_real(one.get("before_auc", {}).get(name)) for one in figures.values()]
        rows.append((f"the same before anything was drawn, {name}", cells))
    return [(word, cells) for word, cells in rows if set(cells) != {"-"}]


def _share(one: dict[str, Any] | None) -> str:
    """Return a share with its interval."""
    if one is None:
        return "-"
    return _ranged(one["share"], one["ci"])


def _of_real(one: dict[str, Any] | None) -> str:
    """Return an AUC with its interval and the number of real positives."""
    if one is None:
        return "-"
    if one["auc"] is None:
        return f"not measured ({one['real']} match)"
    low, high = map(_shown, one["ci"])
    return f"{_shown(one['auc'])} ({low} to {high}; {one['real']} real)"


def _with(one: dict[str, Any], key: str) -> str:
    """Return a figure, and its interval where there is one."""
    measure, _, way = key.partition("_")
    return _ranged(one[key], one.get(f"{measure}_ci", {}).get(way))


def _ranged(value: float | None, ends: list[float | None] | None) -> str:
    if not ends or None in ends:
        return _shown(value)
    return f"{_shown(value)} ({_shown(ends[0])} to {_shown(ends[1])})"


def _interval(one: dict[str, Any], group: str) -> str:
    found = one["pfid"].get(group)
    if found is None:
        return "-"
    return _ranged(found["median"], found["ci"])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _weak(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each target that an editor misses."""
    lines = []
    for name, one in figures.items():
        unknown = [CHECKS[check][0] for check in one.get("not_measured", ())]
        if unknown:
            lines.append(f"- `{name}`, not measured: {'; '.join(unknown)}.")
        for check, value in one["failed"].items():
            said, share = CHECKS[check]
            lines.append(f"- `{name}`: {said}: {f'{value:.0%}' if share else f'{value:.2f}'}.")
        for way, word in (("hold", "holding"), ("region", "the usual region")):
            plain, kept = one["leakage_plain"], one[f"leakage_{way}"]
            if plain and kept is not None and kept > 0.5 * plain:
                takes = f"takes {1 - kept / plain:.0%} of" if kept < plain else "does not lower"
                lines.append(f"- `{name}`: {word} {takes} the leakage; the target is 50 %.")
            before, after = one["success_plain"], one[f"success_{way}"]
            if before is not None and after is not None and after < before - 0.05:
                lines.append(
                    f"- `{name}`: {word} costs {100 * (before - after):.0f} points of success."
                )
        if one["minutes"] > 20:
            lines.append(f"- `{name}`: {one['minutes']:.0f} minutes, target at most 20.")
    return lines or ["Nothing by the targets above."]


def main() -> None:
    """Validate both editors and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=Path("runs/fidelity"))
    parser.add_argument("--baselines", type=int, default=40)
    parser.add_argument("--second-judge", default="", help="a form, such as judge:FOLDER")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    figures = {}
    for name in EDITORS:
        figures[name] = validate(name, args.data, args.run, args.baselines, args.second_judge)
        log.info("%s: %s", name, figures[name])
    write_json(JSON, figures)
    with atomic(PAGE) as part:
        part.write_text(page(figures), encoding="utf-8")
    weights.measured(JSON)


if __name__ == "__main__":
    main()
