"""How well an editor edits, measured by the judge on patients that nobody trained on.

``python -m training.evaluate --data DIR --editor mini --out bench/mini.json --pictures docs/mini``
writes the figures, the picture sheets and, beside the folder of pictures, the page (docs/mini.md).
Baselines are adult "No Finding" radiographs of the test split, one per patient. Data that lack a
part of what is needed are refused at the start; figures are written as they come, and edits are
kept in ``--run``, so that an evaluation goes on where it stopped. ``--real-judge`` names a judge
of real labels alone, which reads beside the bundled one. ``--only`` measures some `PARTS`, and
writes no page: to compare generators on validation.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import readme, weights
from roentmod.classifiers.judge import SIDES, Judge
from roentmod.domain import SEVERITIES
from roentmod.editors import Editor, Painter
from roentmod.edits import Edit
from roentmod.interfaces import described
from roentmod.science.stats import auc
from roentmod.store import canonical_hash, write_json
from training import cohort, measures, pages, shams, sheets, variety
from training.benchmark import Array, Bench, Picture, Result, choose, rows_of

SIDED = ("Pleural Effusion", "Consolidation", "Pneumothorax")
TIMED = ("Cardiomegaly", "Pleural Effusion", "Edema", "Consolidation", "Nodule", "Pneumothorax")
# Baselines that severity is asked of: three edits more a finding.
GRADED = 20
# What is measured beside success and leakage, in this order.
PARTS = (
    "sheets",
    "real_judge",
    "painter",
    "shams",
    "seeds",
    "severity",
    "identity",
    "sweep",
    "memory",
)
STRENGTHS, GUIDANCE = (0.2, 0.4, 0.6, 0.8, 1.0), (1.5, 2.5, 4.0, 6.0, 10.0)
TRADED, TRADED_FINDING = 4, "Pleural Effusion"
SAMPLES = 100
# Draws of baselines for intervals of leakage and severity.
ROUNDS = 200
# Net change of the judge's logit below which an edit had no effect that leakage could be part of.
LEAST_EFFECT = 0.5
# Off-target changes that are no leakage: (edited, read) and why.
EXPLAINED = {
    ("Pneumonia", "Consolidation"): "a pneumonia is a consolidation of one cause",
    ("Consolidation", "Pneumonia"): "a pneumonia is a consolidation of one cause",
    ("Nodule", "Mass"): "one kind of lesion; 3 cm divide them",
    ("Mass", "Nodule"): "one kind of lesion; 3 cm divide them",
}
# Of the bundled editor; others write elsewhere.
MEASURED = Path("bench/mini.json")
# What somebody wrote below this heading stays when the page is made again.
SEEN = "\n## Seen by eye\n"
log = logging.getLogger(__name__)


def success(bench: Bench, results: list[Result]) -> dict[str, Any]:
    """Return AUROC of the judge's logit, edited against control, with its interval; and sides."""
    figures: dict[str, Any] = {"success_auroc": {}, "success_auroc_ci": {}, "side_obeyed": {}}
    figures["net_logit"] = {}
    for name in bench.findings:
        own, k = _of(results, name), bench.column(name)
        edited, control = (np.array([getattr(r, a)[k] for r in own]) for a in ("logits", "control"))
        figures["success_auroc"][name] = _round(auc(edited, control))
        interval = measures.auroc_interval(edited, control)
        figures["success_auroc_ci"][name] = [_round(v) for v in interval]
        figures["net_logit"][name] = _round((edited - control).mean())
        if name in SIDED:
            j = bench.judge.sided.index(name)
            sides = [SIDES[int(r.sides[j].argmax())] == r.edit.side for r in own]
            figures["side_obeyed"][name] = _round(np.mean(sides))
    return figures


