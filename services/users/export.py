"""All that is stored about somebody, as one JSON document."""

from collections.abc import Iterator

import orjson
from sqlalchemy import orm, select

from shared.auth.sessions import Caller
from shared.database.base import db
from shared.database.json_rows import encode_rows
from shared.models import Session, User
from shared.models.tables import synced_tables
from shared.now import rfc3339
from shared.web.errors import Unauthorized
from shared.web.schemas import user_json


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
        yield b'{"user":' + orjson.dumps(user_json(user))
        yield b',"sessions":' + orjson.dumps([_session_json(session) for session in sessions])
        separator = b',"records":{'
        for table in synced_tables():
            yield separator + orjson.dumps(table.name) + b":["
            separator = b","
            records = select(*table.record, table.sql.c.is_deleted.label("_deleted"))
            yield from encode_rows(connection, records.where(table.of(caller.user_id)))
            yield b"]"
        yield b"}}"


def _session_json(session: Session) -> dict[str, str | None]:
    return {
        "id": session.id,
        "deviceName": session.device_name,
        "createdAt": rfc3339(session.created_at),
        "lastUsedAt": rfc3339(session.last_used_at),
        "expiresAt": rfc3339(session.expires_at),
        "revokedAt": rfc3339(session.revoked_at) if session.revoked_at else None,
    }
