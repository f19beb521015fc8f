"""An evaluation refuses what it lacks at its start, and keeps the figures that it has."""

import json
import sys

import numpy as np
import pytest

from roentmod.edits import Edit
from roentmod.interfaces import Counterfactual
from roentmod.radiograph import Radiograph
from training import evaluate, pages
from training.benchmark import Bench

HEAD = "path,set,tier,split,labels,view,patient_id,age,sex\n"


def row(path, split, labels="No Finding", patient="3"):
    return f"{path},nih,A,{split},{labels},PA,{patient},40,F\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (row("a.png", "test"), "no rows of the split 'train'"),
        (row("a.png", "train"), "adults of the split 'test'"),
        (row("a.png", "test") + row("b.png", "train"), r"2 of 2 are not, such as b\.png"),
        (None, r"has none"),
    ],
)
def test_what_is_missing_is_found_first(rows, message, tmp_path, monkeypatch):
    if rows is not None:
        (tmp_path / "index.csv").write_text(HEAD + rows)

    def load(*_):
        raise AssertionError("loaded")

    monkeypatch.setattr(evaluate.Editor, "load", load)
    places = {name: str(tmp_path / name) for name in ("out", "pictures")}
    arguments = [part for name, place in places.items() for part in (f"--{name}", place)]
    monkeypatch.setattr(sys, "argv", ["evaluate", "--data", str(tmp_path), *arguments])
    with pytest.raises(SystemExit, match=message) as caught:
        evaluate.main()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pictures").exists()


def test_an_evaluation_goes_on_where_it_stopped(tmp_path):
    class Stopping:
        identity, parts, stops = "one", [], True

        def measure(self, parts):
            yield "edits", {"success": 1}
            for part in parts:
                if part == "seeds" and self.stops:
                    raise RuntimeError("half an hour later")
                self.parts.append(part)
                yield part, {part: len(self.parts)}

    out, evaluation = tmp_path / "out.json", Stopping()
    with pytest.raises(RuntimeError, match="half an hour"):
        evaluate.evaluate(evaluation, ("shams", "seeds"), out)
    unfinished = {"of": "one", "parts": ["edits", "shams"]}
    assert json.loads(out.read_text()) == {"success": 1, "shams": 1, "unfinished": unfinished}
    evaluation.stops = False
    figures = evaluate.evaluate(evaluation, ("shams", "seeds"), out)
    assert figures == {"success": 1, "shams": 1, "seeds": 2}
    # Figures of other weights, judges or baselines are not gone on with.
    evaluation.identity = "other"
    assert evaluate.evaluate(evaluation, ("shams",), out) == {"success": 1, "shams": 3}


class Lifting:
    """An editor whose shams lift the picture by 0.07, and whose edits lift it by 0.08."""

    name = "lifting"

    def edit(self, radiographs, edits):
        return [self._one(radiographs[0], edit) for edit in edits]

    def _one(self, radiograph, edit):
        image, sham = (radiograph.with_pixels(radiograph.pixels + x) for x in (0.08, 0.07))
        support = np.ones(radiograph.pixels.shape, bool)
        return Counterfactual(radiograph, edit, "ok", image, sham, support=support)


class Bright:
    """A judge whose logits are ten times the mean brightness."""

    findings, sided, size = ("Edema", "Mass"), (), 64

    def logits(self, images):
        return np.repeat(10 * images.mean(axis=(1, 2))[:, None], 2, axis=1)

    def sides(self, images):
        return np.zeros((len(images), 0, 2), np.float32)


@pytest.mark.parametrize(("composite", "net"), [("sham", 0.8), ("baseline", 0.1)])
def test_edits_are_measured_against_their_control(composite, net):
    """In composite "sham" the picture lacks what the sham changed: nothing is taken off again."""
    bench = Bench(Lifting(), Bright(), None, [])
    noise = np.random.default_rng(0).uniform(0.2, 0.5, (64, 64))
    bench.radiographs, bench.findings = [Radiograph.from_array(noise)], ("Edema", "Mass")
    results = bench.run(0, [Edit((name,), composite=composite) for name in bench.findings])
    figures = evaluate.success(bench, results)
    assert figures["net_logit"] == pytest.approx({"Edema": net, "Mass": net}, abs=0.01)
    (off,) = bench.run(0, [Edit(("Edema",), composite=composite)])
    assert off.net == pytest.approx([net, net], abs=0.01)


