"""Every figure of the documentation is of the bundled weights, or its page says that it is not."""

import json
import re
from pathlib import Path

import pytest

from bench import weights

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("one", weights.MEASURED, ids=lambda one: one.page.stem)
def test_a_page_says_whether_its_figures_are_of_the_bundled_weights(one):
    page = (ROOT / one.page).read_text(encoding="utf-8")
    figures = json.loads((ROOT / one.figures).read_text(encoding="utf-8"))
    wanted = weights.headed(page, figures, one.weights)
    assert page == wanted, (
        f"run python -m bench.weights; {one.page} needs the head of {wanted[:400]}"
    )


def test_every_json_that_a_page_names_is_watched():
    watched = {one.figures.name for one in weights.MEASURED}
    # Figures of no weights, or of the anatomy while it was trained, and numbers that were chosen on
    # validation, with the weights of that day.
    free = "results scale anatomy verdicts fuzz readings viewer marks readers studio gpu"
    free = {f"{name}.json" for name in (*free.split(), "retrain_tuned")}
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"bench/(\w+\.json)", page)}
    assert named - free <= watched


def test_other_weights_must_be_owned_up_to():
    own = weights.bundled(("mini", "judge"))
    text = "# Page\n\nFigures.\n"
    assert weights.headed(text, {"weights": own}, own) == text
    other = weights.headed(text, {"weights": own | {"judge": "0" * 16}}, own)
    assert other.startswith("# Page\n\n> Measured with earlier weights (judge 0000")
    assert own["mini"] not in other
    assert "mini not recorded, judge not recorded" in weights.headed(text, {}, own)
    # Headed again, it is not headed twice, and the head goes with its reason.
    assert weights.headed(other, {"weights": own}, own) == text


def test_a_bench_records_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = weights.MEASURED[0]
    for path, text in (
        (one.figures, '{"a": 1}'),
        (one.page, "# Title\n\n> Measured with x\n\nB\n"),
    ):
        path.parent.mkdir()
        path.write_text(text)
    weights.measured(one.figures)
    assert json.loads(one.figures.read_text())["weights"] == weights.bundled(one.weights)
    assert one.page.read_text() == "# Title\n\nB\n"
