"""Is a patient found again at another visit? ``bench/reidentify.json`` and ``docs/recogniser.md``.

``python -m bench.reidentify --data DIR --pairs CSV`` searches each test patient's other visit among
films of the same source and view: by the recogniser, by the mean features that `validate` compares
(the judge's), and by pixels.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import weights
from roentmod.classifiers import Judge, Recogniser
from roentmod.store import atomic, write_json
from training import cohort
from training import reidentify_pictures as pictures
from training.reidentify_pictures import Films, Search

JSON, PAGE = Path("bench/reidentify.json"), Path("docs/recogniser.md")
# Below this, most searches go wrong, and the page says so.
MOST = 0.5
Array = NDArray[np.float32]
METHODS = {
    "recogniser": "recogniser",
    "features": "mean features of the judge, as `own` compares them",
    "pixels": "pixels at 128 px, each film at mean 0 and deviation 1",
}
GROUPS = {"all": "all pairs", "same view": "same view", "other view": "PA against AP"}
log = logging.getLogger(__name__)


def vectors(squares: NDArray[np.uint8]) -> dict[str, Array]:
    """Return the vectors of films (n x 224 x 224 uint8) by each method, n x d."""
    judge, recogniser = Judge.load(), Recogniser.load()
    small = cohort.unit(np.stack([pictures.small(one) for one in squares]))
    flat = small.reshape(len(small), -1)
    flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True).clip(1e-6)
    means = [judge.grid(cohort.unit(one)[None])[0].mean((0, 1)) for one in squares]
    return {"recogniser": recogniser.embed(small), "features": np.stack(means), "pixels": flat}


def figures_of(films: Films, found: dict[str, Search]) -> dict[str, Any]:
    """Return the summaries of each method's searches, of all pairs and by view."""
    (first, *_) = found.values()
    views = np.array([row["view"] for row in films.rows])[first.queries]
    same = views[:, 0] == views[:, 1]
    groups = {"all": np.ones(len(same), bool), "same view": same, "other view": ~same}
    methods = {
        name: {group: one.of(which).summary() for group, which in groups.items() if which.any()}
        for name, one in found.items()
    }
    return {"films": len(films.rows), "pairs": len(films.visits), "methods": methods}


def page(figures: dict[str, Any]) -> str:
    """Return the page of the figures."""
    methods = figures["methods"]
    whole = methods["recogniser"]["all"]
    lines = [
        "# Telling patients apart",
        "",
        "Made by `python -m bench.reidentify --data DIR --pairs CSV` (`bench/reidentify.json`) on "
        f"{whole['patients']} patients of the test split, of whom the collection has two visits: "
        f"{whole['searches']} searches, from each film for the other one, among films of other "
        "patients of the same source and view (median gallery "
        f"{whole['gallery']['median']}, from {whole['gallery']['least']} to "
        f"{whole['gallery']['most']}; chance {whole['chance']:.1%}).",
        "",
        "`roentmod validate` looks for each edit among all baselines, by mean features (`own`) and "
        "by this recogniser (`same_patient`). What is nearest by features that were trained for "
        "findings need not be the same patient: two films of one patient differ, too. The "
        "recogniser was trained on visits of the same patients, with exposure and source made "
        "useless, and its patients are none of these here.",
        "",
        "| searched by | pairs | rank 1 | AUROC, same against other patient | patients |",
        "|---|---|---|---|---|",
    ]
    for name, word in METHODS.items():
        for group, one in methods[name].items():
            cells = [word, GROUPS[group], _ranged(one["rank_1"], "{:.1%}")]
            cells += [_ranged(one["auroc"], "{:.3f}"), str(one["patients"])]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *_words(whole, methods["features"]["all"]), ""]
    return "\n".join(lines)


def _words(own: dict[str, Any], features: dict[str, Any]) -> list[str]:
    first = own["rank_1"]["value"]
    lines = [
        "Rank 1 is the share of searches in which no stranger is nearer than the other visit, "
        "AUROC the share of strangers that are farther; both are means over patients with 95 % "
        "intervals from the bootstrap over patients, within source and view.",
        "",
    ]
    if first < MOST:
        lines += [
            f"**Most searches fail.** With a rank 1 of {first:.0%} (chance {own['chance']:.1%}, "
            f"mean features {features['rank_1']['value']:.0%}) the recogniser does not find most "
            "patients at another visit, and proves no identity: `same_patient` can show that an "
            "edit moved nearer to somebody else, not that it still is its patient.",
            "",
        ]
    return [
        *lines,
        "An edit shares every untouched pixel with its baseline, and is far easier to find than "
        "another visit: a high `same_patient` is no praise, and a low one a fault. Beside it, "
        "`validate` shows the same of shams, and of patients' other visits where there are some.",
    ]


def _ranged(one: dict[str, Any], form: str) -> str:
    value, low, high = (form.format(number) for number in (one["value"], *one["ci"]))
    return f"{value} ({low} to {high})"


def main() -> None:
    """Search, and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of index.csv")
    parser.add_argument("--pairs", type=Path, required=True, help="table of follow-up pairs")
    parser.add_argument("--split", default="test")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rows = pictures.rows_of(args.data, args.split)
    films = Films(rows, torch.empty(0), pictures.visits_of(args.pairs, rows))
    known = vectors(np.stack([cohort.square(args.data / row["path"]) for row in rows]))
    found = {name: pictures.search(films, known[name]) for name in METHODS}
    figures = figures_of(films, found)
    log.info("%s", {name: one["all"]["rank_1"] for name, one in figures["methods"].items()})
    write_json(JSON, figures | {"split": args.split, "card": Recogniser.load().card})
    with atomic(PAGE) as part:
        part.write_text(page(figures), encoding="utf-8")
    weights.measured(JSON)


if __name__ == "__main__":
    main()
