"""``roentmod augment``, ``plant``, ``retrain`` and ``study``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from roentmod import verbs
from roentmod.cli.console import progress
from roentmod.cli.derived import command
from roentmod.cli.options import Data, Out, test
from roentmod.errors import StudyError


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
        planned = studies.plan(spec, out, trust=options.get("trust", False))
        for one in planned:
            took = "" if one.state == "done" else f"about {one.seconds / 60:.1f} min"
            typer.echo(f"{one.name:13} {one.state:6} {took:16} {one.what}")
        left = sum(one.seconds for one in planned) / 60
        typer.echo(f"about {left:.0f} minutes are left; the folder is {out}")
        return
    with progress() as stages:
        result = verbs.study(spec, out=out, progress=stages, **options)
    typer.echo(f"The report is {result.report()}")
