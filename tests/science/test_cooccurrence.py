"""Co-occurrence: counts by hand, intervals and design effects by statsmodels."""

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from roentmod import datasets
from roentmod.errors import DatasetError, EditError
from roentmod.jobs.augment import load_cooccurrence, save_cooccurrence
from roentmod.plans import EditPlan
from roentmod.science.cooccurrence import CoOccurrence, from_labels, from_readings, linked
from roentmod.verbs.parts import held_of

P, N, Q, U = "positive", "negative", "uncertain", "unmentioned"
SOURCE = "a table of this test"


@pytest.fixture
def labels():
    """Six images of four patients."""
    return pd.DataFrame(
        {
            "patient_id": ["a", "a", "b", "b", "c", "d"],
            "No Finding": [N, N, N, N, N, P],
            "Edema": [P, P, P, P, N, N],
            "Cardiomegaly": [P, N, Q, U, P, N],
            "Mass": [N, N, N, N, N, N],
        }
    )


def cell(matrix, row, column):
    table = matrix.table().set_index(["row", "column"])
    return table.loc[(row, column)]


def drawn(seed, images=400, patients=60):
    """Labels in which what one image of a patient shows, the next tends to show."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, patients, images)
    tendency = rng.normal(0, 2, (patients, 3))
    shown = tendency[patient] + rng.normal(0, 1, (images, 3)) > 0
    names = ["Edema", "Cardiomegaly", "Mass"]
    columns = {name: np.where(shown[:, j], P, N) for j, name in enumerate(names)}
    return pd.DataFrame({"patient_id": patient.astype(str), **columns})


def test_two_cells_by_hand(labels):
    matrix = from_labels(labels, source=SOURCE)
    # Of four images with edema the heart of two is known; one of those is large.
    both = cell(matrix, "Edema", "Cardiomegaly")
    assert (both["n_row"], both["n_both"], both["rate"]) == (2, 1, 0.5)
    # Both images with a large heart are known to have edema or none.
    other = cell(matrix, "Cardiomegaly", "Edema")
    assert (other["n_row"], other["n_both"], other["rate"]) == (2, 1, 0.5)
    # Nobody shows a mass, and "No Finding" is no row.
    assert matrix.findings == ("Cardiomegaly", "Edema")


def test_unmentioned_may_mean_absent(labels):
    matrix = from_labels(labels, source=SOURCE, unmentioned="absent")
    # The hedged image stays out.
    assert cell(matrix, "Edema", "Cardiomegaly")["n_row"] == 3
    assert matrix.rate("oedema", "enlarged heart") == pytest.approx(1 / 3)


def test_patients(labels):
    matrix = from_labels(labels, source=SOURCE, unit="patient")
    # a has both, b has edema and a heart of which one image says "maybe".
    assert cell(matrix, "Edema", "Cardiomegaly")[["n_row", "n_both"]].tolist() == [1, 1]
    assert cell(matrix, "Cardiomegaly", "Edema")[["n_row", "n_both"]].tolist() == [2, 1]
    assert matrix.unit == "patient"


def test_a_patient_who_may_have_it_is_not_known():
    table = pd.DataFrame(
        {
            "patient_id": ["a", "a", "b", "b"],
            "Edema": P,
            # Absent in one image and hedged in the other, then absent and not mentioned.
            "Cardiomegaly": [N, Q, N, U],
            "Mass": [P, Q, N, P],
        }
    )
    names = ("Edema", "Cardiomegaly", "Mass")
    matrix = from_labels(table, source=SOURCE, unit="patient", findings=names)
    assert cell(matrix, "Edema", "Cardiomegaly")[["n_row", "n_both"]].tolist() == [1, 0]
    assert cell(matrix, "Edema", "Mass")[["n_row", "n_both"]].tolist() == [2, 2]


def test_pandas_counts_the_same():
    table = drawn(0)
    matrix = from_labels(table, source=SOURCE)
    cross = pd.crosstab(table["Edema"], table["Mass"])
    assert matrix.rate("Edema", "Mass") == cross.loc[P, P] / cross.loc[P].sum()
    assert matrix.rate("Mass", "Edema") == cross.loc[P, P] / cross[P].sum()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([P, N]), min_size=1, max_size=60), st.sampled_from([0.8, 0.95]))
def test_independent_units_have_wilsons_interval(answers, level):
    table = pd.DataFrame({"Edema": P, "Mass": [*answers, P]})
    table["patient_id"] = np.arange(len(table)).astype(str)
    matrix = from_labels(table, source=SOURCE, level=level)
    got = cell(matrix, "Edema", "Mass")
    assert got["n_effective"] == got["n_row"] == len(table)
    hits = int((table["Mass"] == P).sum())
    low, high = proportion_confint(hits, len(table), alpha=1 - level, method="wilson")
    assert got["low"] == pytest.approx(low, abs=1e-12)
    assert got["high"] == pytest.approx(high, abs=1e-12)
    assert 0 <= got["low"] <= got["rate"] <= got["high"] <= 1


@pytest.mark.parametrize("seed", range(4))
def test_images_of_a_patient_are_worth_less(seed):
    table = drawn(seed)
    got = cell(from_labels(table, source=SOURCE), "Edema", "Mass")
    part = table[table["Edema"] == P]
    hit = (part["Mass"] == P).to_numpy(float)
    plain = sm.OLS(hit, np.ones(len(hit))).fit()
    groups = part["patient_id"].astype(int).to_numpy()
    robust = sm.OLS(hit, np.ones(len(hit))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    # statsmodels' own small-sample factor has (n - 1) / (n - k), which is 1 for a mean.
    design = (robust.bse[0] / plain.bse[0]) ** 2
    assert design > 1.5
    worth = len(part) / design
    assert got["n_effective"] == pytest.approx(worth, rel=1e-4)
    low, high = proportion_confint(got["rate"] * worth, worth, method="wilson")
    assert (got["low"], got["high"]) == pytest.approx((low, high), abs=1e-5)


def test_an_interval_covers_what_it_should():
    """Of these 120, Wilson's plain interval covers two thirds."""
    truth = drawn(999, images=60_000, patients=20_000)
    share = float((truth.loc[truth["Cardiomegaly"] == P, "Mass"] == P).mean())
    inside = []
    for seed in range(120):
        matrix = from_labels(drawn(seed, images=300), source=SOURCE)
        low, high = (end[0, 2] for end in matrix.interval)
        assert matrix.findings[::2] == ("Cardiomegaly", "Mass")
        inside.append(low <= share <= high)
    assert np.mean(inside) > 0.89


