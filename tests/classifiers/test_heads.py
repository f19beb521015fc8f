import pytest

from roentmod.classifiers.heads import Head, map_heads, table
from roentmod.domain import FINDINGS
from roentmod.errors import ClassifierError

NAMES = [
    "Effusion",
    "Pleural_Thickening",
    "",
    "Lung Lesion",
    "No Finding",
    "Pleural Effusion",
    "Mass",
]


def test_every_head_is_listed_with_what_becomes_of_it():
    heads = map_heads(NAMES, untrained={6})
    assert [(h.name, h.finding, h.state) for h in heads] == [
        ("Effusion", "Pleural Effusion", "read"),
        ("Pleural_Thickening", "Pleural Thickening", "read"),
        ("", None, "untrained"),
        ("Lung Lesion", None, "unmapped"),
        ("No Finding", None, "unmapped"),
        ("Pleural Effusion", "Pleural Effusion", "duplicate"),
        ("Mass", None, "untrained"),
    ]
    assert all(h.note for h in heads if h.state != "read")
    assert "'Effusion'" in heads[5].note


def test_the_users_labels_come_before_the_aliases():
    labels = {"Lung Lesion": "mass", "Effusion": None, "No Finding": "normal", "Mass": "Nodule"}
    heads = map_heads(NAMES, labels)
    assert {h.name: h.finding for h in heads if h.state == "read"} == {
        "Pleural_Thickening": "Pleural Thickening",
        "Lung Lesion": "Mass",
        "No Finding": "No Finding",
        "Pleural Effusion": "Pleural Effusion",
        "Mass": "Nodule",
    }


def test_canonical_names_need_no_labels():
    names = [f.name for f in FINDINGS[1:]]
    assert [h.finding for h in map_heads(names)] == names
    assert {h.state for h in map_heads(names)} == {"read"}


@pytest.mark.parametrize(
    ("names", "labels", "said"),
    [
        (["Edema"], {"Odema": "Edema"}, "must name heads"),
        (["Edema"], {"Edema": "Odema"}, "Did you mean 'Edema'"),
        (["LABEL_0", "LABEL_1"], None, "Give labels="),
        (["Edema"], {"Edema": None}, "Give labels="),
    ],
)
def test_labels_that_do_not_fit_are_refused(names, labels, said):
    with pytest.raises(ClassifierError, match=said):
        map_heads(names, labels)


def test_the_table_shows_all_heads():
    text = table([Head("Effusion", "Pleural Effusion", "read"), Head("", None, "untrained", "why")])
    assert text.splitlines() == [
        "head      finding           state      note",
        "Effusion  Pleural Effusion  read",
        '""        -                 untrained  why',
    ]
