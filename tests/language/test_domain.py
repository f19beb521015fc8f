"""Domain packs as files and in the registry; what they do to a process is in tests/domains."""

from dataclasses import replace

import pytest

from roentmod import domain
from roentmod.domain import BUNDLED, FINDINGS, Finding, finding, load
from roentmod.errors import EditError, InputError
from roentmod.prompts import PROFILES

PACK = """
name = "knee"
statement = "knee radiograph"
modalities = ["dx"]
views = ["frontal"]
window = "bone"

[windows.bone]
centre = 300
width = 1500

[[findings]]
name = "Joint Effusion"
phrase = "joint effusion"
aliases = ["Fluid"]
sided = true

[profiles.knee]
normal = "normal knee"
"""
OWN = '"Joint Effusion"'


@pytest.fixture
def write(tmp_path):
    def made(text):
        (tmp_path / "knee.toml").write_text(text)
        return tmp_path / "knee.toml"

    return made


def test_a_pack_is_what_its_file_says(write):
    pack = load(write(PACK))
    assert (pack.name, pack.statement, pack.modalities) == ("knee", "knee radiograph", ("DX",))
    assert pack.findings == (Finding("Joint Effusion", "joint effusion", ("fluid",), True, "knee"),)
    assert pack.window == (-450, 1050)
    assert (pack.anatomy, pack.judge, pack.body_parts) == ("", None, ())
    assert pack.profiles == {"knee": {"normal": "normal knee"}}


def test_a_judge_beside_the_pack_is_found_from_anywhere(write, tmp_path):
    (tmp_path / "eye.onnx").write_text("")
    for form, place in (
        ("onnx:eye.onnx", f"onnx:{tmp_path}/eye.onnx"),
        ("eye.onnx", f"{tmp_path}/eye.onnx"),
        ("python:own.readers:eye", "python:own.readers:eye"),
    ):
        assert load(write(f'judge = "{form}"\n{PACK}')).judge == place


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"knee"', "knee", "TOML file in UTF-8"),
        ('name = "knee"', "", "no 'name'"),
        ('name = "knee"', 'name = "Knee MR"', "got 'Knee MR'"),
        ("[[findings]]", "[[finding]]", "'finding', which is none"),
        ('phrase = "joint effusion"', "", "finding 1 .* no 'phrase'"),
        ("sided = true", 'sided = "yes"', "sided is true or false; got 'yes'"),
        ("sided = true", "sided = 1", "sided is true or false; got 1"),
        ('["Fluid"]', "[3]", "got 3 in it"),
        ('"Joint Effusion"', '"Effusion + Pus"', "none of"),
        ('["frontal"]', '["oblique"]', "axial.*got 'oblique'"),
        ('["frontal"]', "[]", "Views are of"),
        ('window = "bone"', 'window = "soft"', r"\(bone\); got 'soft'"),
        ("width = 1500", "width = 0", "width above 0"),
        ("width = 1500", "", "window bone .* no 'width'"),
        ("width = 1500", "width = true", "width is a number; got True"),
        ('statement = "', 'anatomy = "knee"\nstatement = "', "only anatomy known is chest"),
        ('normal = "normal knee"', 'normal = "n"\ntemplate = "knee"', "{impression}"),
        ('normal = "normal knee"', 'normal = "n"\nsize = 5.5', "size is a whole number; got 5.5"),
        (
            'normal = "normal knee"',
            'normal = "n"\ntemplate = "{impression.__class__}"',
            "no other braces",
        ),
        ("sided = true", 'sided = true\ndensity = "dense"', "density is more or less; got 'dense'"),
        ('normal = "normal knee"', 'normal = "n"\nsize = 5000', "size of a profile is 8 to 4096"),
        ('normal = "normal knee"', 'normal = "n"\nscheduler = "zz"', "one of ddim.*got 'zz'"),
        ('normal = "normal knee"', 'normal = "n"\nspeed = 5', "'speed', which is none"),
        ('normal = "normal knee"', 'normal = "n"\nseverity = 2', "severity is a table; got 2"),
        (
            'normal = "normal knee"',
            'normal = "n"\nseverity = {mild = 0}',
            "mild = 0 for knee",
        ),
        (
            'normal = "normal knee"',
            'normal = "n"\nseverity = {tiny = 1}',
            "tiny = 1 for knee",
        ),
        ('normal = "normal knee"', 'normal = "n"\nseverity = {A = {mild = 1}}', "got 'A' for knee"),
        (
            'normal = "normal knee"',
            f'normal = "n"\nseverity = {{{OWN} = {{B = 1}}}}',
            "B = 1 for Jo",
        ),
        ('normal = "normal knee"', f'normal = "n"\nunsaid = {{{OWN} = "big"}}', "'big' for Joint"),
        ('normal = "normal knee"', 'normal = "n"\nunsaid = {Fluid = "mild"}', "got 'Fluid' for"),
    ],
)
def test_a_wrong_pack_is_refused_in_one_line(write, old, new, said):
    assert old in PACK
    with pytest.raises(InputError, match=said) as error:
        load(write(PACK.replace(old, new, 1)))
    assert str(error.value).startswith("knee.toml: ")
    assert "\n" not in str(error.value)