def test_what_never_varies_is_worth_its_patients():
    table = pd.DataFrame(
        {"patient_id": ["a"] * 50 + ["b"] * 50, "Edema": P, "Mass": N, "Cardiomegaly": P}
    )
    matrix = from_labels(table, source=SOURCE, findings=("Edema", "Mass", "Cardiomegaly"))
    assert cell(matrix, "Edema", "Mass")["n_effective"] == 2
    assert cell(matrix, "Edema", "Mass")["low"] == 0
    assert cell(matrix, "Edema", "Cardiomegaly")["high"] == 1
    # Nobody has a mass: nothing is known, and nothing is made up.
    assert cell(matrix, "Mass", "Edema")[["rate", "low", "high"]].isna().all()


def test_soft_labels_name_all_others(labels):
    matrix = from_labels(drawn(1), source=SOURCE)
    soft = matrix.soft_labels("pulmonary edema")
    assert set(soft) == {"Cardiomegaly", "Mass"}
    assert soft["Mass"] == matrix.rate("Edema", "Mass")
    with pytest.raises(DatasetError, match="got 'Hernia'"):
        matrix.soft_labels("Hernia")


def readings(rows, kind="answer"):
    return pd.DataFrame(rows, columns=["reader", "case", "finding", kind])


def test_readers_answers():
    table = readings(
        [
            ("r1", "1", "Edema", "yes"), ("r1", "1", "mass", "No"),
            ("r2", "1", "oedema", 1), ("r2", "1", "Mass", "y"),
            ("r1", "2", "Edema", True), ("r1", "2", "Mass", ""),
            ("r3", "1", "Edema", "no"), ("r3", "1", "Mass", "yes"),
        ]
    )  # fmt: skip
    matrix = from_readings(table, source="three readers")
    assert cell(matrix, "Edema", "Mass")[["n_row", "n_both"]].tolist() == [2, 1]
    assert cell(matrix, "Mass", "Edema")[["n_row", "n_both"]].tolist() == [2, 1]
    cases = from_readings(table, source="three readers", unit="case")
    # Two of three say edema, two of three say mass; of case 2 nobody said whether a mass is there.
    assert cell(cases, "Edema", "Mass")[["n_row", "n_both"]].tolist() == [1, 1]
    assert (matrix.unit, cases.unit) == ("reading", "case")