def severity(bench: Bench, graded: list[Result]) -> dict[str, float]:
    """Return Spearman's correlation of severity and judge's logit, centred by baseline."""
    figures = {}
    for name in bench.findings:
        own, k = _of(graded, name), bench.column(name)
        table: dict[int, dict[str, float]] = {}
        for result in own:
            table.setdefault(result.baseline, {})[str(result.edit.severity)] = result.logits[k]
        full = [[row[level] for level in SEVERITIES] for row in table.values() if len(row) == 3]
        if full:
            figures[name] = _round(measures.spearman_within(np.array(full)))
    return figures


def leakage(bench: Bench, results: list[Result]) -> dict[str, Any]:
    """Return off-target over on-target net change, overall and by pair.

    ``leakage_fraction`` is the mean size of the off-target changes over the mean on-target change,
    the pairs that `EXPLAINED` names left out. A pair's figure is the size of the mean net change of
    the other finding's logit over that of the edited finding's, where that one is large enough to
    be divided by.
    """
    means = {name: np.mean([r.net for r in _of(results, name)], axis=0) for name in bench.findings}
    on = {name: float(means[name][bench.column(name)]) for name in bench.findings}
    off = {
        (name, other): abs(float(means[name][bench.column(other)]))
        for name in bench.findings
        for other in bench.findings
        if other != name
    }
    return leakage_figures(on, off)


