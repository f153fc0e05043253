"""How many statements the calls of sync take, and of what tables: rows decide, not how many are declared.

Collected, it has the project's own tables; test_schemas.py runs it once more with those of tables.py.
"""

import re
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from services.sync.reading import FEW
from shared.models.tables import synced_tables
from tests.api import Device, project, task
from tests.conftest import Backend
from tests.statements import sent, statements


@pytest.fixture
def other(device: Device) -> Device:
    """Another device of the user of `device`, both up to date."""
    device.push(projects={"created": [project()]})
    other = device.another()
    device.pull()
    other.pull()
    return other


def test_a_pull_with_nothing_new_is_the_callers_statement(other: Device) -> None:
    with statements() as counted:
        other.pull()
    # The clock comes with it. Where Redis knows both there is none: tests/auth/test_revocation.py.
    assert counted.total() == 1, counted


@pytest.mark.parametrize("query", [{}, {"limit": 1000}], ids=["whole", "by_pages"])
def test_an_ordinary_pull_reads_the_clock_and_the_tables_that_have_news(
    device: Device, other: Device, backend: Backend, query: dict[str, int]
) -> None:
    since = other.last_pulled_at
    device.push(projects={"created": [project() for _ in range(100)]})
    with sent() as texts:
        pulled = other.pull_raw(since, **query).json
    assert len(pulled["changes"]["projects"]["created"]) == 100
    _caller, *reading = [text for text in texts if text != "BEGIN"]
    if len(synced_tables()) <= FEW and not query:
        # All at once. SQLite, which is no round trip away, has one for the clock and for each table.
        assert len(reading) == (1 if backend.database else 1 + len(synced_tables()))
        return
    # What is asked of every table is the tick of its last change, and nothing else of those without news.
    clock, rows = reading
    asked = re.findall(r"max\(\S+\.updated_at_ms\)", clock)
    assert len(asked) == len(synced_tables())
    assert clock.count("updated_at_ms") == len(asked)
    assert all("projects" in name for name in re.findall(r"FROM (\S+)", rows) if name != "sessions")


@pytest.mark.parametrize("query", [{}, {"limit": 1000}], ids=["whole", "by_pages"])
def test_what_is_pushed_once_a_pull_has_read_the_clock_comes_with_the_next_one(
    device: Device, other: Device, query: dict[str, int]
) -> None:
    first, late = project(), project()
    device.push(projects={"created": [first]})
    pushed: list[str] = []

    def push(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        if "purged_until" in statement and not pushed:
            pushed.append(late["id"])
            device.push(
                projects={"created": [late]}, tasks={"created": [task(late["id"], id=late["id"])]}
            )

    event.listen(Engine, "after_cursor_execute", push)
    try:
        before = other.pull(**query)["changes"]
    finally:
        event.remove(Engine, "after_cursor_execute", push)
    after = other.pull(**query)["changes"]
    ids = [
        [row["id"] for row in change[table]["created"]]
        for change in (before, after)
        for table in ("projects", "tasks")
    ]
    assert ids == [[first["id"]], [], pushed, pushed]


def test_a_push_of_one_record_is_three_statements_besides_the_callers(
    device: Device, other: Device, backend: Backend
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    t = task(p["id"])
    for change in ({"created": [t]}, {"updated": [t | {"title": "new"}]}, {"deleted": [t["id"]]}):
        with statements() as counted:
            device.push(tasks=change)
        # The clock, the row before and whether its parent lives, the row; SQLite's clock takes three.
        assert counted.total() <= (4 if backend.database else 7), counted
        device.pull()
    assert other.pull()["changes"]["projects"]["created"] == [device.rows["projects"][p["id"]]]
