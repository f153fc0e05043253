"""Removing what nobody needs to remember: old tombstones, ended sessions, old login failures."""

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, select
from sqlalchemy.orm import InstrumentedAttribute

from services.sync import clock
from shared.db import affected, db, transaction
from shared.models import LoginFailures, Session
from shared.now import DAY_MS, now_ms
from shared.tables import SyncedTable, synced_tables

log = logging.getLogger(__name__)

#: Tombstones outlive the retention by a day: no machine whose clock is a little behind may still
#: count on one that is gone.
MARGIN_MS = DAY_MS
#: Rows of one transaction. Short ones, since a push of the same user waits for it.
BATCH = 500


def purge(tombstone_days: int) -> dict[str, int]:
    """Remove everything that is old enough, in small transactions; return rows by table."""
    now = now_ms()
    purged = {
        table.name: _purge_tombstones(table, now - tombstone_days * DAY_MS - MARGIN_MS)
        # Children first: an owner stays as long as a row points to it.
        for table in reversed(synced_tables())
    }
    purged["sessions"] = _purge_rows(Session.id, Session.expires_at < now - DAY_MS)
    purged["login_failures"] = _purge_rows(
        LoginFailures.email_hash, LoginFailures.first_failed_at < now - DAY_MS
    )
    log.info("purged", extra={"rows": purged})
    return purged


def _purge_tombstones(table: SyncedTable, before: int) -> int:
    c = table.sql.c
    old = and_(c.is_deleted, c.updated_at_ms < before)
    for child in synced_tables():
        if child.parent and child.parent[0] == table.name:
            pointer = child.sql.c[child.parent[1]]
            old = and_(old, ~exists().where(child.sql.c.user_id == c.user_id, pointer == c.id))
    total = 0
    while found := _find(select(c.user_id, c.id).where(old)):
        for user_id in {owner for owner, _ in found}:
            ids = [id_ for owner, id_ in found if owner == user_id]
            total += _purge_user(table, user_id, and_(c.id.in_(ids), old))
    return total


@transaction
def _purge_user(table: SyncedTable, user_id: str, condition: ColumnElement[bool]) -> int:
    # No push of this user may come to rely on a tombstone while it goes.
    clock.lock(user_id)
    return affected(delete(table.sql).where(table.of(user_id), condition))


def _purge_rows(key: InstrumentedAttribute[str], condition: ColumnElement[bool]) -> int:
    total = 0
    while found := _find(select(key).where(condition)):
        keys = [value for (value,) in found]
        total += transaction(affected)(delete(key.class_).where(key.in_(keys)))
    return total


def _find(query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
    with db.session.begin():
        return db.session.execute(query.limit(BATCH)).all()
