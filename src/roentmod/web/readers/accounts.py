"""Who may come in: signed invitations that work once, passwords, and logins kept by the server."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from roentmod.errors import ReadersError
from roentmod.web.readers.database import ADMIN, Account, Login, Store

__all__ = ["SHORTEST", "Accounts", "Visitor", "iso"]

Clock = Callable[[], datetime]
SHORTEST, _LONGEST = 10, 200
_VALID = timedelta(days=14)
_IDLE = timedelta(hours=12)
_WAIT = timedelta(seconds=60)
_TRIES = 5
# Written again only so often: a write per request would be one too many.
_FRESH = timedelta(minutes=1)
_INVITATION = re.compile(r"([\w-]{1,40})\.([0-9a-f]{32})\.(\d{1,12})\.([0-9a-f]{64})")


def iso(time: datetime) -> str:
    """Return a UTC time in ISO 8601 with milliseconds."""
    return time.isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Visitor:
    """Who sent a request.

    Attributes:
        name: reader's opaque id, or "admin".
        login: number of the login.
        checked: whether its display was checked.
    """

    name: str
    login: int
    checked: bool

    @property
    def admin(self) -> bool:
        """Whether it is the administrator."""
        return self.name == ADMIN


class Accounts:
    """The accounts of one study."""

    def __init__(self, store: Store, key: bytes, clock: Clock) -> None:
        """Keep the database, the key that signs invitations, and the clock (UTC)."""
        self._store, self._key, self._clock = store, key, clock
        self._hasher = PasswordHasher()

    def ensure(self, names: Iterable[str]) -> None:
        """Make an account for each name that has none, and the administrator's."""
        with self._store.writing() as session:
            known = set(session.scalars(select(Account.name)))
            session.add_all(Account(name=n) for n in (ADMIN, *names) if n not in known)

    def opened(self, name: str) -> bool:
        """Tell whether an account has a password."""
        with self._store.reading() as session:
            return _account(session, name).password is not None

    def invite(self, name: str) -> str:
        """Return what a new invitation's link ends with; earlier ones are void.

        Raises:
            ReadersError: no such reader.
        """
        nonce = secrets.token_hex(16)
        with self._store.writing() as session:
            _account(session, name).invitation = nonce
        text = f"{name}.{nonce}.{int((self._clock() + _VALID).timestamp())}"
        return f"{text}.{self._sign(text)}"

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, b"invitation " + text.encode(), hashlib.sha256).hexdigest()

    def invited(self, token: str) -> str | None:
        """Return whom an invitation is for; None where it is forged, used, void or too old."""
        parts = _INVITATION.fullmatch(token)
        if parts is None or not parts[3].isascii():
            return None
        name, nonce, until, signature = parts.groups()
        if not hmac.compare_digest(signature, self._sign(f"{name}.{nonce}.{until}")):
            return None
        with self._store.reading() as session:
            account = session.get(Account, name)
            valid = account is not None and account.invitation == nonce
        return name if valid and int(until) > self._clock().timestamp() else None

    def accept(self, token: str, password: str) -> str | None:
        """Set the password of an invitation, once; return a login's cookie, None if void.

        Other logins of the account end.

        Raises:
            ReadersError: the password is too short or too long.
        """
        if not SHORTEST <= len(password) <= _LONGEST:
            raise ReadersError(
                f"A password has {SHORTEST} to {_LONGEST} characters; got {len(password)}. "
                "Choose another."
            )
        name = self.invited(token)
        if name is None:
            return None
        password_hash, nonce = self._hasher.hash(password), token.split(".")[1]
        with self._store.writing() as session:
            taken = session.execute(
                update(Account)
                .where(Account.name == name, Account.invitation == nonce)
                .values(password=password_hash, invitation=None, failures=0, locked_until="")
            )
            if taken.rowcount != 1:  # type: ignore[attr-defined]
                return None
            now = iso(self._clock())
            session.execute(
                update(Login).where(Login.account == name, Login.ended == "").values(ended=now)
            )
            return self._begin(session, name)

    def log_in(self, name: str, password: str) -> str | None:
        """Return a login's cookie; None for a wrong name or password, or too many wrong ones."""
        now = self._clock()
        with self._store.reading() as session:
            account = session.get(Account, name[:40])
            known = account.password if account is not None else None
            locked = account is not None and account.locked_until > iso(now)
        # As long for a name that nobody has: time says nothing.
        right = self._verify(known or self._dummy, password[: _LONGEST + 1]) and known is not None
        if account is None or locked:
            return None
        with self._store.writing() as session:
            account = _account(session, name)
            if not right:
                account.failures += 1
                if account.failures >= _TRIES:
                    account.failures, account.locked_until = 0, iso(now + _WAIT)
                return None
            account.failures = 0
            return self._begin(session, name)

    @property
    def _dummy(self) -> str:
        if not hasattr(self, "_made"):
            self._made = self._hasher.hash(secrets.token_hex(16))
        return self._made

    def _verify(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (Argon2Error, InvalidHashError):
            return False

    def _begin(self, session: Session, name: str) -> str:
        cookie, now = secrets.token_urlsafe(32), iso(self._clock())
        session.add(Login(token=_hashed(cookie), account=name, since=now, seen=now))
        return cookie

    def visitor(self, cookie: str | None) -> Visitor | None:
        """Return whose cookie it is; None for none, a false one, or one that was not used long."""
        if not cookie or len(cookie) > 100:
            return None
        now = self._clock()
        with self._store.reading() as session:
            login = session.scalar(select(Login).where(Login.token == _hashed(cookie)))
            if login is None or login.ended or login.seen < iso(now - _IDLE):
                return None
            visitor = Visitor(login.account, login.number, login.display != "")
            stale = login.seen < iso(now - _FRESH)
        if stale:
            with self._store.writing() as session:
                session.execute(
                    update(Login).where(Login.number == visitor.login).values(seen=iso(now))
                )
        return visitor

    def check_display(self, visitor: Visitor, facts: str) -> None:
        """Record the display check of a login, once."""
        with self._store.writing() as session:
            session.execute(
                update(Login)
                .where(Login.number == visitor.login, Login.display == "")
                .values(display=facts)
            )

    def log_out(self, visitor: Visitor) -> None:
        """End a login."""
        with self._store.writing() as session:
            session.execute(
                update(Login).where(Login.number == visitor.login).values(ended=iso(self._clock()))
            )


def _account(session: Session, name: str) -> Account:
    account = session.get(Account, name)
    if account is None:
        raise ReadersError(
            f"Readers have the ids of the plan; got '{name}'. They are on the administrator's page."
        )
    return account


def _hashed(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
