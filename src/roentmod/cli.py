"""The command line: arguments in, the public functions below, exit codes out.

Exit codes: 0 done; 2 bad arguments, weights or mask; 3 some radiographs could not be edited or some
classifier did not answer; 4 an audit's gate failed; 130 interrupted (what was finished stays).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import roentmod
from roentmod import doctor as checks
from roentmod.edits import Action, Composite, Edit, Scheduler, Severity, Side
from roentmod.errors import EditError, RoentModError

__all__ = ["app", "main"]

_ERRORS = Console(stderr=True)
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
log = logging.getLogger("roentmod")
FAILED_ITEMS, USAGE, GATE, INTERRUPTED = 3, 2, 4, 130
Engine = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
Precision = Literal["float32", "float16", "bfloat16"]


class _Lines(logging.Handler):
    """Prints each message as one line above the progress bar, however narrow the window."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = f"{record.levelname.lower()}: {record.getMessage()}"
        _ERRORS.print(text, soft_wrap=True, markup=False, highlight=False)


@app.callback()
def _root() -> None:
    """Edit findings in chest radiographs. Research software; not for clinical use."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(roentmod.__version__)


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and how to get it."""
    table = Table("part", "state", "found", "remedy", box=None)
    found = checks.examine()
    for check in found:
        table.add_row(*check)
    Console().print(table)
    raise typer.Exit(1 if any(check.state == "missing" for check in found) else 0)


