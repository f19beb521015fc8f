"""``roentmod audit`` and ``roentmod validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from roentmod import verbs
from roentmod.cli.console import FAILED_ITEMS, GATE, UNJUDGED, app, progress
from roentmod.cli.derived import command
from roentmod.cli.options import Data, Out
from roentmod.plans.parts import Foreign


@command(verbs.audit)
def audit(
    classifier: Annotated[
        list[str], typer.Option(help="Audited, [NAME=]FORM; repeat for several.")
    ],
    data: Data,
    out: Out,
    labels: Annotated[
        Path | None, typer.Option(help='JSON: {"their head": "our finding"}.')
    ] = None,
    fail_on: Annotated[
        Literal["never", "shortcut", "suppression", "undecided"],
        typer.Option(
            help="Exit with 4 on a shortcut; also on a suppression; also if undecided. Exit with 6 "
            "if of any classifier nothing could be judged."
        ),
    ] = "never",
    second_judge: Annotated[
        str | None,
        typer.Option(help="Its leakage is taken off, not the judge's, who is the gate; a form."),
    ] = None,
    readers: Annotated[
        Path | None,
        typer.Option(help="Reader study of such edits, for gate and leakage, not the judge."),
    ] = None,
    answers: Annotated[
        str | None, typer.Option(help="Its database's URL or export; default: in its folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    **options: Any,
) -> None:
    """Audit classifiers: do they react to findings that they should ignore?"""
    from roentmod import classifiers

    verbs.check_out(out)
    words: dict[str, Any] = {
        name: options.get(name) for name in ("device", "trust", *Foreign.model_fields)
    }
    models = verbs.load_classifiers(classifier, labels=labels, **words)
    for name, model in models.items():
        heads = getattr(model, "heads", None)
        if heads is not None:
            typer.echo(f"{name}\n{classifiers.table(heads)}\n", err=True)
    with progress() as stages:
        people = {"readers": readers, "answers": answers, "second_judge": second_judge}
        result = verbs.audit(data, models, out=out, progress=stages, **people, **options)
    page = result.report()
    if as_json:
        typer.echo((out / "report.json").read_text(encoding="utf-8"))
    else:
        _summary(result, page)
    raise typer.Exit(_audit_code(result, fail_on))


def _summary(result: Any, page: Path) -> None:
    """Print what was found, a line a classifier and a line a shortcut."""
    for one in result:
        score = "" if one.score is None else f" (score {one.score:.2f})"
        typer.echo(f"{one.name}: {one.verdict}{score}")
        if not one.judged:
            typer.echo(f"  Nothing could be judged. {one.obstacle}")
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
    if (asked >= 1 and "shortcuts found" in verdicts) or (asked >= 2 and fallen):
        return GATE
    if asked and not all(one.judged for one in result):
        return UNJUDGED
    if asked >= 3 and "undecided" in verdicts:
        return GATE
    again = ["classifier_failed", "not_finite", "editor_failed", "unreadable"]
    broken = result.items["status"].isin(again).any()
    unjudged = any((one.cells["n"] == 0).all() for one in result)
    return FAILED_ITEMS if broken or unjudged else 0


@command(verbs.validate)
def validate(
    data: Data,
    out: Out,
    extractor: Annotated[
        str, typer.Option(help="Features of pFID: judge, inception, xrv or rad-dino[:SOURCE].")
    ] = "judge",
    second_judge: Annotated[
        str | None,
        typer.Option(help="Reads success and leakage too, shown beside the judge's; a form."),
    ] = None,
    **options: Any,
) -> None:
    """Validate an editor: is it still this patient, and is the edit what was requested?"""
    with progress() as stages:
        readers = {"extractor": extractor, "second_judge": second_judge}
        result = verbs.validate(data, out=out, progress=stages, **readers, **options)
    typer.echo(f"The report is {result.report()}")
    raise typer.Exit(FAILED_ITEMS if result.counts["missing"] else 0)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="TorchScript or torch.export program.")],
    out: Annotated[
        Path | None, typer.Option(help="ONNX file to write; default: beside the program.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the program, which can run any code.")
    ] = False,
) -> None:
    """Write a program as an ONNX file, which is none: it needs no --trust wherever it is read."""
    from roentmod.classifiers.programs import to_onnx

    typer.echo(f"The ONNX file is {to_onnx(model, out, trust=trust)}")
