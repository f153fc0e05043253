"""All that is stored about somebody, as one JSON document."""

from collections.abc import Iterator

import orjson
from sqlalchemy import orm, select

from services.users.schemas import ExportedSession
from shared.auth.sessions import Caller
from shared.database.base import db
from shared.database.json_rows import encode_rows
from shared.models import Session, User
from shared.models.tables import synced_tables
from shared.web.errors import Unauthorized
from shared.web.schemas import UserSchema


def export_account(caller: Caller) -> Iterator[bytes]:
    """Profile, sessions and the records of every synced table, tombstones included, piece by piece.

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
        separator = b',"records":{'
        for table in synced_tables():
            yield separator + orjson.dumps(table.name) + b":["
            separator = b","
            records = select(*table.record, table.sql.c.is_deleted.label("_deleted"))
            yield from encode_rows(connection, records.where(table.of(caller.user_id)))
            yield b"]"
        yield b"}}"
