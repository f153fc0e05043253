"""How many statements the calls of sync take: as many with two tables as with many.

Collected, it has the project's own tables; test_schemas.py runs it once more with those of tables.py.
"""

import pytest

from shared.models.tables import synced_tables
from tests.api import Device, project, task
from tests.conftest import Backend
from tests.statements import statements


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


def test_an_ordinary_pull_is_one_statement_besides_the_callers(
    device: Device, other: Device, backend: Backend
) -> None:
    device.push(projects={"created": [project() for _ in range(100)]})
    with statements() as counted:
        other.pull()
    # SQLite, which is no round trip away, has BEGIN, and one for the clock and for each table.
    assert counted.total() == (2 if backend.database else 3 + len(synced_tables())), counted


def test_a_push_of_one_record_is_four_statements_besides_the_callers(
    device: Device, other: Device, backend: Backend
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.pull()
    t = task(p["id"])
    for change in ({"created": [t]}, {"updated": [t | {"title": "new"}]}, {"deleted": [t["id"]]}):
        with statements() as counted:
            device.push(tasks=change)
        # The clock, the row before, the row, and whether its parent lives; SQLite's clock takes three.
        assert counted.total() <= (5 if backend.database else 7), counted
        device.pull()
    assert other.pull()["changes"]["projects"]["created"] == [device.rows["projects"][p["id"]]]