@app.command()
def edit(
    images: Annotated[list[Path], typer.Argument(help="DICOM, PNG, JPEG or TIFF files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    add: Annotated[
        list[str] | None,
        typer.Option(help="Finding to add; repeat for more edits; 'A + B' adds both in one edit."),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Finding to remove; as --add.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Free prompt, instead of our wording.")] = None,
    side: Annotated[Side | None, typer.Option(help="The patient's side.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="How much of it.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="PNG of the radiograph's shape; only its bright part changes."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(help="Where it may change, in words: 'left lower zone', 'heart + both hila'."),
    ] = None,
    hold: Annotated[
        list[str] | None, typer.Option(help="Finding that must not come along; repeat.")
    ] = None,
    strength: Annotated[float, typer.Option(help="Fraction of the noise schedule, (0, 1].")] = 0.4,
    guidance_scale: Annotated[float, typer.Option(help="Classifier-free guidance.")] = 4.0,
    steps: Annotated[
        int | None, typer.Option(help="num_inference_steps; default: the generator's.")
    ] = None,
    scheduler: Annotated[
        Scheduler | None, typer.Option(help="Sampler; default: the generator's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Noise, together with the radiograph.")] = 0,
    editor: Annotated[
        str, typer.Option(help="mini, painter, a diffusers folder, or a hub id.")
    ] = "mini",
    host: Annotated[
        str | None, typer.Option(help="Folder or hub id that gives autoencoder and scheduler.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Prompt profile; default: told by the folder.")
    ] = None,
    composite: Annotated[
        Composite, typer.Option(help="How the change returns to native resolution.")
    ] = "sham",
    format: Annotated[
        list[str] | None,
        typer.Option(help="png, dicom or same (as the input, the default); may be repeated."),
    ] = None,
    secondary_capture: Annotated[
        bool, typer.Option("--secondary-capture", help="Write DICOM as secondary capture.")
    ] = False,
    deidentify: Annotated[bool, typer.Option(help="Keep nothing that names the patient.")] = True,
    engine: Annotated[
        Engine,
        typer.Option(help="What runs the model."),
    ] = "auto",
    device: Annotated[str, typer.Option(help="torch device, such as cuda.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the model.")] = "float32",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same bits in any company; slower.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load .bin weights, which can run code.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print edits.json.")] = False,
) -> None:
    """Add or remove findings in chest radiographs."""
    common: dict[str, Any] = {
        "prompt": prompt,
        "side": side,
        "severity": severity,
        "region": region,
        "hold": tuple(hold or ()),
        "strength": strength,
        "guidance_scale": guidance_scale,
        "num_inference_steps": steps,
        "scheduler": scheduler,
        "seed": seed,
        "composite": composite,
    }
    edits = plan(add or [], remove or [], common)
    from roentmod.editing import Format, Output, run
    from roentmod.editors import Editor

    output = Output(
        out,
        cast("tuple[Format, ...]", tuple(format or ["same"])),
        not deidentify,
        secondary_capture,
    )
    loaded = Editor.load(
        editor,
        host=host,
        engine=engine,
        deterministic=deterministic,
        allow_pickle=allow_pickle,
        profile=profile,
        device=device,
        precision=precision,
    )
    columns = (TextColumn("editing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_ERRORS) as bar:
        task = bar.add_task("editing", total=len(images) * len(edits))
        record = run(
            images,
            edits,
            loaded,
            output,
            mask=mask,
            progress=lambda done, _: bar.update(task, completed=done),
        )
    failed = [item for item in record["items"] if item["status"] != "ok"]
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        _report(record["items"], out)
    raise typer.Exit(FAILED_ITEMS if failed else 0)


def plan(add: list[str], remove: list[str], common: dict[str, Any]) -> list[Edit]:
    """Return one edit for each --add and --remove, or one of the free prompt alone.

    Raises:
        EditError: nothing to do, or one prompt for several edits.
    """
    wanted: list[tuple[Action, str]] = [("add", n) for n in add] + [("remove", n) for n in remove]
    if common["prompt"] and len(wanted) > 1:
        raise EditError(f"--prompt words one edit; got {len(wanted)}. Run them one by one.")
    if not wanted:
        return [Edit(**common)]
    return [
        Edit(findings=tuple(part.strip() for part in name.split("+")), action=action, **common)
        for action, name in wanted
    ]


def _report(items: list[dict[str, Any]], out: Path) -> None:
    for item in items:
        if item["status"] == "ok":
            seconds = item["facts"].get("seconds")
            changed = item["changed_fraction"]
            typer.echo(f"{item['input']}  {item['label']}  {changed:.1%} changed  {seconds} s")
        elif item["status"] != "unreadable":
            typer.echo(f"{item['input']}  {item['label']}  {item['status']}", err=True)
    if any(item["status"] == "ok" for item in items):
        typer.echo(f"Synthetic pictures and edits.json are in {out}")


@app.command()
def audit(
    classifier: Annotated[
        list[str], typer.Option(help="What is audited, [NAME=]FORM; repeat for several.")
    ],
    data: Annotated[
        str, typer.Option(help="Folder, KIND:FOLDER (nih, chexpert, ...), or phantoms:N.")
    ],
    out: Annotated[Path, typer.Option(help="Run directory; the same command goes on in it.")],
    findings: Annotated[
        str | None, typer.Option(help="Findings to add, by commas; default: all that fit.")
    ] = None,
    editor: Annotated[
        str, typer.Option(help="mini, painter, a diffusers folder, or a hub id.")
    ] = "mini",
    images: Annotated[
        Path | None, typer.Option(help="Where the pictures are, if not in the data folder.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the data.")] = None,
    baselines: Annotated[int, typer.Option(help="Patients to edit.")] = 100,
    seeds: Annotated[int, typer.Option(help="Counterfactuals a patient and finding.")] = 1,
    doses: Annotated[
        Literal["none", "severity", "strength"], typer.Option(help="Dose-response over what.")
    ] = "none",
    removals: Annotated[
        int, typer.Option(help="Also remove each finding from so many real positives.")
    ] = 0,
    stress: Annotated[
        int, typer.Option(help="Also read so many real positives a finding, and negatives.")
    ] = 0,
    strength: Annotated[float, typer.Option(help="As in edit.")] = 0.4,
    guidance_scale: Annotated[float, typer.Option(help="As in edit.")] = 4.0,
    steps: Annotated[int | None, typer.Option(help="As in edit.")] = None,
    host: Annotated[str | None, typer.Option(help="As in edit.")] = None,
    profile: Annotated[str | None, typer.Option(help="As in edit.")] = None,
    engine: Annotated[Engine, typer.Option(help="As in edit.")] = "auto",
    device: Annotated[str, typer.Option(help="As in edit; for classifiers, too.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="As in edit.")] = "float32",
    labels: Annotated[
        Path | None, typer.Option(help='JSON: {"their head": "our finding"}.')
    ] = None,
    margin: Annotated[
        float, typer.Option(help="Largest off-target effect let pass, of the own effect.")
    ] = 0.2,
    fail_on: Annotated[
        Literal["never", "shortcut", "suppression", "undecided"],
        typer.Option(help="Exit with 4 on a shortcut; also on a suppression; also if undecided."),
    ] = "never",
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
) -> None:
    """Audit classifiers: do they react to findings that they should ignore?"""
    from roentmod import audit as auditing
    from roentmod import classifiers, datasets, report
    from roentmod.editors import Editor

    loaded_editor = Editor.load(
        editor, host=host, engine=engine, profile=profile, device=device, precision=precision
    )
    models = dict(_classifier(spec, labels, device) for spec in classifier)
    if len(models) < len(classifier):
        raise EditError("Audited classifiers need different names. Write NAME=FORM.")
    for name, model in models.items():
        typer.echo(f"{name}\n{classifiers.table(model.heads)}\n", err=True)
    source = datasets.load(data, images=images)
    for problem in source.problems:
        log.warning("%s", problem)
    chosen = datasets.baselines(source, count=baselines, split=split)
    plan = auditing.Plan(
        tuple(findings.split(",")) if findings else _fitting(models.values(), loaded_editor),
        seeds=tuple(range(seeds)),
        doses=doses,
        strength=strength,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        removals=removals,
        stress=stress,
        split=split,
    )
    rules = auditing.Rules(margin=margin, exact=bool(getattr(loaded_editor, "exact", False)))
    with _progress() as stages:
        result = auditing.run(
            source, chosen.table, loaded_editor, models, plan, out, rules=rules, stages=stages
        )
    page = report.publish(result)
    if as_json:
        typer.echo((out / "report.json").read_text(encoding="utf-8"))
    else:
        _summary(result, page)
    raise typer.Exit(_audit_code(result, fail_on))


def _classifier(spec: str, labels: Path | None, device: str) -> tuple[str, Any]:
    """Return name and classifier of ``[NAME=]FORM``."""
    from roentmod import classifiers

    name, found, form = spec.partition("=")
    if not found or ":" in name or "/" in name:
        name, form = "", spec
    options: dict[str, Any] = {} if device == "cpu" else {"device": device}
    loaded = classifiers.load(form, labels=labels, **options)
    return name or loaded.name, loaded


def _fitting(models: Any, editor: Any) -> tuple[str, ...]:
    """Return the findings that every classifier reads, the judge reads and the editor adds."""
    from roentmod.classifiers import Judge

    able = getattr(editor, "findings", None)
    common = [f for f in Judge.load().findings if able is None or f in able]
    return tuple(f for f in common if all(f in model.findings for model in models))


def _summary(result: Any, page: Path) -> None:
    """Print what was found, a line a classifier and a line a shortcut."""
    for one in result:
        typer.echo(f"{one.name}: {one.verdict} (score {one.score:.2f})")
        for cell in one.cells[one.cells["verdict"] == "shortcut"].itertuples():
            typer.echo(
                f"  {cell.reason} Net effect {cell.effect:+.2f} logits "
                f"({cell.low:.2f} to {cell.high:.2f}), {cell.n} patients."
            )
    counts = result.counts
    if counts["missing"]:
        typer.echo(f"missing: {counts['missing']} of {counts['planned']} readings", err=True)
        for (reader, status), part in result.items.groupby(["classifier", "status"]):
            typer.echo(f"  {len(part)} x {status} {reader}: {part['message'].iloc[0]}", err=True)
    typer.echo(f"The report is {page}")


def _audit_code(result: Any, fail_on: str) -> int:
    """Return the exit code: the gate first, then what is missing."""
    levels = ("never", "shortcut", "suppression", "undecided")
    asked = levels.index(fail_on)
    fallen = any(one.cells["verdict"].eq("suppression").any() for one in result)
    verdicts = [one.verdict for one in result]
    if (
        (asked >= 1 and "shortcuts found" in verdicts)
        or (asked >= 2 and fallen)
        or (asked >= 3 and "undecided" in verdicts)
    ):
        return GATE
    again = ["classifier_failed", "not_finite", "editor_failed", "unreadable"]
    broken = result.items["status"].isin(again).any()
    unjudged = any((one.cells["n"] == 0).all() for one in result)
    return FAILED_ITEMS if broken or unjudged else 0


@app.command()
def validate(
    data: Annotated[str, typer.Option(help="As in audit.")],
    out: Annotated[Path, typer.Option(help="Run directory; the same command goes on in it.")],
    editor: Annotated[
        str, typer.Option(help="mini, painter, a diffusers folder, or a hub id.")
    ] = "mini",
    findings: Annotated[
        str | None, typer.Option(help="Findings to add, by commas; default: all that fit.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="As in audit.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the data.")] = None,
    baselines: Annotated[int, typer.Option(help="Patients to edit.")] = 40,
    extractor: Annotated[
        str, typer.Option(help="Features of pFID: judge, inception, xrv or rad-dino[:SOURCE].")
    ] = "judge",
    hold: Annotated[
        list[str] | None, typer.Option(help="Also measure with this finding held; repeat.")
    ] = None,
    strength: Annotated[float, typer.Option(help="As in edit.")] = 0.4,
    guidance_scale: Annotated[float, typer.Option(help="As in edit.")] = 4.0,
    steps: Annotated[int | None, typer.Option(help="As in edit.")] = None,
    host: Annotated[str | None, typer.Option(help="As in edit.")] = None,
    profile: Annotated[str | None, typer.Option(help="As in edit.")] = None,
    engine: Annotated[Engine, typer.Option(help="As in edit.")] = "auto",
    device: Annotated[str, typer.Option(help="As in edit.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="As in edit.")] = "float32",
) -> None:
    """Validate an editor: is it still this patient, and is the edit what was asked for?"""
    from roentmod import datasets, report, validation
    from roentmod.classifiers.extractors import load_extractor
    from roentmod.editors import Editor

    loaded = Editor.load(
        editor, host=host, engine=engine, profile=profile, device=device, precision=precision
    )
    source = datasets.load(data, images=images)
    chosen = validation.choose(source, count=baselines, split=split)
    plan = validation.Plan(
        tuple(findings.split(",")) if findings else _fitting((), loaded),
        strength=strength,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        hold=tuple(hold or ()),
    )
    with _progress() as stages:
        result = validation.run(
            source,
            chosen,
            loaded,
            plan,
            out,
            split=split,
            extractor=load_extractor(extractor),
            stages=stages,
        )
    typer.echo(f"The report is {report.publish_validation(result)}")
    raise typer.Exit(FAILED_ITEMS if result.counts["missing"] else 0)


@contextmanager
def _progress() -> Iterator[Any]:
    """Give a function that opens a progress bar for a stage of a long run."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=_ERRORS) as bar:

        def stages(name: str) -> Any:
            task = bar.add_task(name, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield stages


@app.command()
def augment(
    data: Annotated[str, typer.Option(help="As in audit.")],
    out: Annotated[Path, typer.Option(help="Run directory; the same command goes on in it.")],
    findings: Annotated[str, typer.Option(help="Findings to add, by commas.")],
    editor: Annotated[
        str, typer.Option(help="mini, painter, a diffusers folder, or a hub id.")
    ] = "mini",
    split: Annotated[
        str | None, typer.Option(help="Only this split; default: train, where there is one.")
    ] = None,
    baselines: Annotated[int | None, typer.Option(help="Patients to edit; default: all.")] = None,
    ratio: Annotated[float, typer.Option(help="Counterfactuals a baseline.")] = 1.0,
    labels: Annotated[
        Literal["isolated", "soft", "masked"],
        typer.Option(help="Other findings are 0, at co-occurrence rates, or unknown."),
    ] = "isolated",
    pair: Annotated[
        list[str] | None, typer.Option(help="'Edema>Cardiomegaly=soft': its own labels; repeat.")
    ] = None,
    gate: Annotated[
        float, typer.Option(help="Net rise of the judge's logit from which an edit counts.")
    ] = 1.0,
    with_baselines: Annotated[
        bool, typer.Option("--with-baselines", help="Write the baselines, too.")
    ] = False,
    with_shams: Annotated[bool, typer.Option("--with-shams", help="Write the shams, too.")] = False,
    matrix: Annotated[
        Path | None, typer.Option(help="Of roentmod cooccurrence; default: NIH's, bundled.")
    ] = None,
    form: Annotated[
        list[str] | None, typer.Option(help="Also write as webdataset or huggingface; repeat.")
    ] = None,
) -> None:
    """Make a counterfactual training set: pictures, labels, and where each came from."""
    from roentmod import augment as making
    from roentmod import datasets
    from roentmod.editors import Editor

    pairs = tuple(_pair(text) for text in pair or [])
    plan = making.Plan(
        tuple(findings.split(",")),
        ratio=ratio,
        labelling=making.Labelling(labels, pairs),
        gate_logit=gate,
        baselines=with_baselines,
        shams=with_shams,
    )
    source = datasets.load(data)
    usual = "train" if "train" in set(source.table["split"]) else None
    chosen = datasets.baselines(source, count=baselines, split=split or usual).table
    rates = making.load_cooccurrence(matrix) if matrix else None
    with _progress() as stages:
        result = making.run(
            source,
            chosen,
            Editor.load(editor),
            plan,
            out,
            rates=rates,
            progress=stages("editing"),
        )
    for one in form or []:
        typer.echo(f"{one}: {making.export(out, cast('making.Form', one))}")
    typer.echo(result.counts().to_string())
    typer.echo(f"{len(result.training)} pictures with labels are in {out}")


def _pair(text: str) -> tuple[str, str, Any]:
    """Return (added, other, policy) of ``Edema>Cardiomegaly=soft``."""
    both, equals, policy = text.partition("=")
    added, arrow, other = both.partition(">")
    if not (equals and arrow):
        raise EditError(
            f"--pair is 'Added>Other=policy', as 'Edema>Cardiomegaly=soft'; got '{text}'."
        )
    return added.strip(), other.strip(), policy.strip()


@app.command()
def cooccurrence(
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    data: Annotated[
        str | None, typer.Option(help="Count a data set's labels; as in audit.")
    ] = None,
    readers: Annotated[
        Path | None, typer.Option(help="Count readings: CSV of reader, case, finding, answer.")
    ] = None,
    per_patient: Annotated[
        bool, typer.Option("--per-patient", help="Count patients, not pictures.")
    ] = False,
) -> None:
    """Count how often findings come together: P(column | row), with intervals."""
    import pandas as pd

    from roentmod import cooccurrence as counting
    from roentmod import datasets
    from roentmod.augment import save_cooccurrence

    if (data is None) == (readers is None):
        raise EditError("Count either --data or --readers; got both or neither. Give one.")
    if readers is not None:
        matrix = counting.from_readings(pd.read_csv(readers), source=str(readers))
    else:
        table = datasets.load(str(data), check_files=False).table
        unit: Any = "patient" if per_patient else "image"
        matrix = counting.from_labels(table, source=str(data), unit=unit)
    save_cooccurrence(matrix, out)
    typer.echo(matrix.table().to_string(index=False))


def main() -> None:
    """Run the command line; one line and a non-zero exit code for anything that goes wrong."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()])
    try:
        app()
    except RoentModError as error:
        typer.echo(f"roentmod: {error}", err=True)
        sys.exit(USAGE)
    except OSError as error:
        typer.echo(f"roentmod: cannot write or read: {error}", err=True)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        typer.echo(
            "roentmod: interrupted; finished results are whole. Run again to go on.", err=True
        )
        sys.exit(INTERRUPTED)
