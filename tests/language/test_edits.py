import pytest

from roentmod.edits import Edit
from roentmod.errors import EditError, UnknownFindingError
from roentmod.findings import FINDINGS, finding
from roentmod.prompts import PROFILES


def test_every_name_phrase_and_alias_is_understood_in_any_case():
    for item in FINDINGS:
        for word in (item.name, item.phrase, *item.aliases):
            assert finding(word.upper().replace(" ", "_")) is item


def test_an_unknown_finding_proposes_the_nearest():
    with pytest.raises(UnknownFindingError, match="Did you mean 'Pleural Effusion'"):
        finding("plueral effusion")


def test_aliases_make_the_same_edit():
    assert Edit(("effusion",)).id == Edit(("Pleural Effusion",)).id


@pytest.mark.parametrize(
    "change",
    [
        {"strength": 0.41},
        {"seed": 1},
        {"side": "left"},
        {"severity": "mild"},
        {"action": "remove"},
        {"arm": "sham"},
        {"composite": "none"},
        {"scheduler": "pndm"},
        {"prompt": "x"},
        {"num_inference_steps": 9},
        {"guidance_scale": 2.0},
    ],
)
def test_every_field_is_in_the_id(change):
    assert Edit(("effusion",)).id != Edit(("effusion",), **change).id


@pytest.mark.parametrize(
    "wrong",
    [
        {"findings": ()},
        {"strength": 0},
        {"strength": 1.01},
        {"guidance_scale": -1},
        {"num_inference_steps": 0},
        {"seed": -1},
        {"scheduler": "euler"},
        {"side": "top"},
        {"findings": ("cardiomegaly",), "side": "left"},
        {"findings": ("no finding",), "action": "remove"},
    ],
)
def test_an_edit_out_of_range_is_refused(wrong):
    with pytest.raises(EditError):
        Edit(**{"findings": ("effusion",), **wrong})


def test_prompts_name_side_severity_and_every_finding():
    edit = Edit(("effusion", "cardiomegaly"), side="both", severity="severe")
    said = "severe bilateral pleural effusion and severe cardiomegaly"
    assert PROFILES["mini"].pair(edit) == (said, "")
    assert PROFILES["roentgen-v2"].prompt(edit) == said + "."


def test_removal_swaps_the_prompts_and_a_sham_is_normal():
    edit = Edit(("effusion",), action="remove")
    assert PROFILES["mini"].pair(edit) == ("", "pleural effusion")
    assert PROFILES["mini"].pair(edit.sham()) == ("", "")
