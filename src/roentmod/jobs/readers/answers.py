"""Tables of a reader study: what readers answered, and what is true."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from roentmod._optional import require
from roentmod.documents import read_document
from roentmod.errors import InputError, ReadersError
from roentmod.store import canonical_hash

__all__ = ["ANSWERS", "DATABASE", "TRUTH", "driver", "read_answers", "read_truth", "truth_folder"]

DATABASE = "study.db"
TRUTH = "truth.json"
# Columns of the table of answers, in order.
ANSWERS = (
    "reader", "session", "position", "case", "block", "question", "value", "other",
    "shown_at", "answered_at", "client_ms", "server_ms",
)  # fmt: skip


def truth_folder(study: Path) -> Path:
    """Return where the truth of a study lies: beside it, as the served folder must not hold it."""
    place = study.absolute()
    return place.with_name(f"{place.name}-truth")


def read_answers(place: str | Path) -> pd.DataFrame:
    """Return the answers of a study, one row per answer, by reader and order.

    Args:
        place: the study's folder, the URL of its database, or an exported CSV or Parquet file.

    Returns:
        `ANSWERS`: times are UTC in ISO 8601; `block` is "findings", "realism" or "pairs";
        `question` "finding:NAME", "side:NAME", "severity:NAME", "realism" or "pair"; `value` 1 to 5
        for findings, 1 to 3 for sides (left, right, both) and severities (mild, moderate, severe),
        1 to 6 for realism (6: surely altered), and for a pair 0 or 1: which of `case` and `other`
        is called the altered one.

    Raises:
        ReadersError: no answers are there, or the file is something else.
    """
    text = str(place)
    table = _database(text) if "://" in text or Path(text).is_dir() else _file(Path(text))
    lacking = [name for name in ANSWERS if name not in table.columns]
    if lacking:
        raise ReadersError(
            f"Answers have the columns {', '.join(ANSWERS)}; got none of {', '.join(lacking)}. "
            "Export them again: roentmod readers export."
        )
    return table[list(ANSWERS)]


def _file(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, keep_default_na=False, dtype={"case": str, "other": str})
    except (OSError, ValueError) as error:
        raise ReadersError(
            f"Answers are a study's folder, a database's URL, CSV or Parquet; reading {path.name} "
            f"gave '{error}'. Check the path."
        ) from error


def _database(place: str) -> pd.DataFrame:
    sql = require("sqlalchemy")
    if "://" not in place:
        file = Path(place) / DATABASE
        if not file.is_file():
            raise ReadersError(
                f"A study's answers are in {DATABASE}, or in the database that it was served with; "
                f"{place} has none. Serve it first, or give --database."
            )
        place = f"sqlite:///{file}"
    engine = sql.create_engine(driver(place))
    try:
        with engine.connect() as connection:
            columns = [sql.column(name) for name in (*ANSWERS, "number")]
            answers = sql.table("answers", *columns)
            query = sql.select(*columns[:-1]).order_by(sql.column("reader"), sql.column("number"))
            return pd.read_sql(query.select_from(answers), connection)
    except sql.exc.SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise ReadersError(
            f"The database of a reader study is needed; it gave '{reason}'. Check --database."
        ) from error
    finally:
        engine.dispose()


def driver(url: str) -> str:
    """Return a database's URL with the driver that is used; a missing one is named.

    Raises:
        MissingDependencyError: PostgreSQL's driver is not installed.
    """
    kind, _, rest = url.partition("://")
    if kind in ("postgres", "postgresql"):
        require("psycopg")
        return f"postgresql+psycopg://{rest}"
    return url


def read_truth(folder: str | Path) -> pd.DataFrame:
    """Return what is true of a study's cases, one row per case.

    Args:
        folder: the study's, whose truth lies beside it, or the truth's.

    Returns:
        `case`, `kind` ("edit", "real_positive", "real_normal", "repeat", "attention", "practice"),
        `of` (for a repeat, the case shown before), `patient`, `finding` (requested or labelled),
        `present` (lists of findings that are true of it), `side`, `severity`, `view`, `source`,
        `editor`.

    Raises:
        ReadersError: there is none, or it is not that of the study's plan.
    """
    place = Path(folder)
    file = next((f for f in (place / TRUTH, truth_folder(place) / TRUTH) if f.is_file()), None)
    if file is None:
        raise ReadersError(
            f"A study's truth is the folder {truth_folder(place).name} beside it, with {TRUTH}; "
            "it is not there. Bring it back, or name it."
        )
    try:
        content = read_document(file)
        plan = read_document(place / "plan.json") if (place / "plan.json").is_file() else None
    except InputError as error:
        raise ReadersError(str(error)) from error
    if plan is not None and plan.get("truth_sha256") != canonical_hash(content):
        raise ReadersError(
            f"The truth is that which the plan was made with; {file.parent.name}/{TRUTH} is "
            "another. Bring the right one back."
        )
    return pd.DataFrame(content["cases"])