def leakage_figures(on: dict[str, float], off: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Return what `leakage` does, from mean on-target and sizes of mean off-target changes."""
    whole = max(float(np.mean(list(on.values()))), 1e-3)
    pairs: dict[str, dict[str, float]] = {name: {} for name in on if on[name] > LEAST_EFFECT}
    for (name, other), value in off.items():
        if name in pairs:
            pairs[name][other] = _round(value / on[name])
    above = [
        {"edited": a, "read": b, "fraction": value, "reason": EXPLAINED.get((a, b))}
        for a, line in pairs.items()
        for b, value in line.items()
        if value > 0.25
    ]
    counted = [value for pair, value in off.items() if pair not in EXPLAINED]
    own = {
        name: [value for pair, value in off.items() if pair[0] == name and pair not in EXPLAINED]
        for name in pairs
    }
    return {
        "leakage_fraction": _round(np.mean(counted) / whole),
        "leakage_fraction_with_explained": _round(np.mean(list(off.values())) / whole),
        "leakage_by_finding": {n: _round(np.mean(own[n]) / on[n]) for n in pairs if own[n]},
        "leakage_pairs": pairs,
        "leakage_pairs_above": sorted(above, key=lambda fact: -float(str(fact["fraction"]))),
        "without_effect": [name for name in on if name not in pairs],
    }


def intervals(
    count: int, figure: Callable[[NDArray[np.int64]], dict[str, float]]
) -> dict[str, list[float]]:
    """Return the 95 % bootstrap interval of each figure; `count` baselines are drawn again."""
    rng = np.random.default_rng(0)
    found = [figure(rng.integers(count, size=count)) for _ in range(ROUNDS)]
    names = dict.fromkeys(name for one in found for name in one)
    return {
        name: [
            _round(v)
            for v in np.nanquantile([one.get(name, np.nan) for one in found], [0.025, 0.975])
        ]
        for name in names
    }


def again(results: list[Result], draw: NDArray[np.int64]) -> list[Result]:
    """Return the results of the baselines drawn, each draw as a baseline by itself."""
    own: dict[int, list[Result]] = {}
    for result in results:
        own.setdefault(result.baseline, []).append(result)
    return [replace(r, baseline=n) for n, i in enumerate(draw) for r in own.get(int(i), [])]


def identity(bench: Bench, results: list[Result], others: list[Picture]) -> dict[str, Any]:
    """Return similarity outside the change, and whether each edit is nearest its own baseline."""
    prints = np.stack([picture.print for picture in others])
    own = np.stack([measures.fingerprint(r.pixels) for r in results])
    at, _ = measures.nearest(own, prints)
    hits = [
        others[i].path == bench.rows[r.baseline]["path"] for i, r in zip(at, results, strict=True)
    ]
    return {
        "ssim_outside": _round(np.mean([r.ssim for r in results]), 5),
        "ssim_outside_lowest": _round(min(r.ssim for r in results), 5),
        "changed_fraction": _round(np.mean([r.changed for r in results])),
        "nearest_is_own": _round(np.mean(hits)),
        "nearest_among": len(others),
    }


def seconds(bench: Bench, baselines: int = 2, rounds: int = 3) -> float:
    """Return wall seconds per counterfactual: six findings per baseline, files excluded.

    The least of a few rounds: whatever else the machine does adds to the others.
    """
    edits = [Edit((name,)) for name in TIMED if name in bench.findings]
    count = min(baselines, len(bench.radiographs))
    spent = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        bench.editor.edit(bench.radiographs[:count], edits)
        spent.append(time.perf_counter() - started)
    return _round(min(spent) / (count * len(edits)))


def tradeoff(bench: Bench) -> tuple[dict[str, Any], list[list[Array]]]:
    """Return success and identity over strength and guidance, and pictures of the film.

    Whole decoded pictures, as in the paper: the default composite would hide what is lost.
    """
    count = min(TRADED, len(bench.rows))
    success = np.zeros((count, len(STRENGTHS), len(GUIDANCE)))
    likeness = np.zeros_like(success)
    edits = [
        Edit(
            (TRADED_FINDING,),
            side="left",
            composite="none",
            strength=strength,
            guidance_scale=scale,
        )
        for strength in STRENGTHS
        for scale in GUIDANCE
    ]
    for baseline in range(count):
        before = bench.baselines[baseline].pixels
        results = bench.run(baseline, edits)
        for number, result in enumerate(results):
            s, g = divmod(number, len(GUIDANCE))
            success[baseline, s, g] = result.net[bench.column(TRADED_FINDING)]
            likeness[baseline, s, g] = measures.similarity(before, result.pixels)
    facts: dict[str, Any] = {"finding": TRADED_FINDING, "baselines": count}
    facts |= {"strength": list(STRENGTHS), "guidance": list(GUIDANCE)}
    facts["success"] = np.round(success.mean(0), 3).tolist()
    facts["identity"] = np.round(likeness.mean(0), 4).tolist()
    shown = [one.pixels for one in sheets.free(bench).run(0, edits)]
    return facts, [shown[i : i + len(GUIDANCE)] for i in range(0, len(shown), len(GUIDANCE))]


def samples(bench: Bench, results: list[Result], count: int) -> dict[str, list[Array]]:
    """Return pictures to hold against the training set: default edits, and edits from pure noise.

    Edits at strength 1 keep nothing of the baseline, so what they show comes from the generator.
    """
    rng = np.random.default_rng(11)
    picked = rng.permutation(len(results))[: count // 2]
    pure: list[Array] = []
    number = 0
    while len(pure) < count - count // 2:
        baseline, seed = number % len(bench.rows), 1 + number // len(bench.rows)
        name = bench.findings[number % len(bench.findings)]
        edit = Edit((name,), strength=1.0, composite="none", seed=seed)
        pure += [r.pixels for r in bench.run(baseline, [edit])]
        number += 1
    return {"default": [results[i].pixels for i in picked], "strength_1": pure}


def memorisation(
    bench: Bench, groups: dict[str, list[Array]], trained: list[Picture], real: list[Picture]
) -> dict[str, Any]:
    """Return how near samples come to training pictures, against held-out real radiographs.

    Likeness is the cosine in the judge's feature space, training mean taken off, and the pixel
    correlation at 64 px, each to the nearest training picture. Thresholds are what 1 % of held-out
    real radiographs exceed.
    """
    middle = bench.judge.features(np.stack([p.pixels for p in trained])).mean(0)
    space = _spaces(bench, [p.pixels for p in trained], middle)
    held = {
        name: measures.nearest(items, space[name])[1]
        for name, items in _spaces(bench, [p.pixels for p in real], middle).items()
    }
    limits = {name: float(np.quantile(values, 0.99)) for name, values in held.items()}
    figures: dict[str, Any] = {
        "training_images": len(trained),
        "held_out_images": len(real),
        "threshold": {name: _round(value) for name, value in limits.items()},
        "held_out_real": {name: _near(held[name], limits[name]) for name in limits},
    }
    for group, pictures in groups.items():
        figures[group] = {"samples": len(pictures)}
        for name, items in _spaces(bench, pictures, middle).items():
            at, values = measures.nearest(items, space[name])
            top = int(values.argmax())
            figures[group][name] = _near(values, limits[name])
            figures[group][name]["nearest_training_image"] = trained[at[top]].path
    return figures


def _spaces(bench: Bench, pictures: list[Array], middle: Array) -> dict[str, Array]:
    stack = np.stack(pictures)
    return {
        "features": measures.directions(bench.judge.features(stack) - middle),
        "pixels": np.stack([measures.fingerprint(p) for p in pictures]),
    }


def _near(values: Array, limit: float) -> dict[str, Any]:
    return {
        "median": _round(np.median(values)),
        "above_threshold": _round((values > limit).mean()),
        "highest": _round(values.max()),
    }


def _of(results: list[Result], name: str) -> list[Result]:
    return [r for r in results if r.edit.findings == (name,)]


def _round(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)


def _pictures(data: Path, rows: list[dict[str, str]]) -> list[Picture]:
    return [Picture(row["path"], cohort.unit(cohort.square(data / row["path"]))) for row in rows]


def _every(bench: Bench, what: str, count: int, edits: Any) -> list[Result]:
    results = []
    for baseline in range(count):
        results += bench.run(baseline, edits(baseline))
        log.info("%s: %d of %d baselines", what, baseline + 1, count)
    return results


def check(data: Path, *, trained: bool) -> None:
    """Refuse data of which a part would be missing later.

    Args:
        data: folder of the index.
        trained: whether the editor learned from training pictures, which are then needed.

    Raises:
        SystemExit: no index, no radiograph for one of the parts, or a picture that is not there.
    """
    if not (data / "index.csv").is_file():
        raise SystemExit(f"The data are a folder with index.csv; {data} has none. Check the path.")
    choose(rows_of(data), 1, 0)
    taught = [row for row in _index(data) if trained and cohort.keep(row)]
    if trained and not taught:
        raise SystemExit(
            "Whether a generator remembers pictures is measured on those that taught it; the data "
            "have no rows of the split 'train'. Add them."
        )
    used = taught + [row for row in _index(data) if row["split"] == "test"]
    absent = [row["path"] for row in used if not (data / row["path"]).is_file()]
    if absent:
        raise SystemExit(
            f"The pictures of index.csv must be there; {len(absent)} of {len(used)} are not, such "
            f"as {absent[0]}. Copy them."
        )


def beside(bench: Bench, results: list[Result], leaks: dict[str, Any]) -> dict[str, Any]:
    """Return leakage by the same yardstick of the painter, which changes the finding alone.

    Findings are those of both. ``ratio`` is that of the editor's leakage to the painter's, which is
    the judge's own linking of findings.
    """
    exact = bench.using(editor=Painter())
    made = _every(exact, "painter", len(bench.rows), exact.asked)
    theirs = leakage(exact, made)
    kept = ("leakage_fraction", "leakage_by_finding", "without_effect")
    own = leaks["leakage_by_finding"]

    def ratio(draw: NDArray[np.int64]) -> dict[str, float]:
        parts = [
            leakage(one, again(rows, draw))["leakage_fraction"]
            for one, rows in ((bench, results), (exact, made))
        ]
        return {"ratio": parts[0] / max(parts[1], 1e-9)}

    return {
        **{key: theirs[key] for key in kept},
        "success_auroc": success(exact, made)["success_auroc"],
        "ratio": _round(leaks["leakage_fraction"] / theirs["leakage_fraction"]),
        "ratio_ci": intervals(len(bench.rows), ratio)["ratio"],
        "ratio_by_finding": {
            name: _round(own[name] / value)
            for name, value in theirs["leakage_by_finding"].items()
            if name in own and value
        },
    }


def seeds(bench: Bench) -> dict[str, Any]:
    """Return what `variety` measures, of the editor and of the painter."""
    both = (bench, bench.using(editor=Painter()))
    return {one.editor.name: variety.variety(one) for one in both}


class Evaluation:
    """One evaluation: its parts in turn, each a piece of the figures.

    Attributes:
        bench: editor, judge, baselines.
        data: folder of the index.
        pictures: folder of the sheets; None: no sheets.
        real: judge of real labels alone, or None.
        samples: pictures of the check of memorisation.
    """

    def __init__(
        self, bench: Bench, data: Path, pictures: Path | None, real: Judge | None, samples: int
    ) -> None:
        """Keep what is measured with."""
        self.bench, self.data, self.pictures = bench, data, pictures
        self.real, self.samples = real, samples
        self.results: list[Result] = []

    @property
    def identity(self) -> str:
        """Hash of what the figures are of: editor, judges, baselines."""
        judges = [one.describe()["sha256"] for one in (self.bench.judge, self.real) if one]
        paths = [row["path"] for row in self.bench.rows]
        return canonical_hash([described(self.bench.editor), judges, paths])[:16]

    def measure(self, parts: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield success and leakage ("edits"), then each of the `parts`, as it is done."""
        bench = self.bench
        self.results = _every(bench, "edits", len(bench.rows), bench.asked)
        leaks = leakage(bench, self.results)
        yield "edits", success(bench, self.results) | leaks | {"n_baselines": len(bench.rows)}
        # A painter has neither noise to weigh against the baseline nor training pictures.
        generates = hasattr(bench.editor, "parts")
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            "sheets": self._sheets,
            "real_judge": self._by_real_judge,
            "painter": lambda: {"painter": beside(bench, self.results, leaks)},
            "shams": lambda: {"shams": shams.shams(bench)},
            "seeds": lambda: {"seeds": seeds(bench)},
            "severity": self._severity,
            "identity": self._likeness,
            "sweep": self._sweep if generates else dict,
            "memory": self._memory if generates else lambda: {"memorisation": {}},
        }
        for part in parts:
            log.info("%s", part)
            yield part, makers[part]()

    def _sheets(self) -> dict[str, Any]:
        if self.pictures is None:
            return {}
        free = sheets.free(self.bench)
        made = [one for i in range(len(free.rows)) for one in free.run(i, free.asked(i))]
        sheets.findings_sheet(free, made, self.pictures / "findings.png")
        sheets.failures_sheet(free, made, self.pictures / "failures.png")
        sheets.film_sheet(free, self.pictures / "film.png")
        return {}

    def _by_real_judge(self) -> dict[str, Any]:
        if self.real is None:
            return {}
        other = self.bench.using(judge=self.real)
        figures = success(other, other.read(self.results))
        return {"real_judge": {"sha256": self.real.describe()["sha256"]} | figures}

    def _severity(self) -> dict[str, Any]:
        graded = _every(
            self.bench,
            "severity",
            min(GRADED, len(self.bench.rows)),
            lambda i: [
                replace(e, severity=level) for e in self.bench.asked(i) for level in SEVERITIES
            ],
        )
        count = max(one.baseline for one in graded) + 1
        bounds = intervals(count, lambda draw: severity(self.bench, again(graded, draw)))
        return {"severity_spearman": severity(self.bench, graded), "severity_ci": bounds}

    def _likeness(self) -> dict[str, Any]:
        test = [r for r in rows_of(self.data) if r["split"] == "test"]
        normal = _pictures(self.data, [r for r in test if r["labels"] == cohort.NO_FINDING])
        figures = identity(self.bench, self.results, normal)
        return figures | {"seconds_per_counterfactual": seconds(self.bench)}

    def _sweep(self) -> dict[str, Any]:
        traded, shown = tradeoff(self.bench)
        if self.pictures:
            sheets.tradeoff_sheet(traded, shown, self.pictures / "tradeoff.png")
        return {"tradeoff": traded}

    def _memory(self) -> dict[str, Any]:
        trained = _pictures(self.data, [r for r in _index(self.data) if cohort.keep(r)])
        test = [r for r in rows_of(self.data) if r["split"] == "test"]
        groups = samples(self.bench, self.results, self.samples)
        held = _pictures(self.data, test)
        return {"memorisation": memorisation(self.bench, groups, trained, held)}


