"""A reader at work: what is shown, what is stored, and nothing twice."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from roentmod.errors import ReadersError
from roentmod.jobs.readers.design import Design
from roentmod.web.readers.accounts import Visitor, iso
from roentmod.web.readers.database import ADMIN, Account, Answer, Login, Revision, Store, Study
from roentmod.web.readers.progress import Asked, block_of, following, session_ends

__all__ = ["Given", "Progress", "Sitting", "State"]

# A client's clock may stand still or run for days; more is no time of an answer.
_LONGEST_MS = 7 * 24 * 3600 * 1000


class Given(NamedTuple):
    """An answer as a page sends it.

    Attributes:
        case: what the page calls the case.
        question: as it was asked.
        value: of the option.
        client_ms: from question to answer by the client's clock.
    """

    case: str
    question: str
    value: int
    client_ms: int


class State(NamedTuple):
    """What a reader's page shows.

    Attributes:
        kind: a question, a break, a rest until a time, a pause, or the end.
        asked: the question, also behind a break.
        done: steps that are complete.
        total: steps in all.
        sessions: in all.
        until: when a rest ends.
        back: whether the question before may be asked again.
    """

    kind: Literal["question", "break", "rest", "paused", "done"]
    asked: Asked | None
    done: int
    total: int
    sessions: int
    until: str = ""
    back: bool = False


class Progress(NamedTuple):
    """How far a reader is, as the administrator sees it; `last` is the time of the last answer."""

    name: str
    invited: bool
    opened: bool
    paused: bool
    done: int
    total: int
    answers: int
    last: str


class Sitting:
    """The one place where answers are made."""

    def __init__(self, design: Design, store: Store, key: bytes, clock: Callable[[], datetime]):
        """Keep design, database, the key that hides ids, and the clock (UTC)."""
        self._design, self._store, self._key, self._clock = design, store, key, clock
        self._hidden = lru_cache(maxsize=None)(self._hide)

    def claim(self) -> None:
        """Tie the database to the design.

        Raises:
            ReadersError: it has answers to another one.
        """
        with self._store.writing() as session:
            study = session.get(Study, 1)
            if study is None:
                session.add(Study(number=1, plan_hash=self._design.hash))
            elif study.plan_hash != self._design.hash:
                if session.scalar(select(func.count()).select_from(Answer)):
                    raise ReadersError(
                        "A plan is frozen once there is an answer; these answers belong to another "
                        "plan. Bring that plan back, or use another database."
                    )
                study.plan_hash = self._design.hash

    def _hide(self, reader: str, case: str) -> str:
        text = f"case {reader} {case}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:24]

    def hidden(self, reader: str, case: str) -> str:
        """Return what a reader's pages call a case: another name for each reader."""
        return self._hidden(reader, case)

    def state(self, reader: str) -> State:
        """Return what is shown now; the server's clock of the question starts again."""
        with self._store.writing() as session:
            return self._show(session, reader)

    def cases(self, reader: str) -> tuple[str, ...]:
        """Return the cases whose pictures the reader may see now: those of the question."""
        with self._store.reading() as session:
            state = self._where(session, reader)
        asked = state.asked if state.kind == "question" else None
        return tuple(c for c in (asked.step.case, asked.step.other) if c) if asked else ()

    def answer(self, visitor: Visitor, given: Given) -> tuple[bool, State]:
        """Store an answer to the question that is asked, in one transaction.

        The same answer again changes nothing; an answer to anything else is refused.

        Returns:
            Whether it is stored, and what is shown next.
        """
        with self._store.writing() as session:
            # Two windows of one reader wait for each other here.
            session.get(Account, visitor.name, with_for_update=True)
            state = self._where(session, visitor.name)
            asked = state.asked if state.kind == "question" else None
            fits = asked is not None and self._fits(visitor.name, asked, given)
            if asked is not None and fits:
                self._keep(session, visitor, asked, given)
            stored = fits or self._doubled(session, visitor.name, given)
            session.flush()
            return stored, self._show(session, visitor.name)

    def _fits(self, reader: str, asked: Asked, given: Given) -> bool:
        same = given.case == self.hidden(reader, asked.step.case)
        values = [option.value for option in asked.options]
        return same and given.question == asked.question and given.value in values

    def _doubled(self, session: Session, reader: str, given: Given) -> bool:
        """Tell whether an answer repeats the last one."""
        last = session.scalar(_last(reader).limit(1))
        return last is not None and (
            (given.case, given.question, given.value)
            == (self.hidden(reader, last.case), last.question, last.value)
        )

    def _keep(self, session: Session, visitor: Visitor, asked: Asked, given: Given) -> None:
        account = session.get_one(Account, visitor.name)
        now = self._clock()
        shown = account.shown_at if account.shown_question == _name(asked) else iso(now)
        waited = now - datetime.fromisoformat(shown)
        session.add(
            Answer(
                reader=visitor.name,
                session=asked.step.session,
                position=asked.position,
                case=asked.step.case,
                block=block_of(asked.question),
                question=asked.question,
                value=given.value,
                other=asked.step.other,
                shown_at=shown,
                answered_at=iso(now),
                client_ms=min(max(given.client_ms, 0), _LONGEST_MS),
                server_ms=min(max(waited // timedelta(milliseconds=1), 0), _LONGEST_MS),
                login=visitor.login,
            )
        )

    def go_on(self, reader: str) -> State:
        """End a break."""
        with self._store.writing() as session:
            state = self._where(session, reader)
            if state.kind == "break" and state.asked is not None:
                session.get_one(Account, reader).rested = state.asked.position
            return self._show(session, reader)

    def back(self, reader: str) -> State:
        """Take the last answer of the case back, where the design lets readers; it is kept aside.

        A case that is complete stays so.
        """
        with self._store.writing() as session:
            session.get(Account, reader, with_for_update=True)
            state = self._where(session, reader)
            if state.back and state.asked is not None:
                last = session.scalars(_last(reader).limit(1)).one()
                facts = {n: getattr(last, n) for n in ("case", "question", "value", "answered_at")}
                session.add(Revision(reader=reader, removed_at=iso(self._clock()), **facts))
                session.execute(delete(Answer).where(Answer.number == last.number))
            return self._show(session, reader)

    def _show(self, session: Session, reader: str) -> State:
        """Return what is shown, and note when."""
        state = self._where(session, reader)
        account = session.get_one(Account, reader)
        account.shown_question = "" if state.asked is None else _name(state.asked)
        account.shown_at = iso(self._clock())
        return state

    def _where(self, session: Session, reader: str) -> State:
        """Return how far a reader is."""
        last = list(session.scalars(_last(reader).limit(1)))
        position = last[0].position if last else 0
        here = select(Answer).where(Answer.reader == reader, Answer.position == position)
        values = {one.question: one.value for one in session.scalars(here)}
        asked = following(self._design, reader, position, values)
        total = len(self._design.steps[reader])
        done = total if asked is None else asked.position - 1
        sessions = self._design.content["sessions"]
        state = State("question", asked, done, total, sessions)
        account = session.get_one(Account, reader)
        if asked is None:
            return state._replace(kind="done")
        if account.paused or session.get_one(Study, 1).paused:
            return state._replace(kind="paused")
        if asked.position == position:
            return state._replace(back=self._design.plan.back)
        return self._between(state, asked, account, last[0].answered_at if last else "")

    def _between(self, state: State, asked: Asked, account: Account, before: str) -> State:
        """Return a break or a rest where one is due before a step."""
        ends = session_ends(self._design, account.name, asked.position)
        plan = self._design.plan
        if ends and plan.rest:
            until = iso(datetime.fromisoformat(before) + timedelta(hours=plan.rest))
            if until > iso(self._clock()):
                return state._replace(kind="rest", until=until)
        due = ends or (state.done and state.done % plan.breaks == 0)
        if due and account.rested != asked.position:
            return state._replace(kind="break")
        return state

    def progress(self) -> list[Progress]:
        """Return how far each reader is; nothing of what they answered."""
        with self._store.reading() as session:
            rows = session.execute(
                select(Answer.reader, func.count(), func.max(Answer.answered_at)).group_by(
                    Answer.reader
                )
            )
            counts = {reader: (number, last) for reader, number, last in rows}
            result = []
            for account in session.scalars(select(Account).where(Account.name != ADMIN)):
                state = self._where(session, account.name)
                number, last = counts.get(account.name, (0, ""))
                result.append(
                    Progress(
                        name=account.name,
                        invited=account.invitation is not None,
                        opened=account.password is not None,
                        paused=account.paused,
                        done=state.done,
                        total=state.total,
                        answers=number,
                        last=last,
                    )
                )
            return sorted(result, key=lambda one: self._design.readers.index(one.name))

    def pause(self, paused: bool, reader: str | None = None) -> None:
        """Pause the study, or one reader; or let them go on.

        Raises:
            ReadersError: no such reader.
        """
        with self._store.writing() as session:
            if reader is None:
                session.get_one(Study, 1).paused = paused
            elif reader not in self._design.readers:
                raise ReadersError(f"Readers have the ids of the plan; got '{reader}'.")
            else:
                session.get_one(Account, reader).paused = paused

    @property
    def paused(self) -> bool:
        """Whether the study is paused."""
        with self._store.reading() as session:
            return session.get_one(Study, 1).paused

    def displays(self) -> list[tuple[str, str, str]]:
        """Return reader, time and display check of every login."""
        with self._store.reading() as session:
            wanted = select(Login.account, Login.since, Login.display).where(Login.display != "")
            return [(name, since, facts) for name, since, facts in session.execute(wanted)]


def _last(reader: str):  # type: ignore[no-untyped-def]
    return select(Answer).where(Answer.reader == reader).order_by(Answer.number.desc())


def _name(asked: Asked) -> str:
    return f"{asked.position} {asked.question}"
