"""The public functions and the commands in another domain, in a process of its own.

A pack can only be registered before data are loaded, which other tests do. Prints what happened as
JSON; `test_ct_slice` judges it.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import torch

from roentmod import cli, domain
from roentmod.errors import RoentModError
from tests.domains import slices
from tests.tiny import write_generator

PATIENTS = 24


def command(*arguments):
    """Return exit code and what a command said."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["roentmod", *map(str, arguments)]
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def refused(function, *arguments, **more):
    try:
        function(*arguments, **more)
    except RoentModError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"


def commands(root, pack):
    # The pack's judge is Python.
    usual = ("--domain", pack, "--out", root / "cli", "--trust")
    generator = ("--editor", root / "tiny", "--engine", "torch", "--steps", 5)
    ct, data = root / "slice.dcm", root / "slices"
    edit = ("edit", ct, *usual, *generator)
    audit = ("audit", *usual, *generator, "--data", data, "--baselines", 3)
    audit += ("--classifier", "python:tests.domains.slices:honest")
    finding = ("--add", "liver lesion")
    formats = ("--format", "png", "--format", "same")
    return {
        "edit": command(*edit, *finding, "--hold", "ascites", "--json", *formats),
        "audit": command(*audit),
        "foreign edit": command(*edit, "--add", "edema"),
        "foreign audit": command(*audit, "--findings", "Edema"),
        "foreign hold": command(*edit, *finding, "--hold", "Mass"),
        "linked": command(*edit, *finding, "--hold", "linked"),
        "region": command(*edit, *finding, "--region", "heart"),
        "painter": command("edit", ct, *usual, *finding, "--editor", "painter"),
        "phantoms": command(*audit, "--data", "phantoms:3"),
        "validate": command("validate", *usual, "--data", data),
    }


def door(root):
    """Read slices from DICOM, fit and unfit."""
    from roentmod import imaging

    hu = slices.slice_hu(0)
    made = imaging.read(root / "slice.dcm")
    wrong = {
        "plane": {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
        "part": {"BodyPartExamined": "HEAD"},
        "rescale": {"RescaleIntercept": None},
        "unit": {"RescaleType": "US"},
        "modality": {"Modality": "MR"},
    }
    said = {
        name: refused(imaging.read, slices.write_dicom(root / f"{name}.dcm", hu, **tags))
        for name, tags in wrong.items()
    }
    record = json.loads((root / "cli" / "edits.json").read_text())
    again = imaging.read(root / "cli" / record["items"][0]["files"]["counterfactual.dcm"]["path"])
    return said | {
        "window": [float(again.origin[n].value) for n in ("WindowCenter", "WindowWidth")],
        "written": [str(again.origin[n].value) for n in ("Modality", "BodyPartExamined")],
        "error": float(np.abs(made.pixels - slices.windowed(hu)).max()),
        "spacing": made.spacing_mm,
    }


def functions(root):
    """Audit by the public functions, with an editor and readers that are Python."""
    from roentmod import Edit, Editor, classifiers, datasets, imaging
    from roentmod.domain import FINDINGS
    from roentmod.jobs import audit

    data = datasets.load(root / "slices")
    chosen = datasets.baselines(data)
    forms = {n: f"python:tests.domains.slices:{n}" for n in ("judge", "honest", "shortcut")}
    readers = {name: classifiers.load(form, trust=True) for name, form in forms.items()}
    judge = readers.pop("judge")
    result = audit.run(
        data,
        chosen.table,
        slices.Draughtsman(),
        readers,
        audit.AuditPlan(findings=slices.FINDINGS),
        root / "audit",
        rules=audit.Rules(resamples=300, flips=499, exact=True),
        judge=judge,
    )
    result.report()
    tiny = Editor.load(root / "tiny", engine="torch", profile="ct-slice")
    generic = Editor.load(root / "tiny", engine="torch", profile="generic")
    picture = imaging.read(root / "slices" / "0.png")
    lesion = Edit(("liver lesion",), num_inference_steps=5, region="left lung")
    late = domain.load(root / "late.toml")
    return {
        "catalogue": [item.name for item in FINDINGS],
        "chosen": len(chosen),
        "ill": data.table.set_index("image_id").loc["ill.png", list(slices.FINDINGS)].tolist(),
        "verdicts": {one.name: one.verdict for one in result},
        "shortcuts": {one.name: one.shortcuts() for one in result},
        "foreign": refused(tiny.edit, [picture], [Edit(("edema",), num_inference_steps=5)]),
        "no judge": refused(
            audit.run,
            data,
            chosen.table,
            slices.Draughtsman(),
            readers,
            audit.AuditPlan(findings=slices.FINDINGS),
            root / "unjudged",
        ),
        "generic": refused(generic.edit, [picture], [Edit(("ascites",), num_inference_steps=5)]),
        "region": refused(tiny.parts.profile.pair, lesion),
        "late": refused(domain.register, late),
    }


def main(root):
    torch.set_num_threads(1)
    pack = root / "pack.toml"
    text = domain.BUNDLED["ct-slice"].read_text()
    judged = 'judge = "python:tests.domains.slices:judge"\nwindow ='
    pack.write_text(text.replace("window =", judged, 1))
    (root / "late.toml").write_text(
        text.replace('"ct-slice"', '"late"', 1).replace("profiles.ct-slice", "profiles.late")
    )
    slices.write_folder(root / "slices", PATIENTS)
    slices.write_dicom(root / "slice.dcm", slices.slice_hu(0))
    write_generator(root / "tiny")
    (root / "tiny" / "profile.json").write_text('{"name": "ct-slice", "domain": "ct-slice"}')
    said = {"commands": commands(root, pack), "door": door(root), "functions": functions(root)}
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
