"""Removing what nobody needs to remember: tombstones, left spaces, ended sessions, old failures and mail."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute

from services.sync import clock
from services.sync.reference.selection import loads_until
from services.sync.webhooks.batches import CHANGE, forget_changes
from shared.database import errors
from shared.database.base import db
from shared.database.bulk import execute_count
from shared.database.transaction import transaction
from shared.models import (
    Invitation,
    LoginFailures,
    Mail,
    MailAddress,
    MailCode,
    Member,
    ReferenceClock,
    ReferenceLoad,
    Resend,
    Revocation,
    Session,
    Space,
    User,
    WebhookBatch,
)
from shared.models.tables import ReferenceTable, SyncedTable, reference_tables, synced_tables
from shared.now import DAY_MS, now_ms
from shared.web.errors import Unauthorized

log = logging.getLogger(__name__)

#: Rows of one transaction. Short ones, since a push of the same user waits for it.
BATCH = 500
#: How long is kept what could not be told to a receiver.
WEBHOOK_DAYS = 30
#: Statements that look for rows of nobody in one run, for each table and direction.
MAX_BATCHES = 100


@dataclass(frozen=True)
class Ticked:
    """Rows whose going must be noted with whom they are of, a user or a space, up to their ticks."""

    owner: ColumnElement[str]
    #: What tells an owner's rows apart, as far as a statement's list has to.
    key: ColumnElement[str]
    tick: ColumnElement[int]
    old: ColumnElement[bool]

    @property
    def table(self) -> Any:
        """Return the table of the rows."""
        return self.owner.table


#: What goes a day after a time that it has itself.
EXPIRING: tuple[tuple[InstrumentedAttribute[str], InstrumentedAttribute[int]], ...] = (
    (Invitation.id, Invitation.expires_at),
    (Session.id, Session.expires_at),
    (LoginFailures.email_hash, LoginFailures.first_failed_at),
    (Revocation.session_id, Revocation.until),
    (Mail.id, Mail.expires_at),
    (MailCode.id, MailCode.expires_at),
    (MailAddress.address_hash, MailAddress.last_at),
)


def purge(tombstone_days: int) -> dict[str, int]:
    """Remove everything that is old enough, in small transactions; return rows by table.

    What is too old by this machine's clock is a matter of tidiness alone: each user's row, and each space's,
    says up to which tick tombstones are gone, and pull goes by that.
    """
    now = now_ms()
    purged = _purge_synced(now - tombstone_days * DAY_MS)
    for key, time in EXPIRING:
        purged[key.class_.__tablename__] = _purge_rows(key, time < now - DAY_MS)
    untold = now - WEBHOOK_DAYS * DAY_MS
    purged["webhook_outbox"] = _purge_changes(untold)
    purged["webhook_batches"] = _purge_rows(WebhookBatch.id, WebhookBatch.made_at < untold)
    log.info("purged", extra={"rows": purged})
    return purged


def _purge_synced(before: int) -> dict[str, int]:
    """Remove what devices may still need until they have pulled: tombstones, and what says who left."""
    purged = {
        table.name: _purge_tombstones(table, before) + _purge_nobodys(table)
        for table in synced_tables()
    }
    for reference in reference_tables():
        purged[reference.name] = _purge_reference(reference, before)
    if reference_tables():
        purged["reference_loads"] = _purge_loads(before)
    member: Any = Member.__table__.c
    left = and_(member.has_left, member.left_tick < before)
    purged["members"] = _purge_ticked(
        Ticked(member.user_id, member.space_id, member.left_tick, left)
    )
    resend: Any = Resend.__table__.c
    purged["resends"] = _purge_ticked(
        Ticked(resend.user_id, resend.row_id, resend.tick, resend.tick < before)
    )
    purged["spaces"] = _purge_spaces(before)
    return purged


def _purge_tombstones(table: SyncedTable, before: int) -> int:
    c = table.sql.c
    old = and_(c.is_deleted, c.updated_at_ms < before)
    return _purge_ticked(Ticked(c.user_id, c.id, c.updated_at_ms, old))


def _purge_reference(table: ReferenceTable, before: int) -> int:
    """Remove tombstones of a reference table, and note up to which tick, in the same transactions."""
    total = 0
    c = table.sql.c
    old = and_(c.is_deleted, c.changed_load <= loads_until(before))
    while found := _find(select(c.id).where(old)):
        gone = and_(c.id.in_([row.id for row in found]), old)
        try:
            total += _purge_references(table, gone)
        except DBAPIError as error:
            if errors.why_unavailable(error) not in errors.ROLLED_BACK:
                raise
            # A load writes it. There is a next time.
            log.warning("purge_skipped", extra={"table": table.name})
            break
    return total


@transaction
def _purge_references(table: ReferenceTable, gone: ColumnElement[bool]) -> int:
    last = select(func.max(table.sql.c.changed_load)).where(gone).scalar_subquery()
    # Of the load itself, or of the next one that is still known.
    until = db.session.scalar(
        select(func.min(ReferenceLoad.tick)).where(ReferenceLoad.number >= last)
    )
    if until is not None:
        noted = update(ReferenceClock).where(ReferenceClock.purged_until < until)
        db.session.execute(noted.values(purged_until=until))
    return execute_count(delete(table.sql).where(gone))


def _purge_loads(before: int) -> int:
    """Remove loads that are older than any device asks for, but for the last of them.

    To a device that asks nevertheless all rows count as loaded since: it gets more than it lacks.
    """
    tick = ReferenceLoad.tick
    newest = select(func.max(tick)).where(tick < before).scalar_subquery()
    total = 0
    old = select(ReferenceLoad.number).where(ReferenceLoad.number > 0, tick < newest)
    while found := _find(old):
        numbers = [number for (number,) in found]
        gone = delete(ReferenceLoad).where(ReferenceLoad.number.in_(numbers))
        total += transaction(execute_count)(gone)
    return total


def _purge_ticked(rows: Ticked) -> int:
    total = 0
    held: set[str] = set()
    query = select(rows.owner, rows.key)
    while found := _find(query.where(rows.old, rows.owner.not_in(held))):
        for owner in {owner for owner, _ in found}:
            keys = [key for of, key in found if of == owner]
            try:
                total += _purge_owner(rows, owner, keys)
            except DBAPIError as error:
                if errors.why_unavailable(error) not in errors.ROLLED_BACK:
                    raise
                # Somebody holds the clock or the space for long. There is a next time.
                log.warning("purge_skipped", extra={"owner_id": owner})
                held.add(owner)
    return total


@transaction
def _purge_owner(rows: Ticked, owner: str, keys: Sequence[str]) -> int:
    # Nothing may come to rely on a tombstone while it goes: no push of the user, or into the space.
    model = _hold(owner)
    gone = and_(rows.owner == owner, rows.key.in_(keys), rows.old)
    until = db.session.scalar(select(func.max(rows.tick)).where(gone))
    if model and until is not None:
        noted = update(model).where(model.id == owner, model.purged_until < until)
        db.session.execute(noted.values(purged_until=until))
    count = execute_count(delete(rows.table).where(gone))
    if rows.table in (Member.__table__, Resend.__table__):
        _note_spaces(owner)
    return count


def _hold(owner: str) -> type[User] | type[Space] | None:
    """Hold the row of a user or a space until the transaction ends; None when there is neither."""
    try:
        clock.lock(owner)
    except Unauthorized:
        held = select(Space.id).where(Space.id == owner).with_for_update()
        return Space if db.session.scalar(held) else None
    return User


def _note_spaces(user_id: str) -> None:
    """Let a user who is held, and has nothing to do with spaces any more, pay for them no longer."""
    rows = [exists().where(model.user_id == user_id) for model in (Member, Resend)]
    db.session.execute(
        update(User)
        .where(User.id == user_id, User.has_spaces, ~rows[0], ~rows[1])
        .values(has_spaces=False)
    )


def _purge_spaces(before: int) -> int:
    """Remove spaces that were deleted, and their rows, once no member's device may need their ids."""
    total = 0
    needed = exists().where(Member.space_id == Space.id)
    while found := _find(select(Space.id).where(Space.deleted_at < before, ~needed)):
        for (id_,) in found:
            for table in synced_tables():
                _purge_all_of(table, id_)
            total += transaction(execute_count)(delete(Space).where(Space.id == id_))
    return total


