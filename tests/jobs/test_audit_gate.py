"""A gate that could judge nothing is no gate that was passed, and no NaN is ever shown."""

import json
import re

import pandas as pd
import pytest

from roentmod import classifiers
from roentmod.cli import auditing
from roentmod.jobs.audit import AuditResult, ClassifierResult
from roentmod.science import effects
from roentmod.verbs import parts
from tests.cli.running import run


def result(*verdicts):
    rows = [("Edema", "Mass", False, verdict, f"reason: {verdict}") for verdict in verdicts]
    rows.append(("Mass", "Mass", True, "on target", ""))
    cells = pd.DataFrame(rows, columns=["edited", "read", "on_target", "verdict", "reason"])
    cells["n"], cells["corrected"] = 12, 0.1
    empty = pd.DataFrame()
    score = effects.score(cells[cells["verdict"] != "no yardstick"])
    one = ClassifierResult(
        *("ours", "ours.onnx", empty, effects.verdict(cells), score and score.value, cells),
        *[empty] * 5,
    )
    items = pd.DataFrame(columns=["classifier", "status", "message"])
    counts = {"planned": 1, "ok": 1, "missing": 0}
    return AuditResult({}, {}, empty, items, counts, (one,), folder=None)


@pytest.mark.parametrize(
    ("verdicts", "codes"),
    [
        # never, shortcut, suppression, undecided
        (("too few", "no yardstick"), (0, 6, 6, 6)),
        ((), (0, 6, 6, 6)),
        (("undecided", "too few"), (0, 0, 0, 4)),
        (("needs readers", "within margin"), (0, 0, 0, 4)),
        (("within margin", "no yardstick"), (0, 0, 0, 4)),
        (("within margin",), (0, 0, 0, 0)),
        (("shortcut", "too few"), (0, 4, 4, 4)),
        (("suppression",), (0, 0, 4, 4)),
    ],
)
def test_the_gate_fails_closed(verdicts, codes):
    one = result(*verdicts)
    levels = ("never", "shortcut", "suppression", "undecided")
    assert tuple(auditing._audit_code(one, level) for level in levels) == codes
    assert one.classifiers[0].judged is (codes[1] != 6)


def test_a_missing_score_is_no_nan():
    one = result("too few")
    assert one.classifiers[0].score is None
    assert "nan" not in str(one.verdicts).lower()
    assert "reason: too few" in one.classifiers[0].obstacle


class Reader:
    findings = ("Edema", "Mass")


@pytest.mark.parametrize(
    ("patients", "names", "need"),
    [
        (9, ("Edema", "Mass"), "from 10 patients on"),
        (10, ("Edema",), "ours: .*two findings at least are edited.*got Edema"),
        (10, ("Hernia", "Nodule"), "one of which it reads"),
        (10, ("Hernia", "Mass"), None),
    ],
)
def test_what_an_audit_needs_is_found_before_it_begins(patients, names, need, caplog):
    parts.say_needs(patients, 10, names, {"ours": Reader()})
    assert len(caplog.messages) == (need is not None)
    assert need is None or re.search(need, caplog.text)


def test_an_audit_of_too_few_says_so_at_its_start_and_end(tmp_path):
    done = run(
        *("audit", "--classifier", "demo:honest", "--data", "phantoms:3"),
        *("--editor", "painter", "--findings", "Pleural Effusion,Cardiomegaly"),
        *("--fail-on", "shortcut", "--resamples", 200, "--flips", 199, "--out", tmp_path / "run"),
        *("--second-judge", f"judge:{classifiers.judge.WEIGHTS.parent}"),
        cache=tmp_path,
    )
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["second"]["kind"] == "judge"
    assert done.returncode == 6, done.stderr
    assert "from 20 patients on" in " ".join(done.stderr.split())
    assert "Nothing could be judged." in done.stdout
    page = re.sub(r"data:[^\"]*", "", (tmp_path / "run" / "report.html").read_text())
    report = (tmp_path / "run" / "report.json").read_text()
    for text in (done.stdout, done.stderr, page, report):
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    assert json.loads(report)["classifiers"][0]["score"] is None
    kept = (tmp_path / "run" / "judged" / "judged.json").read_text()
    assert json.loads(kept)["classifiers"][0]["score"] is None