def test_readers_probabilities():
    table = readings(
        [("r", "1", "Edema", 0.9), ("r", "1", "Mass", 0.6), ("r", "1", "Nodule", "0.2")],
        "probability",
    )
    assert from_readings(table, source="a reader").rate("Edema", "Mass") == 1
    strict = from_readings(table, source="a reader", threshold=0.8)
    assert strict.findings == ("Edema",)


@pytest.mark.parametrize(
    ("rows", "kind", "said"),
    [
        ([("r", "1", "Edema", 1.2)], "probability", "row 1 has '1.2'"),
        ([("r", "1", "Edema", "maybe")], "answer", "row 1 has 'maybe'"),
        ([("r", "1", "Edema", 1), ("r", "1", "oedema", 0)], "answer", "row 2 repeats r, 1, Edema"),
        ([("r", "1", "Edema", 1), ("r", "1", "Pox", 0)], "answer", "row 2.*'Pox'"),
        ([("r", "1", "No Finding", 1)], "answer", "comes with nothing"),
        ([("r", "1", "Edema", 0)], "answer", "none of 1 does"),
        ([("r", "1", "Edema", 0)], "other", "reader, case, finding"),
    ],
)
def test_wrong_answers_are_refused(rows, kind, said):
    with pytest.raises(DatasetError, match=said):
        from_readings(readings(rows, kind), source=SOURCE)


def test_wrong_labels_are_refused(labels):
    with pytest.raises(DatasetError, match="Edema of row 1 is 'maybe'"):
        from_labels(labels.assign(Edema="maybe"), source=SOURCE)
    with pytest.raises(DatasetError, match="lacks Hernia"):
        from_labels(labels, source=SOURCE, findings=("Hernia",))
    with pytest.raises(DatasetError, match="patient_id"):
        from_labels(labels.drop(columns="patient_id"), source=SOURCE)


def test_json_round_trip(tmp_path):
    matrix = from_labels(drawn(3), source=SOURCE, level=0.9)
    save_cooccurrence(matrix, tmp_path / "matrix.json")
    again = load_cooccurrence(tmp_path / "matrix.json")
    pd.testing.assert_frame_equal(matrix.table(), again.table(), check_exact=True)
    assert (again.source, again.unit, again.level) == (SOURCE, "image", 0.9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_both": [[9]]}, "0 <= n_both <= n_row"),
        ({"n_row": [[1, 2]]}, "k x k"),
        ({"n_row": [[1.5]]}, "in JSON has"),
        ({"source": ""}, "states its unit"),
        ({"unit": "ward"}, "states its unit"),
        ({"findings": None}, "in JSON has"),
    ],
)
def test_a_wrong_matrix_is_refused(change, said, tmp_path):
    good = {"findings": ["Edema"], "n_row": [[2]], "n_both": [[2]], "n_effective": [[1.0]]}
    good |= {"unit": "image", "source": SOURCE, "level": 0.95}
    assert CoOccurrence.from_json(good).rate("Edema", "Edema") == 1
    with pytest.raises(DatasetError, match=said):
        CoOccurrence.from_json(good | change)
    (tmp_path / "no.json").write_text("no")
    with pytest.raises(DatasetError, match=r"no\.json"):
        load_cooccurrence(tmp_path / "no.json")


