"""``roentmod augment``, ``cooccurrence``, ``plant``, ``retrain`` and ``study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from roentmod.cli.console import app, progress
from roentmod.cli.options import (
    Data,
    Device,
    EditorName,
    Images,
    Matrix,
    Out,
    Pack,
    judge_of,
    pack_of,
)
from roentmod.errors import EditError
from roentmod.findings import finding


@app.command()
def augment(
    data: Data,
    out: Out,
    findings: Annotated[str, typer.Option(help="Findings to add, by commas.")],
    editor: EditorName = "mini",
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
    matrix: Matrix = None,
    form: Annotated[
        list[str] | None, typer.Option(help="Also write as webdataset or huggingface; repeat.")
    ] = None,
    pictures: Annotated[
        Literal["auto", "files", "webdataset", "parquet"],
        typer.Option(help="Files, or shards; auto: files up to 10,000."),
    ] = "auto",
    store: Annotated[
        str | None, typer.Option(help="Also put the set there: s3://bucket/set, gs://, ...")
    ] = None,
    domain: Pack = None,
) -> None:
    """Make a counterfactual training set: pictures, labels, and where each came from."""
    pack = pack_of(domain, data)
    from roentmod import datasets
    from roentmod.editors import Editor
    from roentmod.jobs import augment as making

    pairs = tuple(_pair(text) for text in pair or [])
    plan = making.AugmentPlan(
        findings=pack.own(map(finding, findings.split(","))),
        ratio=ratio,
        labelling=making.Labelling(policy=labels, pairs=pairs),
        gate_logit=gate,
        with_baselines=with_baselines,
        with_shams=with_shams,
    )
    source = datasets.with_validation(datasets.load(data))
    usual = "train" if "train" in set(source.table["split"]) else None
    chosen = datasets.baselines(source, count=baselines, split=split or usual).table
    rates = making.load_cooccurrence(matrix) if matrix else None
    with progress() as stages:
        result = making.run(
            source,
            chosen,
            Editor.load(editor),
            plan,
            out,
            judge=judge_of(pack),
            rates=rates,
            pictures=pictures,
            store=store,
            progress=stages("editing"),
        )
    for one in form or []:
        typer.echo(f"{one}: {making.export(out, cast('making.Form', one))}")
    typer.echo(result.counts().to_string())
    typer.echo(f"{len(result)} pictures with labels are in {out}")


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

    from roentmod import datasets
    from roentmod.jobs.augment import save_cooccurrence
    from roentmod.science import cooccurrence as counting

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


@app.command()
def plant(
    data: Data,
    out: Out,
    findings: Annotated[str, typer.Option(help="What pictures may show, by commas.")],
    pair: Annotated[
        list[str] | None,
        typer.Option(help="'Edema>Cardiomegaly': the second comes with the first; repeat."),
    ] = None,
    correlation: Annotated[float, typer.Option(help="Of a pair, in planted splits.")] = 0.9,
    prevalence: Annotated[float, typer.Option(help="Chance of each finding.")] = 0.25,
    planted: Annotated[str, typer.Option(help="Splits with pairs, by commas.")] = "train,val",
    baselines: Annotated[int | None, typer.Option(help="Patients; default: all.")] = None,
    seed: Annotated[int, typer.Option(help="Of all drawing.")] = 0,
    images: Images = None,
) -> None:
    """Paint findings into no-finding radiographs: true labels, planted co-occurrence."""
    from roentmod import datasets
    from roentmod.editors import Editor
    from roentmod.jobs import plant as planting

    plan = planting.PlantPlan(
        findings=tuple(findings.split(",")),
        pairs=tuple(_both(text, "--pair") for text in pair or []),
        correlation=correlation,
        prevalence=prevalence,
        planted=tuple(planted.split(",")),
        seed=seed,
    )
    source = datasets.load(data, images=images)
    hosts = [
        name
        for split in sorted(set(source.table["split"]))
        for name in datasets.baselines(source, split=split or None, count=baselines).table[
            "baseline_id"
        ]
    ]
    with progress() as stages:
        result = planting.run(
            source, hosts, Editor.load("painter"), plan, out, progress=stages("planting")
        )
    typer.echo(datasets.load(out).counts().loc[list(plan.findings)].to_string())
    typer.echo(f"Synthetic pictures and labels: {result.index}")


@app.command()
def retrain(
    data: Data,
    out: Out,
    findings: Annotated[str, typer.Option(help="Heads of the classifiers, by commas.")],
    training_set: Annotated[
        Path | None, typer.Option(help="Folder of roentmod augment, for the arms that need it.")
    ] = None,
    internal: Annotated[
        list[str] | None,
        typer.Option(help="Test of the same institution, NAME=DATA[@SPLIT]; repeat."),
    ] = None,
    external: Annotated[
        list[str] | None, typer.Option(help="Test of another one, NAME=DATA[@SPLIT]; repeat.")
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(help="Suspected shortcut, 'Edema>Cardiomegaly'; repeat."),
    ] = None,
    arms: Annotated[
        str, typer.Option(help="Ways of training, by commas.")
    ] = "erm,oversampling,reweighting,synthetic,isolated,soft",
    seeds: Annotated[int, typer.Option(help="Trainings an arm.")] = 3,
    model: Annotated[
        str, typer.Option(help="densenet121, small, hf:FOLDER or python:MODULE:FUNCTION.")
    ] = "densenet121",
    size: Annotated[int, typer.Option(help="Side of its pictures, px.")] = 224,
    steps: Annotated[int, typer.Option(help="Optimiser steps of every training.")] = 2000,
    batch: Annotated[int, typer.Option(help="Pictures a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 1e-3,
    share: Annotated[float, typer.Option(help="Counterfactuals in a batch.")] = 0.25,
    unmentioned: Annotated[
        Literal["unknown", "absent"], typer.Option(help="What an unmentioned finding is.")
    ] = "unknown",
    matrix: Matrix = None,
    device: Device = "cpu",
    precision: Annotated[Literal["no", "fp16", "bf16"], typer.Option(help="Mixed.")] = "no",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard's files.")
    ] = False,
    images: Images = None,
) -> None:
    """Train the same classifier in several ways, test inside and outside, compare."""
    from roentmod import datasets, report
    from roentmod.jobs import augment
    from roentmod.jobs import retrain as training

    plan = training.RetrainPlan(
        findings=tuple(findings.split(",")),
        pairs=tuple(_both(text, "--pair") for text in pair or []),
        arms=cast("tuple[training.Arm, ...]", tuple(arms.split(","))),
        seeds=tuple(range(seeds)),
        model=model,
        size=size,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        share=share,
        unmentioned=unmentioned,
        precision=precision,
    )
    source = datasets.load(data, images=images)
    tests = dict(_test(text, "internal", data, source) for text in internal or [])
    tests |= dict(_test(text, "external", data, source) for text in external or [])
    with progress() as stages:
        result = training.run(
            source,
            plan,
            out,
            training_set=augment.load(training_set) if training_set else None,
            tests=tests,
            rates=augment.load_cooccurrence(matrix) if matrix else None,
            device=device,
            tensorboard=tensorboard,
            stages=stages,
        )
    typer.echo(f"The report is {report.publish_retrain(result)}")


def _test(text: str, where: str, own: str, source: Any) -> tuple[str, tuple[Any, str | None, str]]:
    """Return name and test of ``NAME=DATA[@SPLIT]``; the training's data are not read twice."""
    from roentmod import datasets

    name, equals, form = text.partition("=")
    form, _, split = form.partition("@")
    if not (name and equals and form):
        raise EditError(f"A test is NAME=DATA or NAME=DATA@SPLIT; got '{text}'.")
    return name, (source if form == own else datasets.load(form), split or None, where)


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="YAML; see examples/study.yaml.")],
    out: Out,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed, and for how long.")
    ] = False,
) -> None:
    """Validate, audit, augment, retrain and audit again, from one file."""
    from roentmod import report
    from roentmod.jobs import study as studies

    spec = studies.read(file)
    if dry_run:
        planned = studies.plan(spec, out)
        for one in planned:
            took = "" if one.state == "done" else f"about {one.seconds / 60:.1f} min"
            typer.echo(f"{one.name:13} {one.state:6} {took:16} {one.what}")
        left = sum(one.seconds for one in planned) / 60
        typer.echo(f"about {left:.0f} minutes are left; the folder is {out}")
        return
    with progress() as stages:
        result = studies.run(spec, out, publish=report.publish_stage, stages=stages)
    typer.echo(f"The report is {report.publish_study(result)}")


def _both(text: str, option: str) -> tuple[str, str]:
    """Return both findings of ``Cause>Read``."""
    cause, arrow, read = text.partition(">")
    if not arrow:
        raise EditError(f"{option} is 'Cause>Read', as 'Edema>Cardiomegaly'; got '{text}'.")
    return cause.strip(), read.strip()
