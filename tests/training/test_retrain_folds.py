"""Folds of the real labels: no patient twice, no source that tells a label."""

import numpy as np
import pandas as pd
import pytest

from bench import retrain
from roentmod import datasets
from roentmod.store import pseudonym
from tests.science.performance import fake


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Positives from one set, most negatives from another, and a set of unknown patients."""
    folder = tmp_path_factory.mktemp("nih")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(900):
        ill = number % 6 == 0
        own = "nih_talo" if ill or number % 6 == 1 else "nih_rsna_normal_224"
        labels = str(rng.choice(retrain.REAL)) if ill else "No Finding"
        own = retrain._UNKNOWN if number % 50 == 2 else own
        path = folder / f"{number}.png"
        path.write_bytes(str(number).encode())
        row = [str(path), own, "A", "train", labels, "PA", f"p{number // 2}", "50", "F"]
        rows.append(row)
    columns = ["path", "set", "tier", "split", "labels", "view", "patient_id", "age", "sex"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "index.csv", index=False)
    return folder


def test_names_are_hidden_alike_whatever_the_machine_s_salt(tmp_path, monkeypatch):
    """Studies that were made on two machines are joined by patient."""
    hidden = []
    for machine in ("one", "other"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / machine / "config"))
        monkeypatch.setenv("ROENTMOD_SALT", "")
        hidden.append(pseudonym("patient", "p"))
        retrain.name_alike(tmp_path / machine / "run")
        hidden.append(pseudonym("patient", "p"))
    assert hidden[1] == hidden[3]
    assert len(set(hidden)) == 3


def test_each_patient_is_tested_once_and_sources_tell_nothing(index, tmp_path):
    tested = []
    for number in range(2):
        folder = retrain.fold(index, tmp_path, number)
        data = datasets.load(folder, ages="unknown")
        table = data.table
        assert table.groupby("patient_id")["split"].nunique().max() == 1
        assert set(table["site"]) == {"nih_talo"}
        tested.append(set(table.loc[table["split"] == "test", "patient_id"]))
        counts = (table[list(retrain.REAL)] == "positive").sum()
        assert (counts > 0).all()
        own = table[table["split"] == "test"]
        for name in retrain.REAL:
            assert (own[name] == "positive").sum() == (own[name] == "negative").sum()
        hosts = datasets.baselines(data).table
        assert set(hosts["site"]) == {"nih_talo"}
        assert not list(folder.glob("all.csv"))
    assert not tested[0] & tested[1]


def test_folds_are_one_model_per_arm_and_seed():
    options = {"arms": ("erm", "soft"), "n": 40}
    one = fake.confounded(seed=0, tests={"val": "val", "nih": "internal"}, **options)
    two = one.assign(logit=100 * one["logit"] + 3)
    two.loc[two["test"] != "nih", "image_id"] += "b"
    two.loc[two["test"] == "nih", "image_id"] += "b"
    whole = retrain.crossed([one, two])
    assert len(whole) == 2 * len(one)
    first, second = (whole[whole["image_id"].str.endswith("b") == b] for b in (False, True))
    np.testing.assert_allclose(first["logit"], second["logit"])
    # A threshold of validation is for tests as they are: what lifts all of them calls more.
    higher = one.assign(logit=one["logit"] + 5 * (one["test"] == "nih"))
    lifted = retrain.crossed([higher, two])
    own = lifted["test"].eq("nih") & ~lifted["image_id"].str.endswith("b")
    moved = lifted.loc[own, "logit"].to_numpy() - whole.loc[own, "logit"].to_numpy()
    assert (moved > 1).all()
    # What both folds read is the mean of both.
    both = retrain.crossed([one, one.assign(logit=-one["logit"])])
    assert len(both) == len(one)
    np.testing.assert_allclose(both["logit"], 0, atol=1e-9)


def test_pictures_are_compared_within_their_fold_and_source():
    options = {"arms": ("erm", "soft"), "n": 40}
    one = fake.confounded(seed=0, tests={"val": "val", "nih": "internal"}, **options)
    two = one.assign(site="b", image_id=one["image_id"] + "b")
    shared = one.assign(test="kermany", where="external")
    whole = retrain.crossed([pd.concat([t, shared]) for t in (one.assign(site="a"), two)])
    sites = whole.groupby("test")["site"].unique().map(set)
    assert sites["nih"] == sites["val"] == {"0 a", "1 b"}
    assert sites["kermany"] == {""}
    # Readings of earlier versions name no source.
    assert set(retrain.crossed([one, two.drop(columns="site")])["site"]) == {"0 ", "1 "}
