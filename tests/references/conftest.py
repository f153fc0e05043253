"""The services of these tests have the tables of tables.py beside the project's own."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pytest
from flask import Flask

import services.sync
from services.sync.reference.loading import Counts, Mode, find_table, load
from tests.api import Device
from tests.conftest import Backend
from tests.schemas.conftest import device as device
from tests.schemas.conftest import environ as environ

Record = dict[str, Any]
Load = Callable[..., Counts]


@pytest.fixture(scope="session")
def loader(application: Any, backend: Backend) -> Flask:
    """A process that loads: not the one that serves, and on a cluster at another node of the database."""
    if backend.others:
        return services.sync.create_app(DATABASE_URL=backend.others[0].url("service", "app"))
    return services.sync.create_app()


@pytest.fixture
def load_rows(loader: Flask) -> Load:
    """Load records, or the text of a file, into a table."""

    def run(table: str, rows: Sequence[Record] | str | bytes, mode: Mode = "merge") -> Counts:
        is_file = isinstance(rows, str | bytes)
        text = rows if is_file else "".join(json.dumps(row) + "\n" for row in rows)
        body = text.encode() if isinstance(text, str) else text
        with loader.app_context():
            return load(find_table(table), BytesIO(body), "csv" if is_file else "ndjson", mode)

    return run


def exercise(id_: str, **values: Any) -> Record:
    """A record as a device is sent it."""
    own = {"name": "squat", "order": 1, "price": 2.5, "is_hard": True, "notes": None}
    return {"id": id_, **own, "since": None, "data": "{}", "muscle_id": None} | values


def other_device(device: Device) -> Device:
    """Another device of the same user, with tables of its own."""
    other = device.another()
    other.rows = defaultdict(dict)
    return other
