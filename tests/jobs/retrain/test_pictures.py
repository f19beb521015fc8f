from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from roentmod.errors import RetrainError, UnreadableError
from roentmod.learning import pictures
from roentmod.learning.pictures import levels, make_block, open_blocks
from roentmod.learning.samples import labelled
from roentmod.radiograph import Radiograph
from tests.jobs.retrain.parts import gathered, tiny


def test_levels_are_those_of_another_library():
    pixels = np.random.default_rng(0).uniform(size=(128, 96))
    made = levels(Radiograph.from_array(pixels), 32, None)
    padded = np.zeros((128, 128), dtype=np.float32)
    padded[:, 16:112] = pixels
    expected = padded.reshape(32, 4, 32, 4).mean((1, 3))
    assert np.abs(made / 255 - expected).max() < 1 / 255
    twice = Image.fromarray(padded).resize((64, 64), Image.Resampling.BOX)
    twice = np.asarray(twice.resize((32, 32), Image.Resampling.BOX))
    through = levels(Radiograph.from_array(pixels), 32, 64)
    assert np.abs(through / 255 - twice).max() < 1 / 255


def test_sharpness_does_not_tell_sources_apart():
    """The same noise at twice the size, and brought up from half of it, look alike."""
    noise = np.random.default_rng(0).uniform(size=(64, 64)).astype(np.float32)
    sharp = Radiograph.from_array(np.kron(noise, np.ones((2, 2))))
    plain = Radiograph.from_array(noise)
    through = [levels(one, 96, 64) for one in (sharp, plain)]
    assert np.abs(through[0].astype(int) - through[1]).max() <= 1
    straight = [levels(one, 96, None) for one in (sharp, plain)]
    assert np.abs(straight[0].astype(int) - straight[1]).max() > 20


def test_pictures_of_many_blocks_are_found_by_their_row(data, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "BLOCK", 20)
    samples = labelled(data, "train", tiny(), "train")
    names = [str(name) for name in samples.table["image_id"]]
    files = []
    for start in range(0, 48, 20):
        files.append(tmp_path / f"{start}.npy")
        np.save(files[-1], make_block(samples, names[start : start + 20], 32, None)[0])
    made = open_blocks(samples, files, {})
    expected = [levels(data.radiograph(name), 32, None) for name in names]
    assert np.array_equal(made[np.arange(48)], expected)
    assert np.array_equal(made[np.array([47, 3])], [expected[47], expected[3]])


def test_what_cannot_be_read_is_named(data, tmp_path):
    samples = labelled(data, "val", tiny(), "val")
    bad = samples.table["image_id"].iloc[2]

    def read(image_id):
        if image_id == bad:
            raise UnreadableError("no picture")
        return data.radiograph(image_id)

    names = [str(name) for name in samples.table["image_id"]]
    block, unread = make_block(replace(samples, read=read), names, 32, None)
    assert {name: str(error) for name, error in unread.items()} == {bad: "no picture"}
    assert not block[2].any()
    made = gathered(replace(samples, read=read), tmp_path, 32, None)
    assert np.flatnonzero(~made.readable).tolist() == [2]
    bad = samples.table["image_id"].iloc[0]
    alone = replace(samples, table=samples.table.head(1), name="one", read=read)
    with pytest.raises(RetrainError, match=r"of 1 none can. The first: no picture"):
        gathered(alone, tmp_path, 32, None)
