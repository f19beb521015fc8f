"""What is kept of a study is all that its figures follow from, and is refused when it is stale."""

from types import SimpleNamespace

import pandas as pd
import pytest

from bench import retrain, retrain_kept
from roentmod.science import performance
from roentmod.store import write_json
from tests.science.performance import fake

PAIRS = (("Pleural Effusion", "Cardiomegaly"),)


@pytest.fixture
def origin(tmp_path, monkeypatch):
    monkeypatch.setattr(retrain_kept, "FOLDER", tmp_path / "kept")
    (tmp_path / "index.csv").write_text("path\n")
    return retrain_kept.Origin(tmp_path / "run", tmp_path / "index.csv")


def spec(run, pairs="first"):
    places = {name: run.resolve() / "tables" / name for name in ("nih", "hannover", "kermany")}
    return retrain.truth(places, pairs, "painter")


@pytest.fixture
def result(origin, monkeypatch):
    """A study whose predictions are made up."""
    table = fake.confounded(arms=("erm", "soft"), n=60).assign(site="one")
    scores = pd.DataFrame(
        [("erm", 0, 0.5, "", 0.3, 0.7), ("soft", 0, 0.2, "mini", None, None)],
        columns=["arm", "seed", "score", "editor", "low", "high"],
    )
    place = origin.run / "studies"
    place.mkdir(parents=True)
    write_json(place / "augment.json", {"editor": {"name": "painter"}})
    load = lambda _: SimpleNamespace(predictions=table)  # noqa: E731
    monkeypatch.setattr(retrain_kept.retrain, "load", load)
    return SimpleNamespace(
        spec=spec(origin.run),
        figures=lambda stage: {"made by": stage},
        stages=[SimpleNamespace(seconds=90.0)],
        scores=lambda: scores.astype({"low": float, "high": float}),
        place=lambda _: place,
        table=table,
    )


def test_figures_of_what_is_kept_are_those_of_the_study(origin, result):
    found = retrain_kept.keep("one", result, origin, ["pair", "soft"])
    again = retrain_kept.load("one")
    assert found.facts == again.facts
    assert again.facts["minutes"] == 1.5
    assert again.facts["ranked"] == ["pair", "soft"]
    assert again.pairs == [tuple(pair) for pair in result.spec.pairs]
    assert pd.isna(again.scores["low"][1])
    before, after = (
        performance.evaluate(table, PAIRS).figures() for table in (result.table, again.predictions)
    )
    assert before == after
    size = (retrain_kept.FOLDER / "one.parquet").stat().st_size
    assert size < 12 * len(result.table)


def test_a_study_of_another_plan_or_pictures_or_weights_is_not_taken(origin, result, monkeypatch):
    retrain_kept.keep("one", result, origin, ["pair", "soft"])
    assert retrain_kept.kept("one", result.spec, origin)
    assert not retrain_kept.kept("two", result.spec, origin)
    assert not retrain_kept.kept("one", spec(origin.run, "second"), origin)
    # Where the run lies does not matter.
    elsewhere = origin._replace(run=origin.run.parent / "other")
    assert retrain_kept.kept("one", spec(elsewhere.run), elsewhere)
    with monkeypatch.context() as patch:
        patch.setattr(retrain_kept.weights, "bundled", lambda _: {"mini": "another"})
        assert not retrain_kept.kept("one", result.spec, origin)
    origin.pictures.write_text("path\none more\n")
    assert not retrain_kept.kept("one", result.spec, origin)


def test_a_page_is_not_made_of_studies_with_different_weights():
    made = [retrain_kept.Kept(None, None, {"of": {"weights": {"mini": name}}}) for name in "ab"]
    with pytest.raises(SystemExit, match="different weights"):
        retrain.write({"one": made[0], "two": made[1]})
