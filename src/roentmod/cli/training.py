"""``roentmod augment``, ``cooccurrence``, ``plant``, ``retrain`` and ``study``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from roentmod import verbs
from roentmod.cli.console import app, progress
from roentmod.cli.derived import command
from roentmod.cli.options import Data, Out, test
from roentmod.errors import EditError, StudyError


@command(verbs.augment)
def augment(
    data: Data,
    out: Out,
    form: Annotated[
        list[str] | None, typer.Option(help="Also write as webdataset or huggingface; repeat.")
    ] = None,
    **options: Any,
) -> None:
    """Make a counterfactual training set: pictures, labels, and where each came from."""
    from roentmod.jobs import augment as making

    with progress() as stages:
        result = verbs.augment(data, out=out, progress=stages, **options)
    for one in form or []:
        typer.echo(f"{one}: {making.export(out, cast('making.Form', one))}")
    typer.echo(result.counts().to_string())
    typer.echo(f"{len(result)} pictures with labels are in {out}")


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


@command(verbs.plant)
def plant(data: Data, out: Out, **options: Any) -> None:
    """Paint findings into no-finding radiographs: true labels, planted co-occurrence."""
    from roentmod import datasets

    with progress() as stages:
        result = verbs.plant(data, out=out, progress=stages, **options)
    names = result.record["plan"]["findings"]
    typer.echo(datasets.load(out).counts().loc[names].to_string())
    typer.echo(f"Synthetic pictures and labels: {result.index}")


@command(verbs.retrain)
def retrain(
    data: Data,
    out: Out,
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
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard's files.")
    ] = False,
    **options: Any,
) -> None:
    """Train the same classifier in several ways, test inside and outside, compare."""
    tests = dict(test(text, "internal") for text in internal or [])
    tests |= dict(test(text, "external") for text in external or [])
    with progress() as stages:
        result = verbs.retrain(
            data,
            out=out,
            training_set=training_set,
            tests=tests,
            tensorboard=tensorboard,
            progress=stages,
            **options,
        )
    typer.echo(f"The report is {result.report()}")


@command(verbs.study)
def study(
    file: Annotated[Path | None, typer.Argument(help="YAML; see examples/study.yaml.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; the same command goes on in it.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed, and for how long.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of study files.")
    ] = False,
    **options: Any,
) -> None:
    """Validate, audit, augment, retrain and audit again, from one file."""
    from roentmod.jobs import study as studies

    if schema:
        typer.echo(json.dumps(studies.StudyPlan.model_json_schema(by_alias=True), indent=2))
        return
    if file is None or out is None:
        raise StudyError("A study needs a file and --out; got one or none. Give both.")
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
        result = verbs.study(spec, out=out, progress=stages, **options)
    typer.echo(f"The report is {result.report()}")
