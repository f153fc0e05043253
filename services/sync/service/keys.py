"""Service keys: make, list, revoke and recognize them (docs/api.md, "The server's own hand")."""

import hashlib
import logging
import re
import secrets
import string
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, bindparam, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.database.base import db
from shared.database.bulk import execute_count
from shared.database.transaction import look_up, transaction
from shared.models import ServiceKey
from shared.now import now_ms
from shared.web.errors import NotFound, Problem

log = logging.getLogger("audit")

SCOPES = ("sync:read", "sync:write", "reference:write")
#: By which people, and scanners of logs and repositories, know one.
PREFIX = "wdbsk_"
LETTERS = string.digits + string.ascii_letters
#: Of those letters: 238 bits, which nobody guesses, so that a fast hash is enough.
LENGTH = 40
#: A name stands in rows, as whoever wrote them, and in log lines.
NAME = re.compile(r"[A-Za-z0-9_.-]{1,36}", re.ASCII)
#: How exact the time of the last use is.
USE_MS = 60_000

#: Built once, since every service call runs it.
FIND = select(ServiceKey.id, ServiceKey.name, ServiceKey.scopes, ServiceKey.last_used_at).where(
    ServiceKey.key_hash == bindparam("key_hash"), ServiceKey.revoked_at.is_(None)
)
NOTE_USE = (
    update(ServiceKey)
    .where(
        ServiceKey.id == bindparam("key"),
        or_(ServiceKey.last_used_at.is_(None), ServiceKey.last_used_at < bindparam("before")),
    )
    .values(last_used_at=bindparam("now"))
)


class InvalidName(Problem):
    """The name cannot be a service key's."""

    status, code = 422, "invalid_request"
    detail = "NAME has 1 to 36 of the characters A-Z, a-z, 0-9, '_', '.' and '-'."


class NameTaken(Problem):
    """A living service key has this name."""

    status, code = 409, "name_taken"
    detail = "A living service key has this name. Choose another one, or revoke that key first."


class UnknownScope(Problem):
    """One of the scopes is none, or there is none at all."""

    status, code = 422, "invalid_request"
    detail = f"SCOPES is one or more of these, separated by commas: {', '.join(SCOPES)}."


@dataclass(frozen=True)
class KnownKey:
    """The service key that a request came with."""

    id: str
    name: str
    scopes: frozenset[str]
    last_used_at: int | None


def create_key(name: str, scopes: Collection[str]) -> str:
    """Make a service key and return it: it can be shown this once.

    Raises `InvalidName`, `NameTaken`, `UnknownScope`.
    """
    if not NAME.fullmatch(name):
        raise InvalidName
    if not scopes or not set(scopes) <= set(SCOPES):
        raise UnknownScope
    ordered = " ".join(scope for scope in SCOPES if scope in scopes)
    key = PREFIX + "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
    _add(name, ordered, hash_of(key))
    log.info("service_key_created", extra={"key_name": name, "scopes": ordered})
    return key


@transaction
def _add(name: str, scopes: str, key_hash: str) -> None:
    db.session.add(
        ServiceKey(
            id=str(uuid.uuid4()),
            name=name,
            living_name=name,
            key_hash=key_hash,
            scopes=scopes,
            created_at=now_ms(),
        )
    )
    try:
        db.session.flush()
    except IntegrityError as error:
        raise NameTaken from error


def list_keys() -> Sequence[Row[*tuple[Any, ...]]]:
    """Return name, scopes, creation and last use of the living keys, by name."""
    query = select(
        ServiceKey.name, ServiceKey.scopes, ServiceKey.created_at, ServiceKey.last_used_at
    )
    with db.session.begin():
        living = query.where(ServiceKey.revoked_at.is_(None)).order_by(ServiceKey.name)
        return db.session.execute(living).all()


def revoke_key(name: str) -> None:
    """End a living service key: when this has returned, every process refuses it. Raises `NotFound`."""
    if not _revoke(name):
        raise NotFound("There is no living service key of this name.")
    log.info("service_key_revoked", extra={"key_name": name})


@transaction
def _revoke(name: str) -> int:
    ended = update(ServiceKey).where(ServiceKey.living_name == name)
    return execute_count(ended.values(living_name=None, revoked_at=now_ms()))


def hash_of(key: str) -> str:
    """Return what the database knows of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def find_key(key_hash: str) -> KnownKey | None:
    """Return the living key of a hash, by the database alone: what was revoked is refused at once."""
    found = look_up(FIND, {"key_hash": key_hash})
    if found is None:
        return None
    return KnownKey(found.id, found.name, frozenset(found.scopes.split()), found.last_used_at)


#: When this process last noted the use of a key, by `time.monotonic`: one failure is no reason for another.
_noted: dict[str, float] = {}


def note_use(key: KnownKey, engine: Engine) -> None:
    """Write that a key was used, once a minute. To be called when the answer is out: it may wait and fail.

    `engine` is that of `look_up`, whose statements are transactions of their own.
    """
    now, ran = now_ms(), time.monotonic()
    was_noted = _noted.get(key.id, -USE_MS) > ran - USE_MS / 1000
    if was_noted or (key.last_used_at or 0) > now - USE_MS:
        return
    _noted[key.id] = ran
    try:
        with engine.connect() as connection:
            connection.execute(NOTE_USE, {"key": key.id, "now": now, "before": now - USE_MS})
    except (DBAPIError, PoolTimeout):
        logging.getLogger(__name__).debug("use_not_noted", extra={"key_name": key.name})
