"""What the database gives up is done again, whole; what it may have done is left to the client."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

import services.sync
from tests.api import Api, Device, assert_problem, changes, project, task, wire
from tests.conftest import Backend, on_servers
from tests.servers.processes import MariaDB

#: SQLite has neither connections to lose nor deadlocks.
pytestmark = on_servers


@pytest.fixture
def database(backend: Backend) -> MariaDB:
    assert backend.database
    return backend.database


@contextmanager
def lost_connection(database: MariaDB, before: str) -> Iterator[None]:
    """Kill the connection on which the first statement that contains `before` is about to run."""

    def kill(_c: Any, cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        if before in statement:
            event.remove(Engine, "before_cursor_execute", kill)
            with database.root() as root, root.cursor() as killer:
                killer.execute(f"KILL {cursor.connection.thread_id()}")

    event.listen(Engine, "before_cursor_execute", kill)
    yield
    if event.contains(Engine, "before_cursor_execute", kill):
        event.remove(Engine, "before_cursor_execute", kill)
        pytest.fail("nothing was killed")


@pytest.mark.parametrize(
    "before", ["UPDATE users SET pushed_since", "FROM tasks", "INSERT", "UPDATE users"]
)
def test_a_push_that_loses_its_connection_is_run_again_whole(
    device: Device, database: MariaDB, before: str
) -> None:
    p = project()
    tasks = [task(p["id"]) for _ in range(10)]
    with lost_connection(database, before):
        answer = device.push_raw(changes(projects={"created": [p]}, tasks={"created": tasks}))
    assert answer.status_code == 200
    fresh = device.another()
    fresh.pull()
    assert fresh.rows["tasks"] == {t["id"]: wire(t) for t in tasks}


def test_a_push_that_loses_its_connection_while_it_waits_is_run_again(
    device: Device, database: MariaDB
) -> None:
    waiting = "SELECT id FROM information_schema.processlist WHERE user = %s AND info LIKE %s"
    with ThreadPoolExecutor(1) as pool, database.root() as root, root.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM app.users WHERE id = %s FOR UPDATE", (device.user_id,))
        push = pool.submit(device.push_raw, changes(projects={"created": [project()]}))
        wait_for_lock(database)
        cursor.execute(waiting, ("service", "UPDATE users%"))
        for (thread,) in cursor.fetchall():
            cursor.execute(f"KILL {thread}")
        cursor.execute("ROLLBACK")
        assert push.result(20).status_code == 200


def test_a_deadlock_is_run_again(device: Device, database: MariaDB) -> None:
    p = project()
    mine = task(p["id"])
    device.push(projects={"created": [p]}, tasks={"created": [mine]})
    device.pull()
    rival = device.api.register()
    q = project()
    rival.push(projects={"created": [q]}, tasks={"created": [task(q["id"]) for _ in range(500)]})

    with database.root() as connection, connection.cursor() as cursor:
        cursor.execute("USE app")
        cursor.execute("BEGIN")
        # The rival has more to lose, so it is the push that the database gives up.
        cursor.execute("UPDATE tasks SET title = 'x' WHERE user_id = %s", (rival.user_id,))
        cursor.execute("SELECT id FROM tasks WHERE id = %s FOR UPDATE", (mine["id"],))
        with ThreadPoolExecutor(1) as pool:
            edit = changes(tasks={"updated": [mine | {"title": "edited"}]})
            pushing = pool.submit(device.push_raw, edit)
            wait_for_lock(database)
            cursor.execute("SELECT id FROM users WHERE id = %s FOR UPDATE", (device.user_id,))
            cursor.execute("ROLLBACK")
            assert pushing.result().status_code == 200
    fresh = device.another()
    fresh.pull()
    assert fresh.rows["tasks"][mine["id"]]["title"] == "edited"


def wait_for_lock(database: MariaDB) -> None:
    waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with database.root() as connection, connection.cursor() as cursor:
            if cursor.execute(waiting):
                return
        # InnoDB says the same again to whoever asks within a tenth of a second.
        time.sleep(0.15)
    pytest.fail("the push waits for no lock")


def test_a_dead_database_is_503_and_the_next_request_after_its_return_succeeds(
    device: Device, database: MariaDB
) -> None:
    # One connection was lost just before: the next loss is one of its own.
    with lost_connection(database, "INSERT"):
        device.push(projects={"created": [project()]})
    database.stop()
    try:
        for refused in (
            device.pull_raw(1),
            device.push_raw(changes(projects={"created": [project()]})),
            device.api.get("/users/me", token=device.token),
            device.api.post("/auth/login", {"email": "a@example.com", "password": "x" * 9}),
            device.api.post("/auth/refresh", token=device.tokens["refreshToken"]),
        ):
            assert_problem(refused, 503, "unavailable")
            assert int(refused.headers["Retry-After"]) > 0
    finally:
        database.start()
    assert len(device.pull()["changes"]["projects"]["updated"]) + len(device.rows["projects"]) > 0
    device.push(projects={"created": [project()]})


def test_too_many_connections_is_503(device: Device, database: MariaDB) -> None:
    with database.root() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@max_connections")
        (most,) = cursor.fetchone() or (0,)
        cursor.execute("SET GLOBAL max_connections = 10")
        held = []
        try:
            with pytest.raises(pymysql.err.OperationalError):  # noqa: PT012
                while True:
                    held.append(database.connect("service", "app"))
            starved = Api(services.sync.create_app()).get("/sync", token=device.token)
            assert_problem(starved, 503, "unavailable")
        finally:
            for one in held:
                one.close()
            cursor.execute(f"SET GLOBAL max_connections = {most}")
    assert device.pull_raw(1).status_code == 200
