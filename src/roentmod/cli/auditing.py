"""``roentmod audit`` and ``roentmod validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from roentmod.cli.console import FAILED_ITEMS, GATE, app, log, progress
from roentmod.cli.options import (
    Arithmetic,
    Data,
    Device,
    EditorName,
    EngineName,
    Findings,
    Guidance,
    Host,
    Images,
    Out,
    Pack,
    Profile,
    Split,
    Steps,
    Strength,
    fitting,
    held,
    judge_of,
    pack_of,
)
from roentmod.errors import EditError
from roentmod.findings import finding


@app.command()
def audit(
    classifier: Annotated[
        list[str], typer.Option(help="What is audited, [NAME=]FORM; repeat for several.")
    ],
    data: Data,
    out: Out,
    findings: Findings = None,
    editor: EditorName = "mini",
    images: Images = None,
    split: Split = None,
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
    strength: Strength = 0.4,
    guidance_scale: Guidance = 4.0,
    steps: Steps = None,
    host: Host = None,
    profile: Profile = None,
    engine: EngineName = "auto",
    device: Device = "cpu",
    precision: Arithmetic = "float32",
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
    domain: Pack = None,
) -> None:
    """Audit classifiers: do they react to findings that they should ignore?"""
    pack = pack_of(domain, data)
    from roentmod import classifiers, datasets, report
    from roentmod.editors import Editor
    from roentmod.jobs import audit as auditing

    judge = judge_of(pack)
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
    plan = auditing.AuditPlan(
        findings=pack.own(map(finding, findings.split(",")))
        if findings
        else fitting(models.values(), loaded_editor, judge),
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
    with progress() as stages:
        result = auditing.run(
            source,
            chosen.table,
            loaded_editor,
            models,
            plan,
            out,
            rules=rules,
            judge=judge,
            stages=stages,
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
    data: Data,
    out: Out,
    editor: EditorName = "mini",
    findings: Findings = None,
    images: Images = None,
    split: Split = None,
    baselines: Annotated[int, typer.Option(help="Patients to edit.")] = 40,
    extractor: Annotated[
        str, typer.Option(help="Features of pFID: judge, inception, xrv or rad-dino[:SOURCE].")
    ] = "judge",
    hold: Annotated[
        list[str] | None,
        typer.Option(help="Also measure with this finding held; repeat. 'linked': as in edit."),
    ] = None,
    usual_region: Annotated[
        bool, typer.Option(help="Also measure with each edit kept to the finding's usual place.")
    ] = False,
    strength: Strength = 0.4,
    guidance_scale: Guidance = 4.0,
    steps: Steps = None,
    host: Host = None,
    profile: Profile = None,
    engine: EngineName = "auto",
    device: Device = "cpu",
    precision: Arithmetic = "float32",
    domain: Pack = None,
) -> None:
    """Validate an editor: is it still this patient, and is the edit what was asked for?"""
    pack = pack_of(domain)
    pack.need_chest("A validation")
    from roentmod import datasets, report
    from roentmod.classifiers.extractors import load_extractor
    from roentmod.editors import Editor
    from roentmod.jobs import validate as validation

    loaded = Editor.load(
        editor, host=host, engine=engine, profile=profile, device=device, precision=precision
    )
    source = datasets.load(data, images=images)
    chosen = validation.choose(source, count=baselines, split=split)
    judge = judge_of(pack)
    names = pack.own(map(finding, findings.split(","))) if findings else fitting((), loaded, judge)
    plan = validation.ValidatePlan(
        findings=names,
        strength=strength,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        hold=tuple(dict.fromkeys(h for n in names for h in held(tuple(hold or ()), (n,)))),
        regional=usual_region,
    )
    with progress() as stages:
        result = validation.run(
            source,
            chosen,
            loaded,
            plan,
            out,
            split=split,
            extractor=load_extractor(extractor),
            classifier=judge,
            stages=stages,
        )
    typer.echo(f"The report is {report.publish_validation(result)}")
    raise typer.Exit(FAILED_ITEMS if result.counts["missing"] else 0)
