"""``roentmod data`` and ``roentmod cooccurrence``: what a table says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from roentmod import verbs
from roentmod.cli.console import app, show
from roentmod.errors import DatasetError, EditError

_SHOWN = 8
_STATES = ("positive", "negative", "uncertain", "unmentioned")


@app.command()
def data(
    path: Annotated[str, typer.Argument(help="Folder, table, KIND:FOLDER, or phantoms:N.")],
    images: Annotated[
        Path | None, typer.Option(help="Where the pictures are, if not in the data folder.")
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="First write index.csv from the pictures' headers.")
    ] = False,
    labels: Annotated[
        str, typer.Option(help="With --init: labels of all pictures, such as 'No Finding'.")
    ] = "",
    fix: Annotated[
        Path | None, typer.Option(help="Write what was understood as a corrected index, a CSV.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Pictures in which burned-in text is looked for.")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print all as JSON.")] = False,
) -> None:
    """Show what is understood of a data set, and whether it is enough for an audit."""
    from roentmod import datasets

    if labels and not init:
        raise DatasetError("--labels is said of the pictures of a new index. Give --init too.")
    if init:
        counts = datasets.begin_index(Path(path), labels=labels)
        typer.echo(f"{Path(path) / 'index.csv'}: {_listed(counts)}", err=True)
    found = verbs.preflight(path, images=images, sample=sample)
    if fix is not None:
        typer.echo(f"{fix}: pictures {datasets.write_index(found.data, fix)}", err=True)
    if as_json:
        typer.echo(json.dumps(found.facts(), indent=2, allow_nan=False))
    else:
        _report(found)


def _report(found: Any) -> None:
    """Print what is understood, a table per subject."""
    facts = found.facts()
    typer.echo(f"{facts['name']}: {facts['pictures']:,} pictures of {facts['patients']:,} patients")
    for table in facts["tables"]:
        form = f", delimiter {table['delimiter']!r}" if table["delimiter"] else ""
        columns = ", ".join(f"{fact} = '{name}'" for fact, name in table["columns"].items())
        typer.echo(f"{table['file']}: {table['rows']:,} rows, {table['encoding']}{form}; {columns}")
    rows = [
        (name, *(f"{states[state]:,}" for state in _STATES))
        for name, states in facts["findings"].items()
    ]
    show(("finding", *_STATES), rows)
    ages = facts["ages"]
    span = f", {ages['least']:g} to {ages['most']:g} years" if ages["known"] else ""
    subjects = {
        "views": _listed(facts["views"]),
        "ages": f"known {ages['known']:,}, unknown {ages['unknown']:,}{span}",
        "sexes": _listed(facts["sexes"]),
        "splits": _listed(facts["splits"]) or "none",
        "sources": _listed(facts["sites"]),
        "sizes": _listed(facts["sizes"]) or "not known",
        "left out": _listed(facts["unfit"]) or "none",
        "burned-in text": _burned_in(**facts["burned_in"]),
    }
    show(("subject", "pictures"), subjects.items())
    for problem in found.data.problems:
        typer.echo(str(problem))
    typer.echo(_verdict(facts["baselines"]))


def _verdict(baselines: Mapping[str, Any]) -> str:
    """Return whether there are baselines enough for an audit, and what would give more."""
    usable, needed = baselines["usable"], baselines["needed"]
    start = f"Baselines (no finding, frontal, one per patient): {usable['adults']:,} adults"
    if baselines["enough"]:
        return f"{start}: enough for an audit, which judges from {needed}."
    # Each option only where it gives more than the one before.
    more = {n: ages for ages, n in reversed(usable.items()) if n > usable["adults"]}
    ways = [f"With --ages {ages} there are {n:,}." for n, ages in sorted(more.items())]
    why = [] if usable["adults"] else [baselines["why"]]
    return " ".join((f"{start}: too few for an audit, which judges from {needed}.", *ways, *why))


def _burned_in(looked: int, header: int, found: int) -> str:
    if not looked:
        return "not looked for"
    return f"letters in {found:,}, header says so in {header:,}, of {looked:,} (--sample)"


def _listed(counts: Mapping[str, int]) -> str:
    """Return "name 12, other 3", the first of them."""
    shown = [f"{name} {number:,}" for name, number in counts.items()]
    rest = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {rest} others" if rest > 0 else "")


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
    keep_ids: Annotated[
        bool, typer.Option("--keep-ids", help="Write where the data lie, not only their kind.")
    ] = False,
) -> None:
    """Count how often findings come together: P(column | row), with intervals."""
    from roentmod import datasets
    from roentmod.datasets.sheets import read_table
    from roentmod.jobs.augment import save_cooccurrence
    from roentmod.science import cooccurrence as counting

    if (data is None) == (readers is None):
        raise EditError("Count either --data or --readers; got both or neither. Give one.")
    if readers is not None:
        source = str(readers) if keep_ids else "readings"
        matrix = counting.from_readings(read_table(readers), source=source)
    else:
        counted = datasets.load(str(data), check_files=False)
        source = str(data) if keep_ids else f"labels of {counted.name}"
        unit: Any = "patient" if per_patient else "image"
        matrix = counting.from_labels(counted.table, source=source, unit=unit)
    save_cooccurrence(matrix, out)
    typer.echo(f"P(also | finding) in {matrix.source}, with {matrix.level:.0%} intervals")
    _pairs(matrix.table(), matrix.unit)


def _pairs(cells: Any, unit: str) -> None:
    """Print how often findings come with others, the most frequent first."""
    known = cells[cells["n_row"] > 0].sort_values("rate", ascending=False, kind="stable")
    rows = [
        (
            cell.row,
            cell.column,
            f"{cell.rate:.1%}",
            f"{cell.low:.0%} to {cell.high:.0%}",
            f"{cell.n_both:,} of {cell.n_row:,}",
        )
        for name in cells["row"].unique()
        for cell in known[known["row"] == name].itertuples()
    ]
    show(("finding", "also", "rate", "interval", f"{unit}s"), rows)
