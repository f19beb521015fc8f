"""``roentmod augment``, ``plant``, ``retrain``, ``repair`` and ``study``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from roentmod import verbs
from roentmod.cli.console import FAILED_ITEMS, UNJUDGED, progress
from roentmod.cli.derived import command
from roentmod.cli.options import Data, Out, test
from roentmod.errors import StudyError

if TYPE_CHECKING:
    from roentmod.jobs.study import Planned


Internal = Annotated[
    list[str] | None,
    typer.Option(help="Test of the same institution, NAME=DATA[@SPLIT]; repeat."),
]
External = Annotated[
    list[str] | None, typer.Option(help="Test of another one, NAME=DATA[@SPLIT]; repeat.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be computed, and for how long.")
]


def _tests(internal: list[str] | None, external: list[str] | None) -> dict[str, Any]:
    tests = dict(test(text, "internal") for text in internal or [])
    return tests | dict(test(text, "external") for text in external or [])


def _say_planned(planned: Iterable[Planned], out: Path) -> None:
    """Print what is left of a study or repair, and for how long."""
    listed = list(planned)
    width = max(13, *(len(one.name) for one in listed))
    for one in listed:
        took = "" if one.state == "done" else f"about {one.seconds / 60:.1f} min"
        typer.echo(f"{one.name:{width}} {one.state:6} {took:16} {one.what}")
    left = sum(one.seconds for one in listed) / 60
    typer.echo(f"about {left:.0f} minutes are left; the folder is {out}")


def _failed(failed: Mapping[str, int]) -> int:
    """Say what could not be read or made, and return the exit code of that."""
    for name, number in failed.items():
        if number:
            typer.echo(f"{name}: {number} could not be read or made", err=True)
    return FAILED_ITEMS if any(failed.values()) else 0


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

    for one in form or []:
        making.check_form(one)
    with progress() as stages:
        result = verbs.augment(data, out=out, progress=stages, **options)
    for one in form or []:
        typer.echo(f"{one}: {making.export(out, cast('making.Form', one))}")
    typer.echo(result.counts().to_string())
    typer.echo(f"{len(result)} pictures with labels are in {out}")
    raise typer.Exit(_failed({"counterfactuals": result.failed}))


@command(verbs.plant)
def plant(data: Data, out: Out, **options: Any) -> None:
    """Paint findings into no-finding radiographs: true labels, planted co-occurrence."""
    from roentmod import datasets

    with progress() as stages:
        result = verbs.plant(data, out=out, progress=stages, **options)
    names = result.record["plan"]["findings"]
    typer.echo(datasets.load(out).counts().loc[names].to_string())
    typer.echo(f"Synthetic pictures and labels: {result.index}")
    raise typer.Exit(_failed({"hosts": result.failed}))


@command(verbs.retrain)
def retrain(
    data: Data,
    out: Out,
    training_set: Annotated[
        Path | None, typer.Option(help="Folder of roentmod augment, for the arms that need it.")
    ] = None,
    internal: Internal = None,
    external: External = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard's files.")
    ] = False,
    **options: Any,
) -> None:
    """Train the same classifier in several ways, test inside and outside, compare."""
    tests = _tests(internal, external)
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
    raise typer.Exit(_failed(result.failed))


@command(verbs.repair)
def repair(
    classifier: Annotated[
        str, typer.Argument(metavar="MODEL", help="Training starts from it, as --from of retrain.")
    ],
    data: Data,
    out: Out,
    internal: Internal = None,
    external: External = None,
    dry_run: DryRun = False,
    **options: Any,
) -> None:
    """Audit a model, retrain it with counterfactuals of what was found, audit it again."""
    tests = _tests(internal, external)
    if dry_run:
        _say_planned(verbs.plan_repair(classifier, data, out=out, tests=tests, **options), out)
        return
    with progress() as stages:
        result = verbs.repair(classifier, data, out=out, tests=tests, progress=stages, **options)
    if result.pairs:
        typer.echo(f"pairs: {', '.join(map('>'.join, result.pairs))}")
    for text in result.facts["reasons"]:
        typer.echo(f"  {text}")
    typer.echo(f"{result.verdict}{': ' * bool(result.model)}{result.model or ''}")
    typer.echo(f"The report is {result.report()}")
    code = _failed(result.study.failed)
    raise typer.Exit(code if result.judged or result.pairs else UNJUDGED)


@command(verbs.study)
def study(
    file: Annotated[Path | None, typer.Argument(help="YAML; see examples/study.yaml.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; the same command goes on in it.")
    ] = None,
    dry_run: DryRun = False,
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
        _say_planned(studies.plan(spec, out, trust=options.get("trust", False)), out)
        return
    with progress() as stages:
        result = verbs.study(spec, out=out, progress=stages, **options)
    typer.echo(f"The report is {result.report()}")
    raise typer.Exit(_failed(result.failed))
