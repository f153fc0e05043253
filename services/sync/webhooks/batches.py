"""The batches of a receiver: made of the oldest changes that wait, held while they are sent, settled.

A receiver's row says which process may tell it something, for a while that is longer than an attempt takes.
Whoever holds it makes a batch, sends it and settles it; one that died in between loses its hold, and the next
sends the same batch again.

In one space the changes are told in the order of their ticks: who writes a tick holds the space until the
commit, so whoever sees a change sees all of the space that come before it.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import uniform
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from shared.database.base import db
from shared.database.bulk import execute_count, insert_or_update
from shared.database.transaction import transaction
from shared.models import WebhookBatch, WebhookChange, WebhookReceiver
from shared.models.tables import pulled_tables
from shared.now import DAY_MS, now_ms

#: Changes of a batch.
MAX_CHANGES = 500
#: How long a receiver is held for an attempt: twice as long as one takes, for clocks that differ.
HOLD_MS = 30 * 1000
#: The first retry comes after this, each next one after twice as long, up to an hour.
FIRST_RETRY_MS, MAX_RETRY_MS = 4 * 1000, 60 * 60 * 1000
#: What could not be told for so long is given up.
GIVE_UP_MS = 3 * DAY_MS
#: Of so many changes that wait it is known how many they are.
MAX_COUNTED = 100_000

CHANGE: Any = WebhookChange.__table__
#: One change by its key: a longer condition might lock what others are about to write.
FORGET = delete(CHANGE).where(
    *(column == bindparam(f"old_{column.name}") for column in CHANGE.primary_key)
)


@dataclass(frozen=True)
class Batch:
    """What is sent to a receiver next."""

    id: str
    body: bytes
    changes: int
    #: Those that failed.
    attempts: int
    #: When another process may take the receiver.
    held_until: int


@dataclass(frozen=True)
class Settled:
    """What came of an attempt: how many have failed in a row, and whether the batch was given up."""

    failures: int
    is_given_up: bool


@dataclass(frozen=True)
class Backlog:
    """What waits for a receiver."""

    changes: int
    #: Milliseconds since the oldest was written.
    age_ms: int
    #: Batches that were given up.
    failed: int


def enter(name: str) -> None:
    """Make a receiver's row, unless there is one."""
    table: Any = WebhookReceiver.__table__
    new = {"name": name, "held_until": 0, "failures": 0, "next_at": 0}
    transaction(lambda: db.session.execute(insert_or_update(table, [new], [("name", name)])))()


def has_due(name: str) -> bool:
    """Return whether there is something to tell a receiver now. Nothing is locked for that."""
    waits = or_(
        select(CHANGE.c.tick).where(CHANGE.c.receiver == name).exists(),
        select(WebhookBatch.id).where(_is_pending(name)).exists(),
    )
    query = select(WebhookReceiver.name).where(
        WebhookReceiver.name == name, _is_due(now_ms()), waits
    )
    with db.session.begin():
        return db.session.scalar(query) is not None


@transaction
def take(name: str, holder: str) -> Batch | None:
    """Hold a receiver, and return its next batch; None when another process holds it, or nothing is due."""
    now = now_ms()
    free = or_(
        WebhookReceiver.holder == holder,
        WebhookReceiver.held_until <= now,
        # Written by a clock that was wrong.
        WebhookReceiver.held_until > now + 2 * HOLD_MS,
    )
    own = update(WebhookReceiver).where(WebhookReceiver.name == name, free, _is_due(now))
    if not execute_count(own.values(holder=holder, held_until=now + HOLD_MS)):
        return None
    columns = (WebhookBatch.id, WebhookBatch.body, WebhookBatch.changes, WebhookBatch.attempts)
    oldest = select(*columns).where(_is_pending(name)).order_by(WebhookBatch.made_at).limit(1)
    if found := db.session.execute(oldest).one_or_none():
        body = found.body.encode()
        return Batch(found.id, body, found.changes, found.attempts, now + HOLD_MS)
    return _make(name, now)


def _is_pending(name: str) -> ColumnElement[bool]:
    return and_(WebhookBatch.receiver == name, WebhookBatch.failed_at.is_(None))


def _is_due(now: int) -> ColumnElement[bool]:
    far = WebhookReceiver.next_at > now + 2 * MAX_RETRY_MS
    return or_(WebhookReceiver.next_at <= now, far)


def _make(name: str, now: int) -> Batch | None:
    """Make a batch of the oldest changes; None when there are none."""
    oldest = select(*CHANGE.c).where(CHANGE.c.receiver == name).order_by(*CHANGE.primary_key)
    found = db.session.execute(oldest.limit(MAX_CHANGES)).all()
    if not found:
        return None
    last = select(func.max(WebhookBatch.made_at)).where(WebhookBatch.receiver == name)
    id_, body = str(uuid.uuid4()), write_body(found, now)
    batch = Batch(id_, body, len(found), attempts=0, held_until=now + HOLD_MS)
    db.session.execute(
        insert(WebhookBatch).values(
            id=batch.id,
            receiver=name,
            body=batch.body.decode(),
            changes=batch.changes,
            oldest_at=min(change.written_at for change in found),
            made_at=max(now, (db.session.scalar(last) or 0) + 1),
            attempts=0,
        )
    )
    forget_changes(found)
    return batch


