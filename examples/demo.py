"""The main jobs: edits of a real radiograph, and an audit of two classifiers.

Six findings are added at native resolution, DICOM and PNG out: once by the generator `mini`, once
by the painter, whose edits are exact. Then two bundled classifiers are audited on phantoms; one of
them has learned that an effusion and a large heart go together. Last, a small reader study is
designed, answered by simulated readers, and analysed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import data_store

FINDINGS = ("cardiomegaly", "pleural effusion", "edema", "consolidation", "nodule", "pneumothorax")
SOURCE = Path(data_store.__file__).parent / "data" / "RG1_UNCI.dcm"
OUT = Path("demo")
# Debian's validator is older than the Synthetic Data attribute and calls it unknown.
UNKNOWN_TO_VALIDATOR = "(0008,001c)"


def validate(files: list[Path]) -> int:
    """Run dciodvfy over `files` and return how many errors it finds."""
    errors = []
    for file in files:
        done = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        errors += [line for line in lines if line.startswith("Error")]
    known = [line for line in errors if UNKNOWN_TO_VALIDATOR in line]
    others = [line for line in errors if UNKNOWN_TO_VALIDATOR not in line]
    print("\n".join(others), end="")
    print(f"dciodvfy: {len(files)} files, {len(others)} errors", end="")
    print(f" (and {len(known)} times 'unknown attribute' for Synthetic Data (0008,001C))")
    return len(others)


def audit() -> None:
    """Audit the bundled classifiers through the command line: demo/report.html."""
    command = [str(Path(sys.executable).with_name("roentmod")), "audit"]
    for name in ("honest", "shortcut"):
        command += ["--classifier", f"demo:{name}"]
    command += ["--data", "phantoms:40", "--editor", "painter", "--doses", "severity"]
    subprocess.run([*command, "--out", str(OUT / "audit")], check=True)
    shutil.copyfile(OUT / "audit" / "report.html", OUT / "report.html")


def readers() -> Path:
    """Return the page of a small reader study, which simulated readers answer."""
    import roentmod as rm
    from roentmod.jobs.readers import analyse, making, simulate
    from roentmod.plans import ReadersPlan

    edits, study, answers = OUT / "set", OUT / "study", OUT / "simulated.parquet"
    findings = ["Edema", "Pleural Effusion", "Cardiomegaly"]
    rm.augment("phantoms:18", findings=findings, editor="painter", gate_logit=None, out=edits)
    plan = ReadersPlan(
        readers=4, edited=18, positives=0, normals=18, repeats=8, attention=4, practice=2, pairs=12,
        side=512,
    )  # fmt: skip
    making.make(study, edits, rm.load("phantoms:60:100"), plan)
    simulate.run(study, answers)
    return analyse.run(study, answers=answers).report()


def main() -> None:
    """Run the jobs through the command line, then say where to look."""
    # A demonstration shows the whole work: nothing is kept from an earlier run.
    shutil.rmtree(OUT, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("roentmod")), "edit", str(SOURCE), "--keep-ids"]
    for finding in FINDINGS:
        command += ["--add", finding]
    started = time.perf_counter()
    # The patient has masses, which an opacity beside them is to leave as they are.
    drawn = [*command, "--composite", "one-way", "--seed", "2", "--format", "dicom"]
    subprocess.run([*drawn, "--format", "png", "--out", OUT], check=True)
    seconds = time.perf_counter() - started
    shutil.copyfile(OUT / SOURCE.stem / "edits.png", OUT / "edits.png")
    print(f"{len(FINDINGS)} counterfactuals with shams and pictures in {seconds:.0f} s")
    painted = OUT / "painted"
    command += ["--editor", "painter", "--format", "png"]
    subprocess.run([*command, "--out", painted], check=True)
    shutil.copyfile(painted / SOURCE.stem / "edits.png", OUT / "painted.png")
    audit()
    study = readers()
    wrong = validate(sorted(OUT.rglob("*.dcm"))) if shutil.which("dciodvfy") else 0
    print(
        "This patient has masses already (so --composite one-way); the judge misses some findings."
    )
    print("'honest' was given no shortcut; what the audit finds in it, it learned by itself.")
    print(f"Look at {OUT / 'edits.png'} (mini), {OUT / 'painted.png'} (painter),")
    print(f"and open {OUT / 'report.html'} in a browser (the audit)")
    print(f"and {study.relative_to(Path.cwd())} (a reader study; its readers are simulated)")
    print(f"Edit in a browser: {command[0]} studio {SOURCE}")
    audited = f"{OUT / 'audit'} --data phantoms:40 --editor painter"
    print(f"Go through the audit there: {command[0]} studio {audited}")
    print(f"Read the study there yourself: {command[0]} readers serve {OUT / 'study'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