def test_the_page_names_the_control():
    settings = {"strength": 0.4, "guidance_scale": 4.0, "composite": "sham"}
    for more, words in (({}, "their shams,"), ({"control": "baseline"}, "their baselines,")):
        text = pages._how({"settings": settings | more, "n_baselines": 2, "split": "test"})
        assert words in text


def lifted(tmp_path=None, count=1):
    rng = np.random.default_rng(0)
    bench = Bench(Lifting(), Bright(), None, [], tmp_path)
    noise = rng.uniform(0.2, 0.5, (count, 64, 64))
    bench.radiographs = [Radiograph.from_array(one) for one in noise]
    bench.rows = [{"path": f"{number}.png"} for number in range(count)]
    bench.findings = ("Edema", "Mass")
    return bench


def test_edits_are_made_once(tmp_path, monkeypatch):
    bench, edits = lifted(tmp_path), [Edit(("Edema",)), Edit(("Mass",), composite="none")]
    first = bench.run(0, edits)
    calls = []
    monkeypatch.setattr(Lifting, "edit", lambda *_: calls.append(1) or [])
    again = bench.run(0, edits)
    assert not calls
    for one, other in zip(first, again, strict=True):
        assert one.edit == other.edit
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.logits, other.logits)
    # Other edits, settings or radiographs are other pictures; none have a picture here.
    assert bench.run(0, edits[:1]) == []
    monkeypatch.setattr(Lifting, "describe", lambda _: {"weights": "other"}, raising=False)
    assert bench.run(0, edits) == []
    assert len(calls) == 2


def test_another_judge_reads_the_same_edits():
    class Dark(Bright):
        findings = ("Mass",)

        def logits(self, images):
            return -5 * images.mean(axis=(1, 2))[:, None]

    bench = lifted()
    results = bench.run(0, [Edit((name,)) for name in bench.findings])
    other = bench.using(judge=Dark())
    figures = evaluate.success(other, other.read(results))
    assert figures["net_logit"] == pytest.approx({"Mass": -0.4}, abs=0.01)


def test_leakage_of_a_finding_leaves_out_what_is_explained():
    on = {"Nodule": 4.0, "Mass": 2.0, "Edema": 0.1}
    off = {(a, b): 1.0 for a in on for b in on if a != b}
    figures = evaluate.leakage_figures(on, off)
    assert figures["leakage_by_finding"] == {"Nodule": 0.25, "Mass": 0.5}
    assert figures["without_effect"] == ["Edema"]


def test_leakage_is_held_against_the_exact_painters(monkeypatch):
    """The judge itself links findings: what an exact change moves is not the editor's fault."""

    class Exact(Lifting):
        name, findings = "painter", ("Edema", "Mass")

        def edit(self, radiographs, edits):
            image = radiographs[0].with_pixels(radiographs[0].pixels + 0.08)
            support = np.ones(image.pixels.shape, bool)
            return [
                Counterfactual(radiographs[0], e, "ok", image, radiographs[0], support=support)
                for e in edits
            ]

    monkeypatch.setattr(evaluate, "Painter", Exact)
    bench = lifted()
    results = bench.run(0, bench.asked(0))
    figures = evaluate.beside(bench, results, evaluate.leakage(bench, results))
    assert figures["leakage_fraction"] == pytest.approx(1, abs=0.01)
    assert figures["ratio"] == pytest.approx(1, abs=0.02)
    assert figures["ratio_ci"] == pytest.approx([1, 1], abs=0.02)
    assert figures["ratio_by_finding"] == pytest.approx({"Edema": 1, "Mass": 1}, abs=0.02)


def test_intervals_are_of_baselines():
    values = np.arange(10.0)
    found = evaluate.intervals(10, lambda draw: {"mean": values[draw].mean()})
    low, high = found["mean"]
    assert 2 < low < 3.5 < 5.5 < high < 7
    results = lifted(count=3).run(1, [Edit(("Mass",))])
    drawn = evaluate.again(results, np.array([1, 0, 1]))
    assert [one.baseline for one in drawn] == [0, 2]
