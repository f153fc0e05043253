"""What changes, written down for the receivers of webhooks in the transaction that makes it.

Neither is there without the other. Where no receiver is configured nothing is written, and nothing asked.
"""

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from flask import Flask, current_app
from sqlalchemy import CompoundSelect, Connection, bindparam, case, literal, select, union_all

from shared.database.base import db
from shared.database.json_rows import write_rows
from shared.models import WebhookChange
from shared.models.tables import synced_tables
from shared.now import now_ms
from shared.observability import metrics
from shared.receivers import read_receivers

#: A table's name in SQL, a row's id, and what became of it.
Change = tuple[str, str, str]


def init_app(app: Flask) -> None:
    """Read who is told."""
    app.extensions["receivers"] = read_receivers(app.config["WEBHOOKS_FILE"])
    metrics.WEBHOOK_RECEIVERS.set(len(app.extensions["receivers"]))


def note_changes(space_ids: Collection[str], tick: int) -> None:
    """Note every row of these spaces that has the tick, within the caller's transaction.

    To be called once all is written, cascades included.
    """
    if not current_app.extensions["receivers"]:
        return
    connection = db.session.connection()
    for space_id in sorted(space_ids):
        # Not by INSERT … SELECT, which MySQL lets hold the gaps between other spaces' rows.
        found = connection.execute(_changed(), {"space": space_id, "tick": tick}).all()
        _write(connection, space_id, tick, [(table, id_, kind) for table, id_, kind in found])


def note_gone(space_id: str, tick: int) -> None:
    """Note that a space has ended, or an account, within the caller's transaction."""
    _write(db.session.connection(), space_id, tick, [("", "", "gone")])


def note_load(connection: Connection, table_name: str, tick: int) -> None:
    """Note that a reference table, by its name in SQL, was loaded, within the transaction of a connection."""
    _write(connection, "", tick, [(table_name, "", "updated")])


def _write(connection: Connection, space_id: str, tick: int, changes: Iterable[Change]) -> None:
    rows = list(changes)
    for receiver in current_app.extensions["receivers"] if rows else ():
        write_rows(
            connection,
            WebhookChange.__table__,  # type: ignore[arg-type]
            ("table_name", "row_id", "kind"),
            rows,
            {"receiver": receiver, "tick": tick, "space_id": space_id, "written_at": now_ms()},
            kept=(),
        )


# Built once, since every push runs it.
@cache
def _changed() -> CompoundSelect[Any]:
    """Return the query for all rows of a space that have a tick."""
    parts = []
    for table in synced_tables():
        c = table.sql.c
        kind = case(
            (c.is_deleted, "deleted"),
            (c.created_at_ms == bindparam("tick"), "created"),
            else_="updated",
        )
        parts.append(
            select(literal(table.sql.name), c.id, kind).where(
                table.of(bindparam("space")), c.updated_at_ms == bindparam("tick")
            )
        )
    return union_all(*parts)
