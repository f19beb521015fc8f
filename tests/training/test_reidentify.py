"""The recogniser's lessons: who is paired with whom, and how well others are found."""

import json

import numpy as np
import pytest
import torch

from bench import reidentify as bench
from bench import weights
from roentmod.classifiers import Recogniser
from training import reidentify, reidentify_pictures
from training.reidentify_pictures import FEWEST, Batches, Films, search


def row(number, source="a", view="PA"):
    return {"set": source, "view": view, "patient_id": f"p{number:03d}"}


@pytest.fixture
def films():
    """Thirty patients with two visits in one source, thirty with one, and a few in another one."""
    rows = [row(n) for n in range(30)] + [row(n, view="AP" if n < 3 else "PA") for n in range(30)]
    rows += [row(n) for n in range(30, 60)] + [row(n, source="b") for n in range(60, 66)]
    rng = np.random.default_rng(0)
    people = rng.random((66, 8, 8))
    owner = [int(one["patient_id"][1:]) for one in rows]
    pixels = np.kron(people[owner], np.ones((16, 16))) * 255
    noisy = (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255)
    visits = [(n, n + 30) for n in range(30)]
    return Films(rows, torch.from_numpy(noisy.astype(np.uint8)), visits)


def test_a_batch_is_of_one_source_and_view_and_repeats_no_patient(films):
    batches = Batches(films, 16, 0)
    visits = 0
    for step in range(20):
        firsts, seconds = np.split(batches.rows(step), 2)
        assert len(set(films.strata[firsts])) == 1
        assert len(set(films.patients[firsts])) == 16
        assert (films.patients[firsts] == films.patients[seconds]).all()
        visits += (firsts != seconds).sum()
    # Three quarters of 16 have another visit, which most are paired with.
    assert 0.5 < visits / (20 * 16) < 0.8
    assert (batches.rows(3) == batches.rows(3)).all()


def test_the_same_step_draws_the_same_pictures(films):
    batches = Batches(films, 16, 0)
    shown, _ = batches.draw(5)
    assert shown.shape == (32, 1, 128, 128)
    assert 0 <= shown.min() <= shown.max() <= 1
    assert (batches.draw(5)[0] == shown).all()
    assert (batches.draw(6)[0] != shown).any()


def test_exposure_tells_nothing_of_a_patient(films):
    """Films of one patient differ in mean as much as those of strangers."""
    batches = Batches(films, 16, 0)
    means = torch.cat([batches.draw(step)[0].mean((1, 2, 3)).view(2, -1) for step in range(8)], 1)
    own = (means[0] - means[1]).abs().mean()
    others = (means[0] - means[1].roll(1)).abs().mean()
    assert own > 0.6 * others


def test_the_loss_is_least_where_pairs_are_nearest():
    ones = torch.eye(8)
    good = torch.cat([ones, ones])
    bad = torch.cat([ones, ones.roll(1, 0)])
    assert reidentify.loss_of((good,), {}) < 0.01 < reidentify.loss_of((bad,), {})


def test_a_search_is_among_strangers_of_the_same_source_and_view(films):
    place = films.pixels.flatten(1).numpy() / 255
    found = search(films, place)
    assert found.first == found.above.mean() == 1
    # Three second visits are AP, of which there are too few to search among.
    assert len(found.ranks) == 60 - 3
    assert found.strangers.min() >= FEWEST
    pa = films.strata == "a|PA"
    assert found.strangers.max() < pa.sum()
    rng = np.random.default_rng(0)
    blind = search(films, rng.random((len(films.rows), 4)))
    assert blind.first < 0.3
    assert 0.3 < blind.above.mean() < 0.7
    same = search(films, np.ones((len(films.rows), 4)))
    assert same.first == 0
    summary = blind.summary(resamples=100)
    assert summary["rank_1"]["ci"][0] <= summary["rank_1"]["value"] <= summary["rank_1"]["ci"][1]
    assert summary["gallery"]["most"] == found.strangers.max() + 1
    assert blind.of(blind.ranks > 1).first == 0


@pytest.mark.slow
def test_training_goes_on_where_it_stopped_and_is_exported(films, tmp_path, monkeypatch):
    monkeypatch.setattr(reidentify, "PATIENTS", 8)
    monkeypatch.setattr(reidentify, "films", lambda *args: films)
    school = reidentify.School(tmp_path, tmp_path, tmp_path)

    class Args:
        out, seed, minutes, steps = tmp_path, 0, 10.0, 4

    school.teach(Args)
    Args.steps = 8
    school.teach(Args)
    card = reidentify.export(school, tmp_path, tmp_path / "made")
    assert card["steps"] == 8
    assert card["trained_on"]["pairs"] == 30
    made = Recogniser.load(tmp_path / "made")
    vectors = made.embed(films.pixels[:4].numpy().astype(np.float32) / 255)
    saved = reidentify.checkpoints.load(tmp_path / "recogniser.pt")
    network = reidentify.Network()
    network.load_state_dict(saved["best"])
    own = reidentify.embedded(network, films.pixels[:4])
    np.testing.assert_allclose(vectors, own, atol=1e-4)


def test_films_are_those_of_known_patients(tmp_path):
    lines = ["path,set,split,view,patient_id"]
    lines += ["nih_talo/a.jpg,nih_talo,val,PA,p1", "nih_talo/b.jpg,nih_talo,val,PA,p1"]
    lines += ["nih_rxtorax/c.jpg,nih_rxtorax,val,PA,p2", "nih_talo/d.jpg,nih_talo,train,PA,p3"]
    (tmp_path / "index.csv").write_text("\n".join(lines))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "path_a,path_b\nnih_talo/b.jpg,nih_talo/a.jpg\nnih_talo/a.jpg,nih_talo/d.jpg\n"
    )
    rows = reidentify_pictures.rows_of(tmp_path, "val")
    assert [one["path"][-5] for one in rows] == ["a", "b"]
    assert reidentify_pictures.visits_of(pairs, rows) == [(1, 0)]


def summary(value):
    ranged = {"value": value, "ci": [value - 0.05, value + 0.05]}
    gallery = {"median": 300, "least": 30, "most": 400}
    facts = {"rank_1": ranged, "auroc": {"value": 0.9, "ci": [0.8, 0.95]}, "chance": 0.004}
    return {"all": facts | {"searches": 50, "patients": 40, "gallery": gallery}}


def test_the_page_follows_from_the_figures_and_says_what_fails():
    figures = json.loads(bench.JSON.read_text(encoding="utf-8"))
    own = weights.headed(bench.page(figures), figures, weights.of(bench.JSON).weights)
    assert own == bench.PAGE.read_text(encoding="utf-8")
    methods = {name: summary(0.1) for name in bench.METHODS}
    fails = "**Most searches fail.**"
    assert fails in bench.page({"methods": methods | {"recogniser": summary(0.4)}})
    assert fails not in bench.page({"methods": methods | {"recogniser": summary(0.6)}})
