"""All that is stored about somebody, as one JSON document."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import BindParameter, Dialect, Select, bindparam, orm, select

from services.users.schemas import ExportedSession, ExportedSpace, IdentitySchema
from shared.auth.sessions import Caller
from shared.database.base import db
from shared.database.union import CompiledPart, Part, by_part, grouped, read_rows
from shared.models import Identity, Member, Session, Space, User
from shared.models.tables import synced_tables
from shared.web.errors import Unauthorized
from shared.web.schemas import UserSchema


def export_account(caller: Caller) -> Iterator[bytes]:
    """Yield all about the caller piece by piece, every record of every synced table, tombstones included.

    `{"user": {…}, "sessions": […], "identities": […] if any, "spaces": […] if any,
    "records": {table: [record + "_deleted"]}}`, of one snapshot. Records of the spaces that the caller
    owns are among them.
    """
    with db.engine.connect() as connection, connection.begin():
        reader = orm.Session(connection)
        user = reader.get(User, caller.user_id)
        if user is None:
            raise Unauthorized
        sessions = reader.scalars(
            select(Session).where(Session.user_id == caller.user_id).order_by(Session.created_at)
        ).all()
        identities = reader.scalars(
            select(Identity).where(Identity.user_id == caller.user_id).order_by(Identity.created_at)
        ).all()
        spaces = reader.execute(_spaces_of(caller.user_id)).all() if user.has_spaces else []
        yield b'{"user":' + orjson.dumps(UserSchema().dump(user))
        yield b',"sessions":' + orjson.dumps(ExportedSession(many=True).dump(sessions))
        if identities:
            yield b',"identities":' + orjson.dumps(IdentitySchema(many=True).dump(identities))
        if spaces:
            yield b',"spaces":' + orjson.dumps(ExportedSpace(many=True).dump(spaces))
        tables = synced_tables()
        parts = _records(connection.dialect, owns_spaces=any(s.role == "owner" for s in spaces))
        rows = read_rows(connection, parts, {"user": caller.user_id, "me": caller.user_id})
        before = b',"records":{'
        for number, groups in by_part(grouped(rows, is_sorted=True), range(2 * len(tables))):
            # Two parts for each table: the caller's own rows, and those of spaces.
            if number % 2 == 0:
                yield before + orjson.dumps(tables[number // 2].name) + b":["
                before, comma = b"],", b""
            for group in groups:
                yield comma + group.encoded
                comma = b","
        yield b"]}}"


def _spaces_of(user_id: str) -> Select[*tuple[Any, ...]]:
    return (
        select(Space.id, Space.name, Member.role, Member.joined_at)
        .join(Member, Member.space_id == Space.id)
        .where(Member.user_id == user_id, ~Member.has_left)
        .order_by(Member.joined_at, Space.id)
    )


@lru_cache
def _records(dialect: Dialect, *, owns_spaces: bool) -> list[CompiledPart]:
    """Return the parts of the statement for all records of a user, and of the spaces that they own."""
    parts = []
    user: BindParameter[str] = bindparam("user")
    for at, table in enumerate(synced_tables()):
        records = select(*table.record, *table.space, table.sql.c.is_deleted.label("_deleted"))
        parts.append(CompiledPart(dialect, 2 * at, Part(records.where(table.of(user)))))
        if owns_spaces:
            shared = records.join(Member, table.of(Member.__table__.c.space_id)).where(
                Member.user_id == user, Member.role == "owner", ~Member.has_left
            )
            parts.append(CompiledPart(dialect, 2 * at + 1, Part(shared)))
    return parts
