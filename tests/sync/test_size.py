"""What a long push and a long pull cost: statements and memory, never times."""

import tracemalloc
from collections.abc import Callable

import orjson
import pytest

from shared.database.bulk import CHUNK
from tests.api import Device, project, task
from tests.conftest import Backend
from tests.statements import statements


@pytest.mark.parametrize("records", [100, 1000, 3000])
def test_a_push_takes_a_constant_number_of_statements_and_one_more_per_chunk(
    device: Device, backend: Backend, records: int
) -> None:
    p = project()
    tasks = [task(p["id"]) for _ in range(records)]
    device.push(projects={"created": [p]})
    chunks = -(-records // CHUNK)
    device.pull()
    for change, per_chunk in (
        # Look up, write. SQLite, which is no round trip away, has a second look-up for the parents.
        ({"created": tasks}, 2 if backend.database else 3),
        ({"updated": [t | {"title": "new"} for t in tasks]}, 2),
        ({"deleted": [t["id"] for t in tasks]}, 2),
    ):
        with statements() as counted:
            device.push(tasks=change)
        # The caller, BEGIN, the clock read and moved, those without a parent; then per chunk.
        assert counted.total() <= 5 + per_chunk * chunks, counted
        device.pull()


def test_a_pull_takes_one_statement_besides_the_callers_however_long_it_is(
    device: Device, backend: Backend
) -> None:
    other = device.another()
    other.pull()
    for records in (1, 2500):
        device.push(projects={"created": [project() for _ in range(records)]})
        for puller in (other, device.another()):
            with statements() as counted:
                puller.pull()
            # SQLite, which is no round trip away, has one for the clock and for each table.
            assert counted["SELECT"] <= 1 + (1 if backend.database else 3), counted


def test_a_push_of_ten_thousand_records_arrives(device: Device) -> None:
    p = project()
    tasks = [task(p["id"], description="x" * 100) for _ in range(10_000)]
    device.push(projects={"created": [p]}, tasks={"created": tasks})
    other = device.another()
    other.pull()
    assert len(other.rows["tasks"]) == 10_000


def test_a_push_takes_little_more_memory_than_its_parsed_body(device: Device) -> None:
    """However small its records are, which is how a short body can become long."""
    records = 20_000
    body = b'{"projects":{"created":[%s]}}' % b",".join(
        b'{"id":"%x"}' % number for number in range(records)
    )
    tracemalloc.start()
    orjson.loads(body)
    _, parsed = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    answer = device.push_raw(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 200, answer.text
    # A thousand records are worked on at a time; the ids are gone through for doubles.
    assert peak - before < 1.5 * parsed + 6_000_000


@pytest.fixture
def rows_read(backend: Backend) -> Callable[[Callable[[], object]], int]:
    """How many rows the database looks at while something is done."""
    if backend.database is None or backend.others:
        pytest.skip("only a single server counts them for all connections")
    database = backend.database

    def count() -> int:
        # Of tables alone: what the server reads of its own temporary ones is "_tmp_".
        with database.root() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS WHERE variable_name LIKE 'Handler_read_%'")
            rows = dict(cursor.fetchall())
        return sum(int(rows[name]) for name in rows if name != "Handler_read_rnd_deleted")

    def during(work: Callable[[], object]) -> int:
        before = count()
        looking = count() - before
        work()
        return count() - before - 2 * looking

    return during


def test_the_rows_read_are_those_sent_and_not_those_there_are(
    device: Device, rows_read: Callable[[Callable[[], object]], int]
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.push(tasks={"created": [task(p["id"]) for _ in range(2000)]})
    device.pull()
    other, fresh = device.another(), device.another()
    other.last_pulled_at = device.last_pulled_at
    tasks = [task(p["id"]) for _ in range(10)]
    assert rows_read(other.pull) < 5
    assert rows_read(lambda: device.push(tasks={"created": tasks})) < 80
    assert rows_read(other.pull) < 100
    assert 2000 < rows_read(fresh.pull) < 2100
