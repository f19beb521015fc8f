"""What does composite "one-way" change? ``bench/one_way.json`` and ``docs/composite.md``.

``python -m bench.one_way --data DIR`` adds each finding that has a direction, by `mini` at default
settings, in composites "sham" and "one-way": to "No Finding" radiographs of the validation split,
and to those of the validation and test splits whose labels have a mass, which nobody asked to
change. The bundled judge, and with ``--real-judge`` one of real labels alone, read all pictures.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import removal, weights
from roentmod import imaging
from roentmod.classifiers import Judge
from roentmod.domain import finding
from roentmod.editors import Editor, compose
from roentmod.edits import Composite, Edit
from roentmod.interfaces import RadiographEditor, described
from roentmod.store import write_json

JSON, PAGE = Path("bench/one_way.json"), Path("docs/composite.md")
COMPOSITES: tuple[Composite, ...] = ("sham", "one-way")
CARRIED = "Mass"
# Radiographs without a finding.
HEALTHY = 24
JUDGES = {"judge": "bundled", "real_judge": "real labels"}
Row = dict[str, Any]
log = logging.getLogger(__name__)


def chosen(data: Path, findings: Sequence[str]) -> dict[str, list[Path]]:
    """Return the radiographs without a finding, and those that carry a mass."""
    val, test = (removal.chosen(data, split, findings) for split in removal.SPLITS)
    healthy = [path for path, own in val if not own]
    carrying = [path for path, own in (*val, *test) if CARRIED in own]
    return {"healthy": healthy[:HEALTHY], "carrying": carrying}


def measured(
    editor: RadiographEditor, path: Path, names: Sequence[str], judges: dict[str, Judge]
) -> list[Row]:
    """Return what each edit of one radiograph does, in both composites.

    Returns:
        Rows with ``finding``, ``composite``, ``against`` and ``with``: mean change of pixels
        against and with the finding's direction; ``own`` and ``off_target`` of each judge: rise of
        the finding's logit (NaN where the judge does not read it), mean size of what others move
        by; ``carried``: rise of the mass's logit by the bundled judge.
    """
    radiograph, rows = imaging.read(path), []
    before = compose.shrink(radiograph, removal.SIZE)
    edits = [Edit((name,), composite=mode) for mode in COMPOSITES for name in names]
    for one in editor.edit([radiograph], edits):
        name = one.edit.findings[0]
        # What changes nothing visible is the radiograph.
        after = before if one.image is None else compose.shrink(one.image, removal.SIZE)
        change = 0.0 if one.difference is None else one.difference
        change = change * (1 if finding(name).density == "more" else -1)
        row = {"finding": name, "composite": one.edit.composite}
        row |= {"with": np.maximum(change, 0).mean(), "against": np.maximum(-change, 0).mean()}
        for key, judge in judges.items():
            first, last = judge.logits(np.stack([before, after]))
            rise = dict(zip(judge.findings, last - first, strict=True))
            row[f"{key}.own"] = rise.pop(name, np.nan)
            row[f"{key}.off_target"] = np.abs(list(rise.values())).mean()
            if key == "judge":
                row["carried"] = rise.get(CARRIED, row["judge.own"])
        rows.append(row)
    return rows


def figures(kinds: dict[str, list[Row]]) -> dict[str, dict[str, Row]]:
    """Return the figures of each finding and composite: {finding: {composite: figures}}."""
    means = {
        kind: pd.DataFrame(rows).groupby(["finding", "composite"]).mean()
        for kind, rows in kinds.items()
    }
    table: dict[str, dict[str, Row]] = {}
    for name in dict.fromkeys(row["finding"] for row in kinds["healthy"]):
        table[name] = {}
        for mode in COMPOSITES:
            of = {kind: mean.loc[(name, mode)] for kind, mean in means.items()}
            healthy, carrying = of["healthy"], of["carrying"]
            made: Row = {str(key): _round(healthy[key]) for key in healthy.index if "." in str(key)}
            made["carried"] = _round(carrying["carried"])
            for kind, mean in of.items():
                whole = mean["against"] + mean["with"]
                made[f"against_{kind}"] = _round(mean["against"] / whole) if whole else 0.0
            table[name][mode] = made
    return table


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def page(result: dict[str, Any]) -> str:
    """Return the page."""
    counts, findings = result["radiographs"], result["findings"]
    first = next(iter(findings.values()))["sham"]
    columns = {
        f"{key}.{what}": f"{label}, {said}"
        for key, said in JUDGES.items()
        for what, label in (("own", "own"), ("off_target", "off-target"))
        if f"{key}.{what}" in first
    }
    columns |= {"against_healthy": "against", "against_carrying": "against, beside masses"}
    columns |= {"carried": "the mass"}
    lines = [
        "# What does composite `one-way` change?",
        "",
        "Made by `python -m bench.one_way --data DIR` (`bench/one_way.json`), by `mini` at default "
        "settings. Composite `one-way` is the default, `sham`, but for one thing: what goes "
        "against the finding is left out, so that an opacity takes no density away, and removing "
        "it adds none. A finding has a direction where its pack gives it a `density`; "
        "pneumothorax, atelectasis and hernia, which do both, have none.",
        "",
        f"Radiographs without a finding (validation, {counts['healthy']}): `own` is the mean rise "
        "of the finding's own logit, `off-target` the mean size of what other logits move by, "
        "`against` the share of the change that goes against the finding. Radiographs whose "
        f"labels have a mass (validation and test, {counts['carrying']}): `against`, and what "
        "happens to the bundled judge's logit of the mass. Each cell: `sham`, then `one-way`.",
        "",
        f"| finding | {' | '.join(columns.values())} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name, modes in findings.items():
        cells = [", ".join(_cell(modes[mode][key]) for mode in COMPOSITES) for key in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def main() -> None:
    """Measure, and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--real-judge", type=Path, help="folder of a judge of real labels alone")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folders = {"judge": None} | ({"real_judge": args.real_judge} if args.real_judge else {})
    judges = {key: Judge.load(folder) for key, folder in folders.items()}
    editor, known = Editor.load("mini"), judges["judge"].findings
    names = [name for name in known if finding(name).density]
    kinds = {}
    for kind, paths in chosen(args.data, known).items():
        log.info("%s: %d radiographs", kind, len(paths))
        kinds[kind] = [row for path in paths for row in measured(editor, path, names, judges)]
    result = {
        "editor": described(editor),
        "radiographs": {kind: len(rows) // (2 * len(names)) for kind, rows in kinds.items()},
        "findings": figures(kinds),
    }
    write_json(JSON, result)
    PAGE.write_text(page(result), encoding="utf-8")
    weights.measured(JSON)


if __name__ == "__main__":
    main()