def forget_changes(changes: Iterable[Row[Any]]) -> None:
    """Delete changes from the outbox, within the caller's transaction."""
    names = [column.name for column in CHANGE.primary_key]
    keys = [{f"old_{name}": getattr(change, name) for name in names} for change in changes]
    db.session.connection().execute(FORGET, keys)


def write_body(changes: Sequence[Row[Any]], now: int) -> bytes:
    """Return what a receiver is sent."""
    wire = {table.sql.name: table.name for table in pulled_tables()}
    told = [
        {
            "space": change.space_id or None,
            # One that is declared no more has the name that it had here.
            "table": wire.get(change.table_name, change.table_name) or None,
            "id": change.row_id or None,
            "kind": change.kind,
            "tick": change.tick,
        }
        for change in changes
    ]
    at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
    timestamp = at.replace("+00:00", "Z")
    return orjson.dumps({"type": "changes", "timestamp": timestamp, "data": {"changes": told}})


@transaction
def settle(name: str, holder: str, batch: Batch, *, is_delivered: bool) -> Settled | None:
    """Note what came of an attempt; None when somebody else holds the receiver by now, and decides."""
    now = now_ms()
    held = (
        select(WebhookReceiver.failures, WebhookReceiver.failing_since)
        .where(WebhookReceiver.name == name, WebhookReceiver.holder == holder)
        .with_for_update()
    )
    before = db.session.execute(held).one_or_none()
    if before is None:
        return None
    if is_delivered:
        db.session.execute(delete(WebhookBatch).where(WebhookBatch.id == batch.id))
        if before.failures:
            _note(name, failures=0, failing_since=None, next_at=0)
        return Settled(0, is_given_up=False)
    since = before.failing_since or now
    failures = before.failures + 1
    is_given_up = now - since >= GIVE_UP_MS and _give_up(batch, now)
    # Of a batch that is given up nobody waits for the next attempt: the next batch has its own, at once.
    wait = 0 if is_given_up else retry_ms(failures)
    _note(name, failures=failures, failing_since=since, next_at=now + wait)
    attempts = update(WebhookBatch).where(WebhookBatch.id == batch.id)
    db.session.execute(attempts.values(attempts=WebhookBatch.attempts + 1))
    return Settled(failures, is_given_up)


def _give_up(batch: Batch, now: int) -> bool:
    """Give a batch up that waits for long enough; return whether it does."""
    old = and_(WebhookBatch.id == batch.id, WebhookBatch.oldest_at <= now - GIVE_UP_MS)
    return bool(execute_count(update(WebhookBatch).where(old).values(failed_at=now)))


def _note(name: str, **values: int | None) -> int:
    return execute_count(update(WebhookReceiver).where(WebhookReceiver.name == name).values(values))


def retry_ms(failures: int) -> int:
    """Return how long to wait after so many failures in a row."""
    longest = min(FIRST_RETRY_MS * 2 ** min(failures - 1, 30), MAX_RETRY_MS)
    return int(longest * uniform(0.5, 1))  # noqa: S311


@transaction
def release(holder: str) -> None:
    """Leave the receivers that a process holds to others, at once."""
    mine = update(WebhookReceiver).where(WebhookReceiver.holder == holder)
    db.session.execute(mine.values(held_until=0))


def measure(name: str) -> Backlog:
    """Return what waits for a receiver."""
    waiting = select(CHANGE.c.tick).where(CHANGE.c.receiver == name).limit(MAX_COUNTED).subquery()
    oldest = (
        select(CHANGE.c.written_at).where(CHANGE.c.receiver == name).order_by(*CHANGE.primary_key)
    )
    batches = select(
        func.coalesce(func.sum(WebhookBatch.changes), 0), func.min(WebhookBatch.oldest_at)
    ).where(_is_pending(name))
    failed = select(func.count()).where(
        WebhookBatch.receiver == name, WebhookBatch.failed_at.is_not(None)
    )
    with db.session.begin():
        changes, held_since = db.session.execute(batches).one()
        count = db.session.scalar(select(func.count()).select_from(waiting)) or 0
        since = [at for at in (held_since, db.session.scalar(oldest.limit(1))) if at is not None]
        age = max(now_ms() - min(since), 0) if since else 0
        return Backlog(int(changes) + count, age, db.session.scalar(failed) or 0)


@transaction
def replay(name: str) -> int | None:
    """Let a receiver be sent at once what waits, and what was given up; return how many batches were.

    None: nobody has ever been to tell a receiver of this name anything.
    """
    # Before its batches, as everywhere.
    if not _note(name, failures=0, failing_since=None, next_at=0):
        return None
    failed = and_(WebhookBatch.receiver == name, WebhookBatch.failed_at.is_not(None))
    # Each has its three days again.
    again = {"failed_at": None, "oldest_at": now_ms(), "attempts": 0}
    return execute_count(update(WebhookBatch).where(failed).values(again))
