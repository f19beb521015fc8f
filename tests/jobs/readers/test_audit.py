"""What a study's readers saw decides which edits of an audit count, and what leaks."""

import pandas as pd
import pytest

import roentmod as rm
from roentmod.errors import ReadersError
from roentmod.jobs.readers.answers import ANSWERS, read_truth
from tests.jobs.readers import rehearsed

FINDINGS = ("Cardiomegaly", "Pleural Effusion")
AUDIT = {"editor": "painter", "findings": FINDINGS, "baselines": 6, "fewest": 3, "resamples": 200}


def reading(study, see):
    """Return answers in which everybody sees what `see` says of a case."""
    cases = read_truth(study).to_dict("records")
    rows = [
        {"reader": f"r-{n}", "case": case["case"], "question": f"finding:{name}"}
        | {"value": 5 if see(case, name) else 1}
        for n in range(2)
        for case in cases
        for name in FINDINGS
    ]
    fixed = dict.fromkeys(ANSWERS, 1) | {"block": "findings", "other": ""}
    fixed |= dict.fromkeys(("shown_at", "answered_at"), "2026-01-01T00:00:00+00:00")
    return pd.DataFrame([fixed | row for row in rows], columns=list(ANSWERS))


@pytest.mark.slow
def test_readers_are_gate_and_leakage_of_an_audit(tmp_path):
    out = tmp_path / "audit"
    plain = rm.audit("phantoms:6", {"honest": "demo:honest"}, out=out, **AUDIT)
    patients = plain.baselines["patient_id"].tolist()
    sizes = {"edits": 12, "positives": 0, "normals": 4, "repeats": 0, "attention": 0}
    study = rehearsed.make(
        tmp_path / "study", readers=2, findings=FINDINGS, patients=patients, **sizes
    )
    # Readers see every effusion, and cardiomegaly along with it; of the cardiomegalies they see
    # those of the first half of the patients.
    half = set(patients[:3])

    def see(case, name):
        effusion = case["finding"] == "Pleural Effusion"
        return effusion or (case["finding"] == name and case["patient"] in half)

    reading(study, see).to_parquet(tmp_path / "answers.parquet")
    again = rm.audit("phantoms:6", {"honest": "demo:honest"}, out=out, readers=study,
                     answers=tmp_path / "answers.parquet", **AUDIT)  # fmt: skip
    gate = next(iter(again)).gate.set_index("edited")
    assert gate.loc["Pleural Effusion", "share"] == 1
    assert gate.loc["Cardiomegaly", "share"] == 0.5
    cells = next(iter(again)).cells.set_index(["edited", "read"])
    assert cells.loc[("Pleural Effusion", "Cardiomegaly"), "leak"] > 0.5
    assert cells.loc[("Cardiomegaly", "Pleural Effusion"), "leak"] == pytest.approx(0)


def test_answers_need_their_study():
    with pytest.raises(ReadersError, match="--readers"):
        rm.audit("phantoms:6", {}, out="nowhere", answers="answers.parquet")