def _purge_nobodys(table: SyncedTable) -> int:
    """Remove rows of neither a user nor a space.

    The release before leaves them when it deletes accounts while this one runs. So many owners are looked
    at in one run, from another place on each time.
    """
    total = 0
    owner = table.sql.c.user_id
    begin = str(uuid.uuid4())
    for last, end in ((begin, None), ("", begin)):
        for _ in range(MAX_BATCHES):
            query = select(owner).distinct().where(owner > last).order_by(owner)
            found = [id_ for (id_,) in _find(query if end is None else query.where(owner <= end))]
            known = {
                id_
                for model in (User, Space)
                for (id_,) in _find(select(model.id).where(model.id.in_(found)))
            }
            total += sum(_purge_all_of(table, id_) for id_ in found if id_ not in known)
            if len(found) < BATCH:
                break
            last = found[-1]
    return total


def _purge_all_of(table: SyncedTable, owner: str) -> int:
    """Remove all rows of somebody who is no more."""
    total = 0
    id_ = table.sql.c.id
    while found := _find(select(id_).where(table.of(owner))):
        gone = delete(table.sql).where(table.of(owner), id_.in_([row.id for row in found]))
        total += transaction(execute_count)(gone)
    return total


def _purge_rows(key: InstrumentedAttribute[str], condition: ColumnElement[bool]) -> int:
    total = 0
    while found := _find(select(key).where(condition)):
        keys = [value for (value,) in found]
        total += transaction(execute_count)(delete(key.class_).where(key.in_(keys)))
    return total


def _purge_changes(before: int) -> int:
    """Remove what nobody tells: its receiver is configured no more, or has nobody who delivers."""
    total = 0
    for (receiver,) in _find(select(CHANGE.c.receiver).distinct()):
        # Ticks are times, as far as this is about.
        old = select(*CHANGE.primary_key).where(
            CHANGE.c.receiver == receiver, CHANGE.c.tick < before
        )
        while found := _find(old):
            transaction(forget_changes)(found)
            total += len(found)
    return total


def _find(query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    with db.session.begin():
        return db.session.execute(query.limit(BATCH)).all()
