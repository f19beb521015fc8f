"""Cases of an audit are made again by its own editor, or not at all."""

from types import SimpleNamespace

import pandas as pd
import pytest

from roentmod.edits import Edit
from roentmod.errors import RunError
from roentmod.jobs.audit import AuditResult
from roentmod.web.studio.finished import Finished

OWN = {"name": "mini", "weights": "aaaa", "engine": "onnxruntime", "batch_size": 8}


class Fixed:
    """An editor that says what it is."""

    def __init__(self, **facts):
        self.facts = OWN | facts

    def describe(self):
        return self.facts

    def edit(self, radiographs, edits):
        return [(radiographs[0], edits[0])]


@pytest.fixture
def finished(tmp_path):
    one = Finished(tmp_path, SimpleNamespace(radiograph=lambda name: f"radiograph {name}"))
    edit = Edit(("Edema",))
    baselines = pd.DataFrame({"baseline_id": ["one"]})
    result = AuditResult({}, {"editor": OWN}, baselines, pd.DataFrame(), {}, (), tmp_path)
    one.__dict__.update(result=result, _edits={edit.id: edit})
    return one, edit


def test_the_audits_editor_makes_a_case_again_on_any_machine(finished):
    one, edit = finished
    _, make = one.case("one", edit.id)
    assert make(Fixed(engine="compile", batch_size=1)) == ("radiograph one", edit)


@pytest.mark.parametrize(
    ("name", "value"), [("weights", "bbbb"), ("name", "painter"), ("lora", ["a:1"])]
)
def test_another_editor_is_refused_in_one_line(finished, name, value):
    one, edit = finished
    _, make = one.case("one", edit.id)
    with pytest.raises(RunError, match=f"the audit's editor, mini; .* differs in {name}"):
        make(Fixed(**{name: value}))


def test_the_editor_of_the_audits_name_comes_first(finished):
    one, _ = finished
    assert one.fitting(("painter", "mini")) == "mini"
    assert one.fitting(("painter", "weights/mini")) == "painter"
