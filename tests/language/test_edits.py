from dataclasses import replace

import pytest

from roentmod.domain import FINDINGS, finding
from roentmod.edits import Edit
from roentmod.errors import EditError, UnknownFindingError
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
        {"region": "left lower zone"},
        {"hold": ("cardiomegaly",)},
    ],
)
def test_every_field_is_in_the_id(change):
    assert Edit(("effusion",)).id != Edit(("effusion",), **change).id


@pytest.mark.parametrize(
    ("edit", "known"),
    [
        (Edit(("effusion",)), "d1998fdaff15"),
        (Edit(("edema", "cardiomegaly"), severity="mild", seed=3, strength=0.5), "091bb61fbe72"),
        (Edit(prompt="big heart", arm="sham", composite="none"), "cbee719a9442"),
        (
            Edit(
                ("nodule",),
                action="remove",
                side="left",
                scheduler="pndm",
                num_inference_steps=20,
            ),
            "657887eb8fa8",
        ),
    ],
)
def test_an_edit_without_region_and_hold_keeps_the_id_it_had_before_there_were_any(edit, known):
    assert edit.id == known


def test_one_region_and_one_set_of_held_findings_is_one_edit():
    spelt = Edit(("edema",), region="Left  mid-zone + both bases", hold=("effusion", "mass"))
    other = Edit(("edema",), region="bases + left middle zones", hold=("Mass", "Mass", "effusion"))
    assert spelt == other
    assert spelt.id == other.id
    assert spelt.hold == ("Mass", "Pleural Effusion")
    assert spelt.label == "add-edema-in-left-middle-zone+both-bases-holding-mass+pleural-effusion"


def test_a_region_on_one_side_gives_the_side_to_findings_that_have_one():
    assert Edit(("effusion",), region="right base").side == "right"
    assert Edit(("effusion",), region="retrocardiac").side == "left"
    assert Edit(("effusion",), region="right base") == Edit(
        ("effusion",), region="right base", side="right"
    )
    assert Edit(("effusion",), region="bases").side is None
    assert Edit(("cardiomegaly",), region="right base").side is None
    assert Edit(prompt="fluid", region="right base").side is None


def test_a_sham_stays_in_the_region():
    edit = Edit(("effusion",), region="right base", hold=("mass",))
    assert edit.sham().region == "right base"
    assert edit.sham().arm == "sham"


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
        {"region": ""},
        {"region": "left lower lobe"},
        {"region": "around"},
        {"region": "usual", "side": "top"},
        {"region": "usual", "findings": (), "prompt": "fluid"},
        {"region": "usual", "findings": ("text marker",)},
        {"region": "left lower zone", "side": "right"},
        {"region": "left lower zone", "side": "both"},
        {"hold": ("effusion",)},
        {"hold": ("no finding",)},
        {"hold": ("big heart",)},
    ],
)
def test_an_edit_out_of_range_is_refused(wrong):
    with pytest.raises(EditError):
        Edit(**{"findings": ("effusion",), **wrong})


@pytest.mark.parametrize(
    ("findings", "action", "direction"),
    [
        (("effusion",), "add", 1),
        (("effusion", "nodule"), "add", 1),
        (("effusion",), "remove", -1),
        (("emphysema",), "add", -1),
        (("emphysema", "effusion"), "add", 0),
        # Gas, and a lung that is denser for it.
        (("pneumothorax",), "add", 0),
        ((), "add", 0),
    ],
)
def test_one_way_goes_in_the_direction_of_findings_that_have_one(findings, action, direction):
    edit = Edit(findings, action=action, composite="one-way", prompt="dense")
    assert edit.direction == direction
    assert edit.control == "baseline"
    assert replace(edit, composite="sham").direction == 0


def test_prompts_name_side_severity_and_every_finding():
    edit = Edit(("effusion", "cardiomegaly"), side="both", severity="severe")
    said = "severe bilateral pleural effusion and severe cardiomegaly"
    assert PROFILES["mini"].pair(edit) == (said, "")
    assert PROFILES["roentgen-v2"].prompt(edit) == said + "."


def test_the_usual_region_is_that_of_the_findings_at_their_side():
    usual = Edit(("effusion",), region="usual")
    said = "around both lower zones + around both costophrenic angles"
    assert (usual.region, usual.side) == (said, None)
    left = Edit(("effusion",), side="left", region="usual")
    assert left.region == "around left lower zone + around left costophrenic angle"
    assert Edit(("mass",), region="usual").label == "add-mass-around-both-lungs"
    assert Edit(("effusion", "cardiomegaly"), region="usual").region == f"{said} + around heart"