def test_a_pack_needs_a_finding_and_a_file(write, tmp_path):
    head, _, rest = PACK.partition("[[findings]]")
    with pytest.raises(InputError, match="one finding at least"):
        load(write(f"findings = []\n{head}[profiles.{rest.partition('[profiles.')[2]}"))
    with pytest.raises(InputError, match="TOML file; got 'mri'"):
        load("mri")


def test_the_bundled_packs_are_sound():
    packs = [load(name) for name in BUNDLED]
    assert {pack.name for pack in packs} == set(BUNDLED) == {"cxr", "ct-slice"}
    registry = domain._Registry()
    for pack in packs:
        registry.add(pack)
    for pack in packs:
        for item in pack.findings:
            assert item.domain == pack.name
            assert registry.by_key[domain.key(item.phrase)] is item
    assert load("ct-slice").window == (-160, 240)


def test_chest_radiographs_are_always_there():
    assert domain.named("cxr") in domain.registered()
    assert set(domain.named("cxr").findings) <= set(FINDINGS)
    assert FINDINGS[0] is finding("normal")
    assert PROFILES["mini"].domain == "cxr"
    assert len(PROFILES) == len(list(PROFILES)) >= 5
    assert "nobody's" not in PROFILES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "cxr"}, "another cxr"),
        ({"profiles": {"mini": {"normal": ""}}}, "Profile mini of knee is cxr's"),
        ({"findings": (Finding("Edema", "swelling"),)}, "'Edema' of Edema .* means Edema"),
        ({"findings": (Finding("Bone Edema", "edema"),)}, "'edema' of Bone Edema .*means Edema"),
        ({"findings": (Finding("Fit", "normal"),)}, "means No Finding .every domain"),
        (
            {"findings": (Finding("Cyst", "cyst"), Finding("Other", "o", ("CYST",)))},
            "means Cyst",
        ),
    ],
)
def test_words_and_profiles_belong_to_one_pack(write, change, said):
    registry = domain._Registry()
    registry.add(load("cxr"))
    before = dict(registry.by_key)
    with pytest.raises(InputError, match=said):
        registry.add(replace(load(write(PACK)), **change))
    assert (list(registry.packs), registry.by_key) == (["cxr"], before)


def test_the_catalogue_closes_the_registry_to_all_but_the_same(write):
    registry = domain._Registry()
    registry.add(load(write(PACK)))
    registry.read = True
    registry.add(load(write(PACK)))
    with pytest.raises(InputError, match="ct-slice came after"):
        registry.add(load("ct-slice"))


def test_a_domain_knows_its_own(write):
    pack = load(write(PACK))
    assert pack.own([*pack.findings, finding("no finding")]) == ("Joint Effusion", "No Finding")
    with pytest.raises(EditError, match="knee are: Joint Effusion; got Edema of cxr"):
        pack.own([finding("edema")])
    with pytest.raises(EditError, match=r"made for chests; got the domain knee \(knee radiograph"):
        pack.need_chest("A ruler")
    domain.named("cxr").need_chest("A ruler")


def test_an_installed_pack_is_found_by_its_name(write, monkeypatch):
    class Point:
        name = "knees"

        def load(self):
            return lambda: str(write(PACK))

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()])
    assert load("knees").name == "knee"
