"""``roentmod readers``: studies with human readers, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from roentmod import verbs
from roentmod._optional import require
from roentmod.cli.console import app, progress
from roentmod.cli.derived import command
from roentmod.plans import ReadersPlan
from roentmod.plans.options import part
from roentmod.plans.parts import Aged, Located
from roentmod.plans.readings import AnalysisPlan, PowerPlan, SkillPlan

readers = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(readers, name="readers", help="Hold and analyse a study with human readers.")

Study = Annotated[Path, typer.Argument(help="Folder of the study.")]
Database = Annotated[
    str | None,
    typer.Option(help="postgresql://USER@HOST/NAME; default: SQLite in the study's folder."),
]
_PORT = 8760


class _Designing:
    plans = (ReadersPlan, Located, Aged)


@command(_Designing, readers)
def design(
    study: Study,
    edits: Annotated[Path, typer.Option(help="Folder of roentmod edit or roentmod augment.")],
    real: Annotated[str, typer.Option(help="Real radiographs: a data set, as in audit.")],
    **options: Any,
) -> None:
    """Choose cases, prepare their pictures alike, and freeze who reads what."""
    from roentmod.jobs.readers import making

    place, whose = part(Located, options), part(Aged, options)
    source = verbs.load(real, images=place.images, ages=whose.ages)
    plan = part(ReadersPlan, options)
    with progress() as stages:
        made = making.make(study, edits, source, plan, progress=stages("preparing pictures"))
    for note in made.notes:
        typer.echo(note)
    counts = ", ".join(f"{n} {kind}" for kind, n in made.content["counts"].items())
    typer.echo(f"{len(made.readers)} readers, {made.content['sessions']} sessions: {counts}")
    typer.echo(
        f"The truth is beside it, for the analysis alone. Go on: roentmod readers serve {study}"
    )


@readers.command()
def serve(
    study: Study,
    database: Database = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = _PORT,
    url: Annotated[
        str | None, typer.Option(help="Public address in links; default: host and port.")
    ] = None,
) -> None:
    """Serve a study to its readers; until Ctrl-C, after which the same command goes on."""
    require("litestar")
    from roentmod.jobs.readers.answers import truth_folder
    from roentmod.web import server
    from roentmod.web.readers import app as pages
    from roentmod.web.readers.closed import close

    bound, address = server.listen(host, port, url)
    desk = pages.desk(study, address, database=database)
    application = pages.application(desk)
    closed = close(truth_folder(study))
    typer.echo(f"Reader study: {address} (truth closed by {closed}; Ctrl-C ends)")
    if not desk.accounts.opened("admin"):
        typer.echo(f"Administrator, once: {desk.link('admin')}")
    server.serve(application, bound)


@readers.command()
def invite(
    study: Study,
    reader: Annotated[list[str] | None, typer.Argument(help="Ids, or admin; default: all.")] = None,
    url: Annotated[str, typer.Option(help="Public address.")] = f"http://127.0.0.1:{_PORT}",
    database: Database = None,
) -> None:
    """Print new invitation links, each for one use.

    Earlier links are void, and an old password is once the new link is used.
    """
    require("litestar")
    from roentmod.web import server
    from roentmod.web.readers import app as pages

    desk = pages.desk(study, server.public(url), database=database)
    for name in reader or desk.design.readers:
        typer.echo(f"{name}  {desk.link(name)}")


@readers.command()
def export(
    study: Study,
    out: Annotated[Path, typer.Option(help="CSV or Parquet file to write.")],
    database: Database = None,
) -> None:
    """Write the answers so far as one table; nothing of the truth."""
    from roentmod.jobs.readers.answers import read_answers
    from roentmod.store import atomic

    table = read_answers(database or study)
    with atomic(out) as part_of:
        write = table.to_parquet if out.suffix == ".parquet" else table.to_csv
        write(part_of, index=False)
    typer.echo(f"{len(table)} answers are in {out}")


class _Analysing:
    plans = (AnalysisPlan,)


@command(_Analysing, readers)
def analyse(
    study: Study,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: STUDY-analysis.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Exported or simulated answers instead of the database.")
    ] = None,
    database: Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    **options: Any,
) -> None:
    """Analyse the answers: realism, findings, off-target findings, agreement."""
    from roentmod.jobs.readers import analyse as job

    result = job.run(study, out, part(AnalysisPlan, options), answers=answers or database)
    page = result.report()
    if as_json:
        typer.echo((result.folder / "report.json").read_text(encoding="utf-8"))
        return
    if result.simulated:
        typer.echo("The readers are simulated: nothing follows from their answers.")
    if result.counts["missing"]:
        typer.echo(f"Unanswered: {result.counts['missing']} of {result.counts['planned']} pages")
    one = result.realism()
    typer.echo(
        f"Realism: AUC {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f}; 0.5 is chance), "
        f"{one['readers']} readers, {one['patients']} patients"
    )
    typer.echo(f"The report is {page}")


class _Simulating:
    plans = (SkillPlan,)


@command(_Simulating, readers)
def simulate(
    study: Study,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    **options: Any,
) -> None:
    """Write answers of simulated readers, to rehearse the analysis; the study stays as it is."""
    from roentmod.jobs.readers import simulate as job

    table = job.run(study, out, part(SkillPlan, options))
    typer.echo(f"{len(table)} simulated answers are in {out}")
    typer.echo(f"Go on: roentmod readers analyse {study} --answers {out}")


class _Planning:
    plans = (PowerPlan,)


@command(_Planning, readers)
def power(**options: Any) -> None:
    """Print how many cases a study needs, by number of readers."""
    from roentmod.science.readers.power import Assumed, needed

    plan = part(PowerPlan, options)
    assumed = Assumed(**{name: getattr(plan, name) for name in Assumed.__dataclass_fields__})
    table = needed(
        assumed, plan.readers, half_width=plan.half_width, limit=plan.limit, chance=plan.chance
    )
    typer.echo(table.round(3).astype(object).fillna("-").to_string(index=False))
    if table["edited"].isna().any():
        typer.echo("-: not even 5,000 edited cases; what is shown is of those. Take more readers.")
