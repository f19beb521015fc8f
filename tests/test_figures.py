"""Every figure of the documentation is of the bundled weights, or its page says that it is not."""

import json
import re
from pathlib import Path

import pytest

from bench import audit_page, judges_page, readme, weights

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("one", weights.MEASURED, ids=lambda one: one.page.stem)
def test_a_page_says_whether_its_figures_are_of_the_bundled_weights(one):
    page = (ROOT / one.page).read_text(encoding="utf-8")
    figures = json.loads((ROOT / one.figures).read_text(encoding="utf-8"))
    wanted = weights.headed(page, figures, one.weights)
    assert page == wanted, (
        f"run python -m bench.weights; {one.page} needs the head of {wanted[:400]}"
    )


def audit(figures):
    rows = json.loads((ROOT / audit_page.VERDICTS).read_text(encoding="utf-8"))
    return audit_page.page(figures, rows)


@pytest.mark.parametrize(
    ("name", "page"), [("audit_truth", audit), ("real_judge", judges_page.page)]
)
def test_a_page_follows_from_its_figures(name, page):
    one = weights.of(Path(f"bench/{name}.json"))
    figures = json.loads((ROOT / one.figures).read_text(encoding="utf-8"))
    own = weights.headed(page(figures), figures, one.weights)
    assert own == (ROOT / one.page).read_text(encoding="utf-8")


def test_what_security_says_of_hostile_files_was_measured():
    doors = json.loads((ROOT / "bench/fuzz.json").read_text(encoding="utf-8"))["door"]
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    pictures = doors["pictures"]["tried"]
    others = sum(one["tried"] for one in doors.values()) - pictures
    assert f"{pictures:,} pictures and {others:,} other documents" in page
    assert not any(one["hangs"] for one in doors.values())
    assert max(one["peak_mb"] for one in doors.values()) < 1000


def test_every_json_that_a_page_names_is_watched():
    watched = {one.figures.name for one in weights.MEASURED}
    # Figures of no weights, or of the anatomy while it was trained, and numbers that were chosen on
    # validation, with the weights of that day.
    free = "results scale anatomy verdicts fuzz readings viewer marks readers studio gpu"
    free = {f"{name}.json" for name in (*free.split(), "retrain_tuned")}
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"bench/(\w+\.json)", page)}
    assert named - free <= watched


@pytest.mark.parametrize("mark", readme.PARTS)
def test_the_readme_says_what_the_figures_say(mark):
    figures, text = readme.PARTS[mark]
    shown = text(json.loads((ROOT / figures).read_text(encoding="utf-8")))
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- {mark} -->\n{shown}\n<!-- end -->" in page, "run python -m bench.readme"


def test_the_readme_counts_what_is_sure_by_seeds_and_q():
    row = {"arm": "soft", "reference": "erm", "slice": "all", "difference": 0.05}
    row |= {"seeds_low": 0.02, "seeds_high": 0.08, "q": 0.01}
    rows = [row, row | {"q": 0.053}, row | {"seeds_low": -0.01}, row | {"arm": "oversampling"}]
    known = {"mean": 0.05, "ci_with_seeds": [0.01, 0.09], "q": 0.01}
    arms = {"soft": {"against": {"erm": known}}, "isolated": {"against": {"erm": known | {"q": 1}}}}
    real = row | {"finding": "Mass", "test": "NIH", "difference": -0.2, "seeds_low": -0.3}
    scores = {"erm": 10.0, "soft": 1.0, "oversampling": 9.0}
    study = {"comparisons": rows, "shortcut_score": scores}
    text = readme.retraining(
        {
            "primary": dict.fromkeys(("internal", "external", "real-NIH"), arms),
            "studies": {
                "truth-first-mini": study,
                "truth-first-painter": study,
                "real": {"comparisons_by_test": [real | {"seeds_high": -0.1}, real | {"q": 1}]},
            },
        }
    ).replace("\n", " ")
    assert "score by -90 % and" in text
    assert "inside by +5.0 (surely for 1 of 2 arms) and outside" in text
    assert "of 3 gains of single pairs 1 holds surely" in text
    assert "surely worse: `soft`, Mass in NIH (-20.0); surely better: none" in text


def test_the_readme_is_written_also_where_no_score_is_known():
    assert readme._changes([{"shortcut_score": {"soft": 1.0}}]) == []
    scores = {"erm": 4.0, "soft": 1.0, "pair": None}
    assert readme._changes([{"shortcut_score": scores}]) == [-0.75]
    unseen = {"erm": 2.0, "soft": 3.0}
    both = {"shortcut_score": scores, "shortcut_score_unseen": unseen}
    assert readme._changes([both]) == [0.5]
    assert readme._span([], "{:.0f}") == "-"


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


def test_the_painters_looks_are_watched_as_weights_are():
    own, old = weights.bundled(("judge", "painter")), "0" * 16
    assert weights.head({"weights": own}, own) == ""
    assert f"(painter {old})" in weights.head({"weights": own | {"painter": old}}, own)
    for name in ("audit", "judges", "realism", "fidelity", "results"):
        (one,) = (one for one in weights.MEASURED if one.page.stem == name)
        assert "painter" in one.weights


@pytest.mark.parametrize(
    ("figures", "name"),
    [
        ({"weights": "a" * 16}, "mini"),
        ({"editor": {"weights": "a" * 16}}, "mini"),
        ({"editors": {"mini": {"editor": {"weights": "a" * 16}}}}, "mini"),
        ({"editors": {"mini": {"judge": "a" * 64}}}, "judge"),
        ({"bundled_judge_reads": {"sha256": "a" * 64}}, "judge"),
    ],
)
def test_weights_are_found_where_a_json_names_them(figures, name):
    assert f"({name} {'a' * 16})" in weights.head(figures, (name,))


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