def _index(data: Path) -> list[dict[str, str]]:
    with (data / "index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def details(bench: Bench) -> dict[str, Any]:
    """Return what the figures depend on: editor, settings, machine."""
    edit = Edit((bench.findings[0],))
    return {
        "editor": {"name": bench.editor.name} | described(bench.editor),
        "settings": {
            "strength": edit.strength,
            "guidance_scale": edit.guidance_scale,
            "composite": edit.composite,
            "control": edit.control,
        },
        "judge": {"figures": bench.judge.card.get("figures", {})},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--editor", default="mini")
    parser.add_argument("--out", type=Path, default=MEASURED)
    parser.add_argument("--pictures", type=Path, default=Path("docs/mini"))
    parser.add_argument("--limit", type=int, default=40, help="number of baselines")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="for the memorisation check")
    parser.add_argument("--seed", type=int, default=0, help="chooses the baselines")
    parser.add_argument("--judge", type=Path, help="folder of another judge than the bundled one")
    parser.add_argument("--real-judge", type=Path, help="folder of a judge of real labels alone")
    parser.add_argument("--run", type=Path, default=Path("runs/evaluate"), help="keeps edits")
    parser.add_argument("--split", default="test", help="of the baselines")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="parts to measure; no page")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(2)
    whole = args.only is None
    check(args.data, trained=whole and args.editor != Painter.name)
    if whole:
        args.pictures.mkdir(parents=True, exist_ok=True)
    chosen = choose(rows_of(args.data), args.limit, args.seed, args.split)
    bench = Bench(Editor.load(args.editor), Judge.load(args.judge), args.data, chosen, args.run)
    real = Judge.load(args.real_judge) if args.real_judge else None
    evaluation = Evaluation(bench, args.data, args.pictures if whole else None, real, args.samples)
    figures = evaluate(evaluation, PARTS if whole else args.only, args.out)
    figures |= {"split": args.split} | details(bench)
    write_json(args.out, figures)
    if whole:
        write_page(figures, args.pictures)
        if args.out == MEASURED:
            weights.measured(args.out)
            readme.write("bench.mini")


def evaluate(evaluation: Evaluation, parts: Sequence[str], out: Path) -> dict[str, Any]:
    """Return the figures, written as they come; an unfinished evaluation goes on from its parts."""
    of, figures, done = evaluation.identity, dict[str, Any](), list[str]()
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    if kept.get("unfinished", {}).get("of") == of:
        done = kept.pop("unfinished")["parts"]
        figures = kept
    for part, found in evaluation.measure([part for part in parts if part not in done]):
        figures |= found
        done += [part]
        write_json(out, figures | {"unfinished": {"of": of, "parts": done}})
    return figures


def write_page(figures: dict[str, Any], pictures: Path) -> None:
    """Write the page of the figures beside its pictures; what was seen by eye stays."""
    page = pictures.with_suffix(".md")
    seen = page.read_text(encoding="utf-8").partition(SEEN) if page.exists() else ("", "", "")
    made = pages.page(figures, pictures.name)
    page.write_text(made + "".join(seen[1:]), encoding="utf-8")
    for what, target, value, met in pages.targets(figures):
        print(f"{'ok ' if met else 'NOT'} {what}: {value} (target {target})")


if __name__ == "__main__":
    main()