def test_severity_scales_the_guidance_where_the_profile_says_so():
    profile = replace(PROFILES["mini"], severity={"mild": 0.25, "severe": 2.0, "unsaid": 1.5})
    scales = {
        level: profile.guidance(Edit(("edema",), severity=level))
        for level in (None, "mild", "moderate", "severe")
    }
    assert scales == {None: 6, "mild": 1, "moderate": 4, "severe": 8}
    # What is not guided stays so, and no factor turns guidance round.
    assert profile.guidance(Edit(("edema",), severity="severe", guidance_scale=0.5)) == 0.5
    assert profile.guidance(Edit(("edema",), severity="mild", guidance_scale=2)) == 1
    # Nor does a sham that is told nothing become another picture.
    assert profile.guidance(Edit(("edema",), severity="severe").sham()) == 4
    assert PROFILES["roentgen"].guidance(Edit(("edema",), severity="mild")) == 4
    # A finding may have factors of its own, and several findings the mean of theirs.
    apart = replace(profile, severity={"mild": 0.5, "Mass": {"mild": 0.75}})
    for names, scale in ((("edema",), 2), (("mass",), 3), (("edema", "mass"), 2.5)):
        assert apart.guidance(Edit(names, severity="mild")) == scale


def test_a_profile_may_say_a_severity_where_the_edit_leaves_it_open():
    profile = replace(PROFILES["roentgen"], unsaid={"Mass": "severe"})
    assert profile.prompt(Edit(("mass", "edema"))) == "severe lung mass and pulmonary edema"
    assert profile.prompt(Edit(("mass",), severity="mild")) == "mild lung mass"


def test_removal_swaps_the_prompts_and_a_sham_is_normal():
    edit = Edit(("effusion",), action="remove")
    assert PROFILES["mini"].pair(edit) == ("", "pleural effusion")
    assert PROFILES["mini"].pair(edit.sham()) == ("", "")


def test_a_generator_that_was_taught_absences_is_told_them():
    profile = replace(PROFILES["mini"], absent="no {finding}", severity={"unsaid": 2.0})
    edit = Edit(("effusion", "mass"), action="remove")
    assert profile.pair(edit) == ("no pleural effusion and no lung mass", "")
    # An absence has no severity, and a user's own words are gone away from as before.
    assert profile.guidance(edit) == 4
    own = replace(edit, prompt="fluid")
    assert profile.pair(own) == ("", "fluid")
    assert profile.guidance(own) == 8
    assert profile.pair(replace(edit, action="add"))[0] == "pleural effusion and lung mass"


@pytest.mark.parametrize(
    ("change", "control"),
    [
        ({}, "baseline"),
        ({"composite": "baseline"}, "sham"),
        ({"composite": "none"}, "sham"),
        ({"composite": "none", "action": "remove"}, "baseline"),
    ],
)
def test_the_control_is_what_lacks_only_the_finding(change, control):
    assert Edit(("mass",), **change).control == control


def looks(count, edit, spots=None):
    """Return a profile's prompts of one edit in many baselines."""
    usual = {
        "Nodule": {
            "smooth": {"peripheral upper zone": 0.3, "perihilar base": 0.2},
            "spiculated": {"midclavicular middle zone": 0.5},
        },
        "Cardiomegaly": {"globular": {"": 1.0}},
    }
    profile = replace(PROFILES["mini"], usual=usual)
    return [profile.pair(edit, f"{n}", spots)[0] for n in range(count)]


def test_baseline_and_seed_draw_the_look_that_an_edit_leaves_open():
    said = looks(400, Edit(("nodule",), severity="mild"))
    assert said == looks(400, Edit(("nodule",), severity="mild"))
    assert said != looks(400, Edit(("nodule",), severity="mild", seed=1))
    assert len(set(said)) == 6
    assert "mild peripheral left-sided upper zone lung nodule, smooth" in said
    assert 160 < sum("spiculated" in words for words in said) < 240
    assert 160 < sum("left-sided" in words for words in said) < 240
    sided = looks(50, Edit(("nodule", "cardiomegaly"), side="right"))
    assert all("right-sided" in one and one.endswith("cardiomegaly, globular") for one in sided)
    assert "bilateral lung nodule, smooth" in looks(20, Edit(("nodule",), side="both"))
    # Without a radiograph nothing is drawn.
    profile = replace(PROFILES["mini"], usual={"Nodule": {"smooth": {"perihilar base": 1.0}}})
    assert profile.prompt(Edit(("nodule",))) == "lung nodule"


def test_looks_keep_to_the_area_that_may_change():
    edit = Edit(("nodule",))
    inside = looks(20, edit, {("left", "perihilar base")})
    assert set(inside) == {"perihilar left-sided base lung nodule, smooth"}
    # An area where no usual place is: no place is said, and no other side.
    elsewhere = looks(20, edit, {("right", "peripheral apex")})
    assert set(elsewhere) == {
        "right-sided lung nodule, smooth",
        "right-sided lung nodule, spiculated",
    }


def test_a_form_is_a_word_of_the_prompt():
    edit = Edit(("nodule",), form="spiculated")
    assert set(looks(9, edit)) == {
        f"midclavicular {side}-sided middle zone lung nodule, spiculated"
        for side in ("left", "right")
    }
    assert edit.label == "add-spiculated-nodule"
    assert edit.id != Edit(("nodule",)).id
    assert PROFILES["roentgen"].prompt(edit) == "lung nodule, spiculated"
    with pytest.raises(EditError, match="Forms of Nodule that mini draws are smooth, spiculated;"):
        looks(1, Edit(("nodule",), form="square"))
    with pytest.raises(EditError, match="a word about a finding"):
        Edit((), prompt="fluid", form="patchy")
