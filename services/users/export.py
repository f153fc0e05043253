"""All that is stored about somebody, as one JSON document."""

from collections.abc import Iterator
from functools import lru_cache

import orjson
from sqlalchemy import Dialect, bindparam, orm, select

from services.users.schemas import ExportedSession
from shared.auth.sessions import Caller
from shared.database.base import db
from shared.database.union import Part, Union, by_part, grouped
from shared.models import Session, User
from shared.models.tables import synced_tables
from shared.web.errors import Unauthorized
from shared.web.schemas import UserSchema


def export_account(caller: Caller) -> Iterator[bytes]:
    """Yield the profile, sessions and records of every synced table, tombstones included, piece by piece.

    `{"user": {…}, "sessions": […], "records": {table: [record + "_deleted"]}}`, of one snapshot.
    """
    with db.engine.connect() as connection, connection.begin():
        reader = orm.Session(connection)
        user = reader.get(User, caller.user_id)
        if user is None:
            raise Unauthorized
        sessions = reader.scalars(
            select(Session).where(Session.user_id == caller.user_id).order_by(Session.created_at)
        ).all()
        yield b'{"user":' + orjson.dumps(UserSchema().dump(user))
        yield b',"sessions":' + orjson.dumps(ExportedSession(many=True).dump(sessions))
        tables = synced_tables()
        rows = _records(connection.dialect).rows(connection, {"user": caller.user_id})
        before = b',"records":{'
        for at, groups in by_part(grouped(rows, is_sorted=True), range(len(tables))):
            yield before + orjson.dumps(tables[at].name) + b":["
            for number, group in enumerate(groups):
                yield b"," * bool(number) + group.encoded
            before = b"],"
        yield b"]}}"


@lru_cache
def _records(dialect: Dialect) -> Union:
    """Return the statement for all records of a user."""
    parts = {}
    for at, table in enumerate(synced_tables()):
        records = select(*table.record, table.sql.c.is_deleted.label("_deleted"))
        parts[at] = Part(records.where(table.of(bindparam("user"))))
    return Union(dialect, parts)
