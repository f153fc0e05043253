"""Rows as JSON: written by the database where it can, and byte for byte what we would write."""

import math
import random
import struct
import sys
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    case,
    create_engine,
    event,
    func,
    literal_column,
    make_url,
    select,
    true,
)

from shared.database.engines import job_options
from shared.database.json_rows import read_rows as read_some
from shared.database.json_rows import write_rows
from shared.database.union import TAG_BYTES, CompiledPart, Part, by_part, grouped, read_rows
from shared.models.tables import synced_tables
from tests.api import Device, project, task, wire
from tests.conftest import Backend, on_servers

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


def services_engine(url: str) -> Engine:
    """An engine whose connections take what we write."""
    return create_engine(url, **job_options(make_url(url)))


def both_ways(url: str, user_id: str) -> list[tuple[bytes, bytes]]:
    """Every synced table as the database writes it, and as orjson does."""
    engine = create_engine(url)
    found = []
    with engine.connect() as connection:
        for table in synced_tables():
            records = select(*table.record).where(table.of(user_id)).order_by(table.sql.c.id)
            rows = connection.execute(records).mappings().all()
            plain = [{str(name): value for name, value in row.items()} for row in rows]
            found.append((encoded(connection, records), orjson.dumps(plain)))
            ids = [row["id"] for row in plain]
            bare = encoded(connection, records, kind=2, bare=(2, true()))
            assert bare == orjson.dumps(ids)
    engine.dispose()
    return found


def encoded(connection: Connection, records: Any, **options: Any) -> bytes:
    """The rows of a query as a list of JSON."""
    part = CompiledPart(connection.dialect, 7, Part(records, **options))
    groups = grouped(read_rows(connection, [part], {}), is_sorted=True)
    return b"[" + b",".join(group.encoded for group in groups) + b"]"


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
        assert orjson.loads(fast)


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
    parts = [CompiledPart(engine.dialect, 0, Part(records))]
    with engine.connect() as connection:
        batches = read_rows(connection, parts, {})
        next(batches), next(batches)
        batches.close()
        again = [row for batch in read_rows(connection, parts, {}) for row in batch]
    assert len(again) == 3000
    engine.dispose()


def test_rows_of_several_tables_and_kinds_come_in_the_order_of_the_tables(
    device: Device, environ: dict[str, str]
) -> None:
    p, gone = project(), project()
    t = task(p["id"])
    device.push(projects={"created": [p, gone]}, tasks={"created": [t]})
    device.pull()
    device.push(projects={"deleted": [gone["id"]]})
    projects, tasks = synced_tables()
    engine = create_engine(environ["DATABASE_URL"])
    # Values of their own, which SQLAlchemy calls alike.
    queries = {
        3: select(*projects.record).where(projects.sql.c.id != t["id"]),
        12: select(*tasks.record).where(tasks.sql.c.id != p["id"]),
    }
    parts = [
        CompiledPart(
            engine.dialect,
            number,
            Part(
                query.where(table.of(device.user_id)),
                case((table.sql.c.is_deleted, literal_column("2")), else_=literal_column("0")),
                bare=(2, table.sql.c.is_deleted),
            ),
        )
        for (number, query), table in zip(queries.items(), (projects, tasks), strict=True)
    ]
    with engine.connect() as connection:
        groups = list(grouped(read_rows(connection, parts, {})))
    engine.dispose()
    found = {(group.number, group.kind): orjson.loads(group.encoded) for group in groups}
    kept = {name: value for name, value in wire(p).items() if name != "space_id"}
    assert found == {(3, 0): kept, (3, 2): gone["id"], (12, 0): found[12, 0]}
    assert [group.number for group in groups] == [3, 3, 12]
    assert [(n, len(list(some))) for n, some in by_part(groups, (1, 3, 9, 12))] == [
        (1, 0),
        (3, 2),
        (9, 0),
        (12, 1),
    ]
    with pytest.raises(RuntimeError, match="out of order"):
        list(by_part(reversed(groups), (3, 12)))


