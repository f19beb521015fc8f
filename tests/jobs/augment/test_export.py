"""Other libraries' forms, read by the standard library and pandas."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from roentmod.errors import DatasetError
from roentmod.jobs import augment
from roentmod.jobs.augment import AugmentPlan, Labelling
from tests.jobs.augment.parts import FINDINGS, Dabber, Eye


@pytest.fixture(scope="module")
def made(split_source, tmp_path_factory):
    """A set of two splits with soft labels and one pair unlabelled."""
    from roentmod import datasets

    labelling = Labelling(policy="soft", pairs=(("Cardiomegaly", "Edema", "masked"),))
    plan = AugmentPlan(findings=FINDINGS, ratio=2, with_baselines=True, labelling=labelling)
    folder = tmp_path_factory.mktemp("export") / "set"
    chosen = datasets.baselines(split_source).table
    return augment.run(split_source, chosen, Dabber(), plan, folder, judge=Eye())


def members(path):
    with tarfile.open(path) as tar:
        return {item.name: tar.extractfile(item).read() for item in tar.getmembers()}


def test_webdataset(made):
    folder = augment.export(made.folder, "webdataset", shard=5)
    shards = sorted(folder.glob("*.tar"))
    assert {path.name.split("-")[0] for path in shards} == {"train", "val"}
    table = made.training.set_index("image_id")
    seen = {}
    for path in shards:
        content = members(path)
        names = list(content)
        # WebDataset takes neighbours with one key for one sample.
        assert [n.removesuffix(".png") for n in names[::2]] == [
            n.removesuffix(".json") for n in names[1::2]
        ]
        assert len(names) <= 10
        for key in (name.removesuffix(".png") for name in names[::2]):
            seen[key] = json.loads(content[f"{key}.json"])
            assert seen[key]["split"] == path.name.split("-")[0]
            assert (made.folder / table.loc[key, "path"]).read_bytes() == content[f"{key}.png"]
            Image.open(io.BytesIO(content[f"{key}.png"])).verify()
    assert set(seen) == set(table.index)
    for key, said in seen.items():
        row = table.loc[key]
        labels = [np.nan if said["labels"][f] is None else said["labels"][f] for f in FINDINGS]
        np.testing.assert_array_equal(labels, row[list(FINDINGS)].to_numpy(float))
        assert said["synthetic"] == ("NO" if row["arm"] == "baseline" else "YES")
    assert any(None in said["labels"].values() for said in seen.values())


def test_hugging_face(made):
    folder = augment.export(made.folder, "huggingface", shard=5)
    table = made.training.set_index("image_id")
    seen = []
    for split, name in (("train", "train"), ("val", "validation")):
        meta = pd.read_parquet(folder / name / "metadata.parquet")
        assert meta.columns[0] == "file_name"
        assert set(meta["split"]) == {split}
        files = {p.relative_to(folder / name).as_posix() for p in (folder / name).rglob("*.png")}
        assert files == set(meta["file_name"])
        assert meta["file_name"].str.split("/").str[0].value_counts().max() <= 5
        for row in meta.to_dict("records"):
            source = made.folder / table.loc[row["image_id"], "path"]
            assert (folder / name / row["file_name"]).read_bytes() == source.read_bytes()
        seen.append(meta)
    back = pd.concat(seen).set_index("image_id").loc[table.index]
    pd.testing.assert_frame_equal(back[list(FINDINGS)], table[list(FINDINGS)])
    card = (folder / "README.md").read_text()
    assert "Synthetic image" in card
    assert card.startswith("---\n")


@pytest.mark.parametrize("form", ["webdataset", "huggingface"])
def test_the_same_bytes_again_and_nothing_stale(made, form, files):
    augment.export(made.folder, form, shard=3)
    first = files(augment.export(made.folder, form, shard=100))
    assert files(augment.export(made.folder, form, shard=100)) == first
    assert not [path for path in made.folder.iterdir() if path.name.startswith(".")]


def test_failures_are_not_exported(whole, copy):
    folder = augment.export(copy, "webdataset")
    names = [name for path in folder.glob("*.tar") for name in members(path)]
    assert len(names) == 2 * len(whole.training) < 2 * len(whole.manifest)
    # There are no splits.
    assert {path.name for path in folder.iterdir()} == {"all-00000.tar"}
    assert (augment.export(copy, "huggingface") / "train" / "metadata.parquet").is_file()
    # The plain folder beside them still has one table.
    from roentmod import datasets

    assert len(datasets.load(copy)) == len(whole.training)


def test_a_set_that_is_refused_is_not_exported(copy, whole):
    (copy / whole.training["path"].iloc[0]).unlink()
    with pytest.raises(DatasetError, match="has no picture"):
        augment.export(copy, "webdataset")
    assert not (copy / "webdataset").exists()
    with pytest.raises(DatasetError, match="got 'zip'"):
        augment.export(copy, "zip")
