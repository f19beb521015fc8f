"""Radiographs that are edited together come out as each by itself."""

import pytest

from roentmod import datasets
from roentmod.jobs import audit, augment, validate
from roentmod.jobs import edit as editing
from roentmod.jobs import plant as planting
from tests.jobs.augment.conftest import PLAN
from tests.jobs.augment.parts import FINDINGS, Dabber, Eye, chosen, write_source
from tests.jobs.validate.fake import SMALL, Blocks
from tests.runs.kill import contents


class Together(Dabber):
    """The dabber, which takes three radiographs at once."""

    at_once = 3

    def __init__(self, refused=0):
        super().__init__()
        self.refused, self.batches = refused, []

    def edit_each(self, radiographs, edits, *, masks=None):
        self.batches.append(len(radiographs))
        if len(self.batches) == self.refused:
            raise RuntimeError("out of memory")
        return [self.edit([one], own)[:] for one, own in zip(radiographs, edits, strict=True)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("drawn"))


def _augment(data, editor, folder):
    augment.run(data, chosen(data), editor, PLAN, folder, judge=Eye())


def _edit(data, editor, folder):
    output = editing.Output(folder)
    edits = [edit for some in PLAN.assign(["x"]).values() for edit in some]
    editing.run(sorted(data.root.glob("*.png")), edits, editor, output)


def _plant(data, editor, folder):
    hosts = list(data.table["image_id"])
    planting.run(data, hosts, editor, planting.PlantPlan(findings=FINDINGS), folder)


def _audit(data, editor, folder):
    plan, rules = audit.AuditPlan(findings=FINDINGS[:2]), audit.Rules(resamples=200, flips=199)
    audit.run(data, chosen(data), editor, {"eye": Eye()}, plan, folder, rules=rules, judge=Eye())


def _validate(data, editor, folder):
    plan = validate.ValidatePlan(findings=FINDINGS[:1], **(SMALL | {"swept": 0, "worded": 0}))
    validate.run(data, chosen(data), editor, plan, folder, extractor=Blocks(), classifier=Eye())


@pytest.mark.parametrize("job", [_augment, _audit, _edit, _plant, _validate])
@pytest.mark.parametrize("refused", [0, 2])
@pytest.mark.slow
def test_batches_give_what_single_ones_give(data, tmp_path, job, refused):
    together = Together(refused)
    job(data, together, tmp_path / "together")
    job(data, Dabber(), tmp_path / "singly")
    assert together.batches[:3] == [3, 3, 2]
    timed = ("edits.json",)
    assert contents(tmp_path / "together", timed) == contents(tmp_path / "singly", timed)


@pytest.mark.slow
def test_one_that_cannot_be_read_costs_nobody_else(data, tmp_path):
    copy = tmp_path / "data"
    copy.mkdir()
    for path in data.root.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "4.png").write_bytes(b"torn")
    torn = datasets.load(copy)
    made = augment.run(torn, chosen(torn), Together(), PLAN, tmp_path / "run", judge=Eye())
    bad = made.manifest[made.manifest["status"] == "unreadable"]
    assert set(bad["baseline_id"]) == {"4.png"}
    assert len(set(made.training["baseline_id"])) == 7