def test_the_shipped_matrix_is_of_nih():
    matrix = load_cooccurrence()
    assert "112,120 images of 30,805 patients" in matrix.source
    # Prevalences that Wang et al. publish for the set as released (their table of 14 findings).
    counts = dict(zip(matrix.findings, np.diag(matrix.n_row).tolist(), strict=True))
    assert counts["Cardiomegaly"] == 2776
    assert counts["Infiltration"] == 19894
    assert counts["Hernia"] == 227
    assert len(counts) == 14
    assert json.loads(json.dumps(matrix.to_json())) == matrix.to_json()


def test_a_loaded_data_set_fits():
    loaded = datasets.load("phantoms:3")
    with pytest.raises(DatasetError, match="none of 3 does"):
        from_labels(loaded.table, source="phantoms")


def counted(n, present, both):
    """A matrix of `n` independent units from who shows a finding, and who shows two of them."""
    names = sorted(present)
    k = len(names)
    n_row = np.repeat([[present[name]] for name in names], k, axis=1)
    pairs = {frozenset(pair): count for pair, count in both.items()}
    n_both = np.array(
        [[pairs.get(frozenset((a, b)), present[a] if a == b else 0) for b in names] for a in names]
    )
    known = np.full(k, n)
    worth = n_row.astype(float), known.astype(float)
    return CoOccurrence(
        tuple(names), n_row, n_both, worth[0], "image", SOURCE, 0.95, known, worth[1]
    )


def test_a_lift_is_a_ratio_of_frequencies_and_its_bound_of_their_intervals():
    # Of 1000 units 100 show edema, 50 a large heart, 20 both: 20 % against 5 %.
    matrix = counted(1000, {"Edema": 100, "Cardiomegaly": 50}, {("Edema", "Cardiomegaly"): 20})
    lift, bound = matrix.lift()
    assert lift[1, 0] == pytest.approx(4)
    assert lift[0, 1] == pytest.approx(4)
    low = proportion_confint(20, 100, method="wilson")[0]
    high = proportion_confint(50, 1000, method="wilson")[1]
    assert bound[1, 0] == pytest.approx(low / high)
    assert linked(matrix, ["oedema"]) == ("Cardiomegaly",)
    assert linked(matrix, ["oedema"], least=low / high * 0.99) == ("Cardiomegaly",)
    assert linked(matrix, ["oedema"], least=low / high * 1.01) == ()


def test_independent_findings_are_not_linked_and_few_units_say_nothing():
    present = {"Edema": 100, "Cardiomegaly": 50}
    assert linked(counted(1000, present, {("Edema", "Cardiomegaly"): 5}), ["Edema"], least=1) == ()
    # The same lift of 4 in a tenth of the units may be chance.
    few = counted(100, {"Edema": 10, "Cardiomegaly": 5}, {("Edema", "Cardiomegaly"): 2})
    assert few.lift()[0][1, 0] == pytest.approx(4)
    assert linked(few, ["Edema"]) == ()


def test_the_most_surely_linked_come_first_and_edited_ones_not_at_all():
    matrix = counted(
        10_000,
        {"Edema": 500, "Mass": 500, "Cardiomegaly": 500, "Hernia": 500, "Nodule": 500},
        {
            ("Edema", "Cardiomegaly"): 200,
            ("Edema", "Mass"): 100,
            ("Edema", "Hernia"): 25,
            ("Edema", "Nodule"): 80,
            ("Mass", "Hernia"): 300,
        },
    )
    assert linked(matrix, ["Edema"]) == ("Cardiomegaly", "Mass", "Nodule")
    assert linked(matrix, ["Edema"], most=1) == ("Cardiomegaly",)
    # Of several edited findings the strongest link counts.
    assert linked(matrix, ["Edema", "Mass"], most=2) == ("Hernia", "Cardiomegaly")
    assert linked(matrix, []) == ()


