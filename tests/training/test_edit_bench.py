"""A distilled generator is measured against the one that it was distilled from."""

import shutil

import pytest
import torch

from bench import edit
from tests.tiny import write_unet


@pytest.fixture
def student(generator, tmp_path):
    folder = shutil.copytree(generator, tmp_path / "student")
    torch.manual_seed(1)
    write_unet(folder / "unet", time_cond_proj_dim=10)
    return folder


def test_reference_and_stock_have_the_teachers_weights(
    generator, student, radiograph, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, value in (("RECIPE", 10), ("REFERENCE", 20), ("CANDIDATES", (5, 8))):
        monkeypatch.setattr(edit, name, value)
    ours, teacher = edit.Ours(student, radiograph), edit.Ours(generator, radiograph)
    found = edit.measure(ours, teacher, radiograph, 1)
    assert found["weights"] != found["teacher"]
    # The stock pipeline takes two passes, as ours does with the teacher's weights.
    assert found["largest_difference_same_output"] < 1e-4
    assert set(found["errors_by_steps"]) == {"5", "8"}
    own = edit.measure(teacher, teacher, radiograph, 1)
    assert own["weights"] == own["teacher"] == found["teacher"]
    assert own["error_stock"] == pytest.approx(found["error_stock"], rel=1e-3)
