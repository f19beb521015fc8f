"""Which removals work is what was measured: figures, page and profile say the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import removal, weights
from bench.removal import Removal, failing, figures
from roentmod import imaging
from roentmod.datasets.phantom import phantom
from roentmod.editors import BUNDLED, Editor
from roentmod.interfaces import Counterfactual
from tests.cli.running import run

ROOT = Path(__file__).parents[2]
FINDINGS = ("Mass", "Edema")


@pytest.fixture(scope="module")
def kept():
    return json.loads((ROOT / removal.JSON).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def measured(kept):
    return kept["editors"]


def test_page_and_profile_follow_from_the_figures(kept, measured):
    page = (ROOT / removal.PAGE).read_text(encoding="utf-8")
    own = weights.of(removal.JSON).weights
    assert weights.headed(removal.page(measured, kept["follow_up"]), kept, own) == page
    profile = json.loads((BUNDLED["mini"] / "profile.json").read_text(encoding="utf-8"))
    assert profile["removal"] == removal.profile_table(measured["mini"])
    for row in measured["mini"]["findings"].values():
        assert row["works"] is not any(failing(row[split]) for split in removal.SPLITS)


def removals(fall, rise, healthy):
    """Five radiographs with a mass, read at 2, and five normal ones, at -2."""
    carried, normal = np.float32([2, -3]), np.float32([-2, -3])
    after = np.float32([2 - fall, -3 + rise])
    noise = np.linspace(-0.1, 0.1, 5, dtype=np.float32)
    return [Removal("Mass", True, carried + e, after + e, 0.1) for e in noise] + [
        Removal("Mass", False, normal + e, normal + e, 0.1 * healthy) for e in noise
    ]


@pytest.mark.parametrize(
    ("made", "failed"),
    [
        ((4, 0.5, 0.2), []),
        ((1, 0.1, 0.2), ["removed"]),
        ((4, 2, 0.2), ["off_target"]),
        # The lung is blackened wherever it is.
        ((4, 0, 1), ["healthy_change"]),
        ((-1, 0, 0.2), ["removed", "auroc_fall", "off_target"]),
    ],
)
def test_a_removal_works_where_the_finding_goes_and_nothing_else_does(made, failed):
    one = figures(removals(*made), "Mass", FINDINGS)
    assert one["removed"] == pytest.approx(made[0] / 4, abs=0.01)
    assert one["auroc_before"] == 1
    assert failing(one) == failed
    few = figures(removals(*made)[2:], "Mass", FINDINGS)
    assert "positives" in failing(few)
    assert failing(figures([], "Mass", FINDINGS)) == list(removal.RULES)


def test_the_judge_of_real_labels_has_a_say_where_it_reads():
    one, blind, against = (
        figures(removals(*made), "Mass", FINDINGS)
        for made in ((4, 0, 0.2), (4, 0, 0.2), (0.1, 0, 0.2))
    )
    assert failing(one | {"real_judge": one}) == []
    fall = ["removed (real labels)", "auroc_fall (real labels)"]
    assert failing(one | {"real_judge": against}) == fall
    assert failing(one | {"real_judge": against | {"auroc_before": 0.6}}) == []
    assert failing(one | {"real_judge": blind | {"positives": 4}}) == []


def test_normal_radiographs_are_as_many_as_are_needed(tmp_path):
    rows = [(n, "nih", "No Finding") for n in range(40)] + [(n, "nih", "Mass") for n in (50, 51)]
    # A set without positives: its sharpness would tell.
    rows += [(60, "other", "No Finding")]
    head = "path,set,tier,split,labels,patient_id,age\n"
    lines = [f"{n}.png,{place},A,val,{labels},{n},40\n" for n, place, labels in rows]
    (tmp_path / "index.csv").write_text(head + "".join(lines))
    found = removal.chosen(tmp_path, "val", FINDINGS)
    assert sum(not own for _, own in found) == removal.HEALTHY
    assert {path.name for path, own in found if own} == {"50.png", "51.png"}
    assert tmp_path / "60.png" not in [path for path, _ in found]


def test_removals_are_made_once(tmp_path):
    class Darkening:
        name = "darkening"
        calls = 0

        def edit(self, radiographs, edits):
            Darkening.calls += 1
            image = radiographs[0].with_pixels(radiographs[0].pixels / 2)
            change = image.pixels - radiographs[0].pixels
            return [
                Counterfactual(radiographs[0], e, "ok", image, image, change, change != 0)
                for e in edits
            ]

    class Bright:
        def logits(self, images):
            return images.mean(axis=(1, 2))[:, None]

    imaging.write(phantom(5).radiograph, tmp_path / "a.png", provenance=None)
    for _ in range(2):
        made = removal.remove(Darkening(), tmp_path / "a.png", FINDINGS, tmp_path / "kept")
        read = removal.readings(made, Bright(), carried=True)
        assert [one.finding for one in read] == list(FINDINGS)
        assert read[0].after == pytest.approx(read[0].before / 2, abs=1e-3)
    assert Darkening.calls == 1


@pytest.mark.weights
@pytest.mark.slow
def test_the_bundled_weights_are_those_measured_and_are_refused_by_it(measured, tmp_path):
    assert Editor.load("mini", engine="torch").removals, "run make removal"
    refused = [name for name, row in measured["mini"]["findings"].items() if not row["works"]]
    imaging.write(phantom(5).radiograph, tmp_path / "body.png", provenance=None)
    arguments = ("edit", tmp_path / "body.png", "--engine", "torch", "--out", tmp_path / "out")
    for name in refused[:1]:
        done = run(*arguments, "--remove", name, cache=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"roentmod: mini does not remove {name}: on ")
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