def test_an_absent_finding_has_no_lift():
    matrix = counted(100, {"Edema": 50, "Mass": 0}, {})
    lift, bound = matrix.lift()
    assert np.isnan(lift[:, 1]).all()
    assert np.isnan(lift[1]).all()
    assert np.isnan(bound[1]).all()
    assert linked(matrix, ["Mass"]) == ()


def test_known_units_are_counted_with_their_clusters(labels):
    matrix = from_labels(labels, source=SOURCE)
    # The heart is hedged in one image and passed over in another; edema is known of all six.
    assert matrix.findings == ("Cardiomegaly", "Edema")
    assert matrix.n_known.tolist() == [4, 6]
    # Edema is one thing a patient: six images are worth little more than four patients.
    assert 3 < matrix.n_known_effective[1] < 5
    alone = from_labels(labels.assign(patient_id=list("abcdef")), source=SOURCE)
    assert alone.n_known_effective.tolist() == [4, 6]


def test_what_is_known_survives_json_and_may_be_missing():
    matrix = from_labels(drawn(3), source=SOURCE)
    again = CoOccurrence.from_json(json.loads(json.dumps(matrix.to_json())))
    assert again.n_known.tolist() == matrix.n_known.tolist()
    np.testing.assert_array_equal(again.lift()[1], matrix.lift()[1])
    older = {k: v for k, v in matrix.to_json().items() if not k.startswith("n_known")}
    assert CoOccurrence.from_json(older).to_json() == older
    with pytest.raises(DatasetError, match="needs n_known"):
        linked(CoOccurrence.from_json(older), ["Edema"])
    wrong = matrix.to_json() | {"n_known": [0, 0, 0]}
    with pytest.raises(DatasetError, match="at least as often as it is present"):
        CoOccurrence.from_json(wrong)


def test_wrong_bounds_of_a_link_are_refused():
    matrix = from_labels(drawn(3), source=SOURCE)
    for change in ({"least": 0.5}, {"most": 0}):
        with pytest.raises(DatasetError, match="1 or more"):
            linked(matrix, ["Edema"], **change)
    with pytest.raises(DatasetError, match="got 'Hernia'"):
        linked(matrix, ["Hernia"])


def test_what_nih_links_is_what_a_radiologist_would():
    matrix = load_cooccurrence()
    assert matrix.n_known.tolist() == [112_120] * 14
    assert linked(matrix, ["Edema"])[0] == "Pneumonia"
    assert linked(matrix, ["Cardiomegaly"]) == ("Pleural Effusion", "Edema")
    assert linked(matrix, ["Pneumothorax"]) == ("Emphysema",)


def test_what_is_held_is_said(caplog):
    caplog.set_level("INFO", "roentmod.verbs.parts")
    words = {"hold": ("linked", "mass"), "seed": 1}
    plan = EditPlan(add=("cardiomegaly", "pneumothorax + edema"), **words)
    heart, both = plan.edits(held_of)
    assert heart.hold == ("Edema", "Mass", "Pleural Effusion")
    assert "Emphysema" in both.hold
    assert not set(both.hold) & {"Pneumothorax", "Edema"}
    assert "cardiomegaly holds Pleural Effusion, Edema: linked in NIH ChestX-ray14" in caplog.text
    caplog.clear()
    assert plan.but(add=("cardiomegaly",), hold=("mass",)).edits(held_of)[0].hold == ("Mass",)
    assert caplog.text == ""
    with pytest.raises(EditError, match="follows a finding"):
        EditPlan(prompt="big heart", **words).edits(held_of)
