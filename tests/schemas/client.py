"""The real client with tables of every shape, all of them in one app."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from shared.models.tables import SyncedTable, synced_tables
from tests.api import Device
from tests.schemas.records import SEED, export, record
from tests.stack.conftest import watermelon_installed as watermelon_installed
from tests.stack.test_watermelon import Rows, synced
from tests.watermelon import Devices, WatermelonDevice

WHO = ("a", "b")
#: Tables of a history, its steps, and what each writes at most.
TABLES, STEPS, WRITES = 6, 60, 6
WEATHER = ("ok", "ok", "ok", "drop", "lose", "twice")


@pytest.fixture
def devices(application: Any, watermelon_installed: None) -> Iterator[Devices]:
    tables = [
        {
            "name": table.name,
            "columns": [
                {"name": c.name, "type": c.kind, "isOptional": c.optional}
                for c in table.wire_columns
            ],
        }
        for table in synced_tables()
    ]
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    app = Path(__file__).parent / "client.js"
    devices = Devices(f"http://127.0.0.1:{server.port}/v1", app, json.dumps(tables))
    yield devices
    said = devices.diagnostics()
    devices.close()
    server.shutdown()
    thread.join()
    server.server_close()
    assert said == []


def row(table: SyncedTable, who: str) -> dict[str, Any]:
    """A row that names the row of `who` in each relation of its table."""
    named = {c.name: who for c in table.columns if c.relation}
    whole = record(table.name, who, **named)
    return {column.name: whole.get(column.name) for column in table.wire_columns}


def stored(device: Device) -> Rows:
    live, _ = export(device)
    return live


def held(device: WatermelonDevice) -> Rows:
    return {table: rows for table, rows in synced(device.dump()).items() if rows}


def texts_of(table: SyncedTable) -> list[str]:
    return [c.name for c in table.columns if c.kind == "string" and not c.relation]


def family(draw: random.Random) -> list[SyncedTable]:
    """Some tables and their parents: few, or no device ever names a row that another one deletes."""
    parents = {
        t.name: {c.relation.parent for c in t.enforced if c.relation} for t in synced_tables()
    }
    # Where a row goes, or is cleared, with one of another table.
    children = sorted(name for name, named in parents.items() if named - {name})
    found: list[str] = []
    while len(found) < TABLES:
        new = {draw.choice(children)}
        while new := {name for name in new if name not in found}:
            found += sorted(new)
            new = set().union(*(parents[name] for name in new))
    return [t for t in synced_tables() if t.name in found]


def test_a_real_device_gets_what_its_older_version_had_not(
    device: Device, devices: Devices
) -> None:
    phone = WatermelonDevice(devices, "phone", device.token)
    older = WatermelonDevice(devices, "older", device.another().token)
    older.call("useOlder")
    tables = synced_tables()
    phone.write(*(("create", t.name, who, row(t, who)) for t in tables for who in WHO))
    phone.sync()
    older.sync()
    # It passes over what it does not know, which it says.
    assert all("does not exist. Will skip it" in said for said in devices.diagnostics())
    had = {t.name: t.columns[::2] for t in tables[::2]}
    assert {name: rows.keys() for name, rows in older.dump().items()} == {
        name: set(WHO) for name in had
    }
    edits = [
        ("update", t.name, "a", {name: "of an older app"})
        for t in tables[::2]
        for name in texts_of(t)
        if name in {c.name for c in had[t.name]}
    ]
    edited = {edit[1]: edit for edit in edits}
    older.write(*edited.values())
    older.sync()
    phone.sync()
    # Of columns that the other device has not, before and after it knows of the row.
    news = [("update", t.name, "b", {texts_of(t)[-1]: "🍉"}) for t in tables if texts_of(t)]
    phone.write(*news)
    phone.sync()
    older.sync()
    assert all("does not exist. Will skip it" in said for said in devices.diagnostics())
    older.call("upgrade")
    older.sync()
    assert held(older) == held(phone) == stored(device)
    changed = held(older)
    assert all(e[3].items() <= changed[e[1]]["a"].items() for e in edited.values())
    assert all(e[3].items() <= changed[e[1]]["b"].items() for e in news)


def test_any_history_of_real_devices_ends_with_all_equal(device: Device, devices: Devices) -> None:
    draw = random.Random(SEED)
    tokens = [device.token, device.another().token, device.another().token]
    fleet = [WatermelonDevice(devices, f"d{n}", token) for n, token in enumerate(tokens)]
    tables = family(draw)

    def relations(table: SyncedTable, known: Rows) -> dict[str, Any]:
        """What the relations of a row may name: rows that the device knows, or none."""
        named: dict[str, Any] = {}
        for column in table.columns:
            if column.relation:
                ids: list[Any] = sorted(known.get(column.relation.parent, {}))
                ids += [None] if column.optional else []
                named[column.name] = draw.choice(ids) if ids else "never"
        return named

    def write(one: WatermelonDevice, step: int) -> None:
        known = one.dump()
        touched: set[tuple[str, str]] = set()
        operations: list[tuple[Any, ...]] = []
        for at in range(draw.randint(1, WRITES)):
            table = draw.choice(tables)
            ids = sorted(known[table.name])
            id_ = draw.choice(ids) if ids else ""
            kind = draw.choice(("create", "edit", "move", "delete")) if ids else "create"
            if kind == "create":
                whole = row(table, "x") | relations(table, known)
                operations.append(("create", table.name, f"s{step}.{at}", whole))
            elif (table.name, id_) not in touched:
                touched.add((table.name, id_))
                if kind == "delete":
                    operations.append(("delete", table.name, id_))
                elif kind == "move" and (named := relations(table, known)):
                    operations.append(("update", table.name, id_, named))
                elif texts := texts_of(table):
                    edit = {draw.choice(texts): f"{step} 🍉 \0"}
                    operations.append(("update", table.name, id_, edit))
        one.write(*operations)

    for step in range(STEPS):
        one = draw.choice(fleet)
        write(one, step)
        if draw.random() < 0.5:
            devices.weather([draw.choice(WEATHER) for _ in range(2)])
            with suppress(RuntimeError):
                one.sync()
            devices.weather([])
    for one in [*fleet, *fleet, *fleet]:
        one.sync()
    end = stored(device)
    for one in fleet:
        assert held(one) == end
    for table in tables:
        for values in end.get(table.name, {}).values():
            for column in table.enforced:
                assert column.relation
                parent = values[column.name]
                assert parent is None or parent in end[column.relation.parent]


def test_real_devices_with_all_tables_end_equal(device: Device, devices: Devices) -> None:
    phone = WatermelonDevice(devices, "phone", device.token)
    tablet = WatermelonDevice(devices, "tablet", device.another().token)
    tables = synced_tables()

    def meet(first: WatermelonDevice, second: WatermelonDevice) -> Rows:
        # What a deletion reaches the device that deleted learns from its next pull.
        for one in (first, second, first):
            one.sync()
        assert held(first) == held(second) == stored(device)
        return held(first)

    phone.write(*(("create", t.name, who, row(t, who)) for t in tables for who in WHO))
    assert meet(phone, tablet) == {
        t.name: {who: {"id": who} | row(t, who) for who in WHO} for t in tables
    }

    texts = {t.name: texts_of(t) for t in tables}
    tablet.write(
        *(("update", name, "a", {c[-1]: "🍉 \0"}) for name, c in texts.items() if c),
    )
    after = meet(tablet, phone)
    assert all(after[name]["a"][c[-1]] == "🍉 \0" for name, c in texts.items() if c)

    # One device deletes each first parent, the other edits what goes with it.
    parents = {c.relation.parent for t in tables for c in t.enforced if c.relation}
    phone.write(*(("update", name, "a", {c[0]: "late"}) for name, c in texts.items() if c))
    tablet.write(*(("delete", name, "a") for name in sorted(parents)))
    tablet.sync()
    after = meet(phone, tablet)
    for t in tables:
        rules = {c.relation.on_delete for c in t.enforced if c.relation}
        goes = t.name in parents or "cascade" in rules
        assert ("a" in after[t.name]) is not goes
        assert "b" in after[t.name]

    fresh = device.another()
    newcomer = WatermelonDevice(devices, "newcomer", fresh.token)
    newcomer.call("useBackend", fresh.tokens, 3)
    newcomer.sync()
    assert held(newcomer) == after
