"""What a reader study stores: accounts, logins, answers. No name, no truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, ForeignKey, Index, UniqueConstraint, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from roentmod.errors import ReadersError
from roentmod.jobs.readers.answers import DATABASE, driver

__all__ = ["ADMIN", "Account", "Answer", "Base", "Login", "Revision", "Store", "Study"]

ADMIN = "admin"
_WRITE = "roentmod_write"


class Base(DeclarativeBase):
    """All tables. Times are UTC in ISO 8601."""


class Study(Base):
    """The one row of the study itself.

    Attributes:
        number: 1.
        plan_hash: of the design that answers belong to.
        paused: nobody is asked anything.
    """

    __tablename__ = "study"
    number: Mapped[int] = mapped_column(primary_key=True)
    plan_hash: Mapped[str]
    paused: Mapped[bool] = mapped_column(default=False)


class Account(Base):
    """A reader, or the administrator.

    Attributes:
        name: opaque id.
        password: argon2 hash, once an invitation was accepted.
        invitation: what the one valid invitation has in it, until it is accepted.
        paused: nothing is asked.
        failures: wrong passwords in a row.
        locked_until: no login before.
        shown_question: what was shown last, "POSITION QUESTION".
        shown_at: when, by the server's clock.
        rested: position before which a break was offered and ended.
    """

    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(primary_key=True)
    password: Mapped[str | None]
    invitation: Mapped[str | None]
    paused: Mapped[bool] = mapped_column(default=False)
    failures: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[str] = mapped_column(default="")
    shown_question: Mapped[str] = mapped_column(default="")
    shown_at: Mapped[str] = mapped_column(default="")
    rested: Mapped[int] = mapped_column(default=0)


class Login(Base):
    """A time at the screen.

    Attributes:
        number: its id.
        token: SHA-256 of what the cookie holds.
        account: whose.
        since: when it began.
        seen: last request.
        ended: when it ended, or "".
        display: the display check as JSON, or "" before it.
    """

    __tablename__ = "logins"
    number: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), index=True)
    since: Mapped[str]
    seen: Mapped[str]
    ended: Mapped[str] = mapped_column(default="")
    display: Mapped[str] = mapped_column(default="")


class Answer(Base):
    """One answer, columns as in `read_answers`: one per reader, case and question."""

    __tablename__ = "answers"
    __table_args__ = (
        UniqueConstraint("reader", "case", "question", name="one_answer"),
        Index("ix_answers_reader", "reader", "position"),
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    reader: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    session: Mapped[int]
    position: Mapped[int]
    case: Mapped[str]
    block: Mapped[str]
    question: Mapped[str]
    value: Mapped[int]
    other: Mapped[str]
    shown_at: Mapped[str]
    answered_at: Mapped[str]
    client_ms: Mapped[int]
    server_ms: Mapped[int]
    login: Mapped[int] = mapped_column(ForeignKey("logins.number"))


class Revision(Base):
    """An answer that its reader took back, where the design lets them."""

    __tablename__ = "revisions"
    number: Mapped[int] = mapped_column(primary_key=True)
    reader: Mapped[str]
    case: Mapped[str]
    question: Mapped[str]
    value: Mapped[int]
    answered_at: Mapped[str]
    removed_at: Mapped[str]


class Store:
    """The database of one study."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine, whose tables are up to date."""
        self._engine = engine

    @classmethod
    def open(cls, folder: Path, url: str | None = None) -> Store:
        """Return the database of a study, its tables brought up to date.

        Args:
            folder: the study's, where SQLite's file lies.
            url: of another database, such as ``postgresql://user@host/name``.

        Raises:
            ReadersError: it cannot be used.
            MissingDependencyError: its driver is not installed.
        """
        place = driver(url) if url else f"sqlite:///{folder.absolute() / DATABASE}"
        try:
            engine = create_engine(place, **({} if _sqlite(place) else {"pool_size": 10}))
            if engine.dialect.name == "sqlite":
                _settle(engine)
            _migrate(engine)
        except SQLAlchemyError as error:
            reason = str(error).splitlines()[0]
            raise ReadersError(
                f"A reader study needs a database that it can write; it gave '{reason}'. Check "
                "--database."
            ) from error
        return cls(engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that changes nothing."""
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session that is one transaction: all of it is on the disk afterwards, or none."""
        with Session(self._engine.execution_options(**{_WRITE: True})) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _sqlite(place: str) -> bool:
    return place.startswith("sqlite")


def _settle(engine: Engine) -> None:
    """Let SQLite write ahead and safely, and writers wait for each other from the start."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for line in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=10000",
            "foreign_keys=ON",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {line}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Any) -> None:
        write = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.execution_options(**{_WRITE: True}).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
