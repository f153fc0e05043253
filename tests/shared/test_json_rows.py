"""Rows as JSON: written by the database where it can, and byte for byte what we would write."""

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select

from shared.database import json_rows
from shared.database.json_rows import encode_rows
from shared.models.tables import synced_tables
from tests.api import Device, project, task
from tests.conftest import Backend

EVERY_CONTROL_CHARACTER = (
    "".join(map(chr, range(0x20))) + '"\\/\x7f\x80\x9f\u2028\u2029\ufeff\ufffd'
)
TEXTS = [
    "",
    EVERY_CONTROL_CHARACTER,
    "🍉 ünïcode, 中文, العربية, \U0010ffff\U00010000",
    "null",
    r"\u000B \\u000B \\\u001F \x0b" + "\x0b\x1f\\\x0b\\\\\x0b\\u000B",
    '{"a": [1]}',
    "trailing space ",
    "'; DROP TABLE tasks; --",
    "%s %(x)s ? :x",
]


def both_ways(url: str, user_id: str) -> list[tuple[bytes, bytes]]:
    """Every synced table as the database writes it, and as orjson does."""
    engine = create_engine(url)
    found = []
    with engine.connect() as connection, pytest.MonkeyPatch.context() as patch:
        for table in synced_tables():
            records = select(*table.record).where(table.of(user_id))
            fast = b"".join(encode_rows(connection, records))
            with patch.context() as slowly:
                slowly.setattr(json_rows, "can_encode", lambda *_: False)
                plain = b"".join(encode_rows(connection, records))
            found.append((fast, plain))
            ids = select(table.sql.c.id).where(table.of(user_id))
            listed = b"".join(encode_rows(connection, ids, bare=True))
            assert b"[" + listed + b"]" == orjson.dumps(connection.scalars(ids).all())
    engine.dispose()
    return found


def test_every_kind_of_text_comes_out_alike(
    device: Device, backend: Backend, environ: dict[str, str]
) -> None:
    p = project()
    tasks = [
        task(p["id"], title=text[:255], description=text or None, is_completed=bool(n % 2))
        for n, text in enumerate(TEXTS)
    ]
    longest = [
        task(p["id"], title="\x01" * 255, description="\x01" * 65_535, created_at=-(2**53)),
        task(p["id"], title="🍉" * 255, description="🍉" * 16_383, created_at=2**53),
        task(p["id"], description='"' * 65_535, created_at=0),
    ]
    device.push(projects={"created": [p]}, tasks={"created": tasks + longest})
    for fast, plain in both_ways(environ["DATABASE_URL"], device.user_id):
        assert fast == plain
        assert orjson.loads(b"[" + fast + b"]")


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=255))
def test_any_text_comes_out_alike(device: Device, environ: dict[str, str], text: str) -> None:
    device.push(projects={"created": [project(name=text, description=text)]})
    for fast, plain in both_ways(environ["DATABASE_URL"], device.user_id):
        assert fast == plain


def test_what_is_left_of_an_answer_does_not_reach_the_next_one(
    device: Device, environ: dict[str, str]
) -> None:
    device.push(projects={"created": [project(description="x" * n) for n in range(3000)]})
    projects = synced_tables()[0]
    records = select(*projects.record).where(projects.of(device.user_id))
    engine = create_engine(environ["DATABASE_URL"])
    with engine.connect() as connection:
        pieces = encode_rows(connection, records)
        next(pieces), next(pieces)
        pieces.close()
        again = b"".join(encode_rows(connection, records))
    assert len(orjson.loads(b"[" + again + b"]")) == 3000
    engine.dispose()
