"""Removing what nobody needs to remember: old tombstones, ended sessions, old login failures."""

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute

from services.sync import clock
from shared.database import errors
from shared.database.base import db
from shared.database.bulk import execute_count
from shared.database.transaction import transaction
from shared.models import LoginFailures, Revocation, Session, User
from shared.models.tables import SyncedTable, synced_tables
from shared.now import DAY_MS, now_ms
from shared.web.errors import Unauthorized

log = logging.getLogger(__name__)

#: Rows of one transaction. Short ones, since a push of the same user waits for it.
BATCH = 500


def purge(tombstone_days: int) -> dict[str, int]:
    """Remove everything that is old enough, in small transactions; return rows by table.

    What is too old by this machine's clock is a matter of tidiness alone: each user's row says up to
    which tick tombstones are gone, and pull goes by that.
    """
    now = now_ms()
    purged = {
        table.name: _purge_tombstones(table, now - tombstone_days * DAY_MS)
        for table in synced_tables()
    }
    purged["sessions"] = _purge_rows(Session.id, Session.expires_at < now - DAY_MS)
    purged["login_failures"] = _purge_rows(
        LoginFailures.email_hash, LoginFailures.first_failed_at < now - DAY_MS
    )
    purged["revocations"] = _purge_rows(Revocation.session_id, Revocation.until < now - DAY_MS)
    log.info("purged", extra={"rows": purged})
    return purged


def _purge_tombstones(table: SyncedTable, before: int) -> int:
    c = table.sql.c
    old = and_(c.is_deleted, c.updated_at_ms < before)
    total = 0
    held: set[str] = set()
    query = select(c.user_id, c.id, c.updated_at_ms)
    while found := _find(query.where(old, c.user_id.not_in(held))):
        for user_id in {row.user_id for row in found}:
            rows = [row for row in found if row.user_id == user_id]
            condition = and_(c.id.in_([row.id for row in rows]), old)
            try:
                total += _purge_user(table, user_id, condition, max(r.updated_at_ms for r in rows))
            except Unauthorized:
                # The account was deleted meanwhile, and its rows with it.
                continue
            except DBAPIError as error:
                if errors.why_unavailable(error) not in errors.ROLLED_BACK:
                    raise
                # Somebody holds the user's clock for long. There is a next time.
                log.warning("purge_skipped", extra={"user_id": user_id})
                held.add(user_id)
    return total


@transaction
def _purge_user(
    table: SyncedTable, user_id: str, condition: ColumnElement[bool], until: int
) -> int:
    # No push of this user may come to rely on a tombstone while it goes.
    clock.lock(user_id)
    db.session.execute(
        update(User).where(User.id == user_id, User.purged_until < until).values(purged_until=until)
    )
    return execute_count(delete(table.sql).where(table.of(user_id), condition))


def _purge_rows(key: InstrumentedAttribute[str], condition: ColumnElement[bool]) -> int:
    total = 0
    while found := _find(select(key).where(condition)):
        keys = [value for (value,) in found]
        total += transaction(execute_count)(delete(key.class_).where(key.in_(keys)))
    return total


def _find(query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    with db.session.begin():
        return db.session.execute(query.limit(BATCH)).all()