@pytest.mark.parametrize("seed", range(3))
def test_every_fraction_comes_back_as_it_was(backend: Backend, seed: int) -> None:
    """Adopted tables have numbers of every kind; engines write them in SQL as they send them."""
    bits = random.Random(seed)
    numbers = [struct.unpack("d", bits.randbytes(8))[0] for _ in range(300)]
    numbers = [n for n in numbers if math.isfinite(n)]
    numbers += [0.0, 0.1, 1e15, 1e16, 1e22, 123456789012345678.0, 5e-324, sys.float_info.max]
    table = Table(
        "fractions",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("value", Double),
    )
    engine = create_engine(backend.new_database(f"fractions{seed}")[0])
    query = select(table).order_by(table.c.id)
    parts = [CompiledPart(engine.dialect, 0, Part(query, as_list=True))]
    with engine.connect() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"id": i, "value": n} for i, n in enumerate(numbers)])
        rows = [row for batch in read_rows(connection, parts, {}) for row in batch]
    engine.dispose()
    assert [orjson.loads(row[TAG_BYTES:])[1] for row in rows] == numbers


HARD_TEXTS = [
    *TEXTS,
    *("%", "%%", "%s", "%(row_0)s", "'", '"', "\\", "\\'", "a\\\\", "\0", "\x1a", "\n\r\t"),
    *("{}", "{0}", "(__[POSTCOMPILE_ids])", "-- ", "/*! */", "`", "0x41", " "),
]
HARD_NUMBERS = [
    *(None, True, 0.1, 1 / 3, 1e308, 5e-324, 2.2250738585072014e-308, 1e22, 1e16, 1e15, 1e-7),
    *(2**53, -(2**53), 2**63, -(2**63), 2**64, 10**20, sys.float_info.max),
]


@on_servers
@pytest.mark.parametrize("plain_backslashes", [False, True])
def test_any_row_is_read_as_it_was_written_whatever_its_columns_are_called(
    backend: Backend, plain_backslashes: bool
) -> None:
    table = Table(
        "100% :table",
        MetaData(),
        Column("id", String(40), primary_key=True),
        Column("text :one\\:two", Text),
        Column("50% %s", Double),
        Column("order", Boolean, nullable=False),
        Column("same `:one`", Text, nullable=False),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    rows = [(f"t{n}", text, None, True) for n, text in enumerate(HARD_TEXTS)]
    rows += [(f"n{n}", None, number, False) for n, number in enumerate(HARD_NUMBERS)]
    *names, same = table.c.keys()
    engine = services_engine(backend.new_database(f"hard_rows_{plain_backslashes}")[0])
    query = select(table).where(table.c.id.in_(bindparam("ids", expanding=True)))
    with engine.connect() as connection:
        table.create(connection)
        if plain_backslashes:
            mode = "CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')"
            connection.exec_driver_sql(f"SET SESSION sql_mode = {mode}")
        for text in HARD_TEXTS:
            write_rows(connection, table, names, rows, {same: text}, ())
            # Far more ids than there are.
            values = {"ids": [row[0] for row in rows] * 20}
            found = [row for _, *row in read_some(connection, [query], values)]
            assert sorted(found) == sorted([*row, text] for row in rows)
    engine.dispose()


def test_rows_of_several_queries_come_behind_the_numbers_of_these(
    device: Device, environ: dict[str, str]
) -> None:
    p = project()
    t = task(p["id"])
    device.push(projects={"created": [p]}, tasks={"created": [t]})
    engine = create_engine(environ["DATABASE_URL"])
    projects, tasks = synced_tables()
    # Each brings a value of its own along, which SQLAlchemy calls alike.
    queries = [
        select(table.sql.c.id).where(table.of(device.user_id), table.sql.c.id == id_)
        for table, id_ in ((projects, p["id"]), (tasks, t["id"]), (projects, "no"))
    ]
    with engine.connect() as connection:
        found = list(map(tuple, read_some(connection, queries, {})))
    engine.dispose()
    assert found == [(0, p["id"]), (1, t["id"])]


@on_servers
def test_what_is_logged_of_a_statement_that_writes_grows_little_with_its_rows(
    backend: Backend,
) -> None:
    table = Table(
        "few_bytes",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("n", Integer),
    )
    engine = services_engine(backend.new_database("few_bytes")[0])
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    with engine.connect() as connection:
        table.create(connection)
        write_rows(connection, table, ("id", "n"), [(n, n) for n in range(10_000)], {}, ())
        assert connection.scalar(select(func.count()).select_from(table)) == 10_000
    engine.dispose()
    written = [text for text in statements if text.startswith("INSERT")]
    assert len(written) == 1
    assert len(written[0]) < 50_000
