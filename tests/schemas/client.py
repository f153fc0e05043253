"""The real client with tables of every shape, all of them in one app."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from shared.models.tables import SyncedTable, synced_tables
from tests.api import Device
from tests.schemas.protocol import export, record
from tests.stack.conftest import watermelon_installed as watermelon_installed
from tests.stack.test_watermelon import Rows, synced
from tests.watermelon import Devices, WatermelonDevice

WHO = ("a", "b")


@pytest.fixture
def devices(application: Any, watermelon_installed: None) -> Iterator[Devices]:
    tables = [
        {
            "name": table.name,
            "columns": [
                {"name": c.name, "type": c.kind, "isOptional": c.optional} for c in table.columns
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
    return {column.name: whole[column.name] for column in table.columns}


def stored(device: Device) -> Rows:
    live, _ = export(device)
    return live


def held(device: WatermelonDevice) -> Rows:
    return {table: rows for table, rows in synced(device.dump()).items() if rows}


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

    texts = {
        t.name: [c for c in t.columns if c.kind == "string" and not c.relation] for t in tables
    }
    tablet.write(
        *(("update", name, "a", {c[-1].name: "🍉 \0"}) for name, c in texts.items() if c),
    )
    after = meet(tablet, phone)
    assert all(after[name]["a"][c[-1].name] == "🍉 \0" for name, c in texts.items() if c)

    # One device deletes each first parent, the other edits what goes with it.
    parents = {c.relation.parent for t in tables for c in t.enforced if c.relation}
    phone.write(*(("update", name, "a", {c[0].name: "late"}) for name, c in texts.items() if c))
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
