"""Whatever a process waits for, it says that it lives, and what it cannot answer it refuses in time."""

import http.client
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.api import Api, Device, changes, new_id, project
from tests.conftest import Backend, NewPlace
from tests.servers.processes import Gateway, MariaDB, Service, free_port
from tests.servers.proxy import Proxy
from tests.stack.http_api import HttpApi
from tests.stack.load import eventually

#: SQLite does not hang.
pytestmark = pytest.mark.backends("native")

#: As many as a process has threads, and as many again.
THREADS, MORE = 8, 16
#: So many of one user wait for the database at least; the others are refused at once.
WAITING = 4


@dataclass
class Sync:
    """One process of sync, a gateway in front of it, and a device that talks to the process itself."""

    service: Service
    gateway: Gateway
    proxy: Proxy
    database: MariaDB
    device: Device

    def get(self, path: str) -> int:
        """The status of the process's own answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def counted(self, name: str) -> float:
        """The value of a metric without labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=20)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.fixture(scope="module")
def started(
    backend: Backend, environ: dict[str, str], new_place: NewPlace
) -> Iterator[tuple[Service, Gateway, Proxy]]:
    place = new_place()
    assert backend.database
    with Proxy(backend.database.port) as proxy:
        url = make_url(environ["DATABASE_URL"]).set(port=proxy.port).render_as_string(False)
        settings = environ | {"DATABASE_URL": url, "REDIS_URL": "", "WEB_CONCURRENCY": "1"}
        service = Service("sync", free_port(), settings, place / "sync.log")
        ports = {name: [service.port] for name in ("auth", "users", "sync")}
        gateway = Gateway(place / "gateway", free_port(), ports)
        try:
            service.start()
            gateway.site.mkdir(parents=True)
            gateway.start()
            yield service, gateway, proxy
        finally:
            gateway.stop()
            service.stop()


@pytest.fixture
def sync(backend: Backend, started: Any, api: Api) -> Sync:
    service, gateway, proxy = started
    account = api.register()
    direct = HttpApi(f"http://127.0.0.1:{service.port}/v1")
    assert backend.database
    return Sync(service, gateway, proxy, backend.database, replace(account, api=direct))


@contextmanager
def stopped(database: MariaDB) -> Iterator[None]:
    assert database.process
    os.kill(database.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(database.process.pid, signal.SIGCONT)


def assert_lives_meanwhile(
    sync: Sync, pool: ThreadPoolExecutor, request: Callable[[], Any]
) -> list[Any]:
    """The process says that it lives while requests wait; returns their answers."""
    first = [pool.submit(request) for _ in range(THREADS)]
    # Whatever held them, one that ended would let the answers of all the others come too.
    for _ in range(3):
        assert sync.get("/healthz") == 200
    assert sum(not future.done() for future in first) >= WAITING
    more = [pool.submit(request) for _ in range(MORE)]
    assert sync.get("/healthz") == 200
    assert sum(not future.done() for future in first) >= WAITING
    return [future.result() for future in first + more]


def test_connections_that_are_kept_open_hold_no_thread(sync: Sync) -> None:
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            connection = http.client.HTTPConnection("127.0.0.1", sync.service.port, timeout=20)
            stack.callback(connection.close)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        assert sync.get("/healthz") == 200


def test_connections_that_ask_without_pause_leave_the_threads_to_others(sync: Sync) -> None:
    number = 300
    everyone = threading.Barrier(2 * THREADS)
    heard: set[int] = set()

    def ask(caller: int) -> int:
        """Ask all at once; return how many callers were heard before this one had its last answer."""
        with socket.create_connection(("127.0.0.1", sync.service.port), timeout=60) as connection:
            everyone.wait(60)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: sync\r\n\r\n" * number)
            answers = b""
            while answers.count(b"HTTP/1.1 200") < number:
                received = connection.recv(4096)
                assert received
                answers += received
                heard.add(caller)
        return len(heard)

    with ThreadPoolExecutor(2 * THREADS) as pool:
        assert set(pool.map(ask, range(2 * THREADS))) == {2 * THREADS}


def test_a_process_lives_while_the_database_hangs_and_serves_when_it_goes_on(
    sync: Sync, api: Api
) -> None:
    assert sync.device.pull_raw(1).status_code == 200
    # Of many users: one alone never holds all threads.
    users = cycle([replace(api.register(), api=sync.device.api) for _ in range(THREADS)])
    with ThreadPoolExecutor(THREADS + MORE) as pool:
        with stopped(sync.database):
            answers = assert_lives_meanwhile(sync, pool, lambda: next(users).pull_raw(1))
            assert {answer.status_code for answer in answers} <= {429, 503}
            assert 503 in {answer.status_code for answer in answers}
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
            assert sync.get("/readyz") == 503
        assert eventually(lambda: sync.device.pull_raw(1).status_code == 200)
    assert sync.get("/readyz") == 200


def test_a_process_lives_while_pushes_wait_for_a_row_and_refuses_them_in_time(sync: Sync) -> None:
    def push() -> Any:
        return sync.device.push_raw(changes(projects={"created": [project()]}))

    with (
        ThreadPoolExecutor(THREADS + MORE) as pool,
        sync.database.root() as root,
        root.cursor() as cursor,
    ):
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM app.users WHERE id = %s FOR UPDATE", (sync.device.user_id,))
        answers = {answer.status_code for answer in assert_lives_meanwhile(sync, pool, push)}
        # The row is still held.
        assert answers <= {429, 503}
        assert 503 in answers
        cursor.execute("ROLLBACK")
    assert push().status_code == 200


def read_all(port: int, device: Device) -> bytes:
    """A first sync, read by an HTTP client that says so when an answer is not whole."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {device.token}", "X-Request-ID": "cut-in-the-middle"}
    try:
        connection.request("GET", "/v1/sync", headers=headers)
        response = connection.getresponse()
        assert response.status == 200
        return response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("through", ["service", "gateway"])
def test_a_stream_that_breaks_off_is_not_taken_for_a_whole_answer(sync: Sync, through: str) -> None:
    text = "x" * 2000
    for _ in range(10):
        records = [project(id=new_id(), description=text) for _ in range(300)]
        assert sync.device.push_raw(changes(projects={"created": records})).status_code == 200
    port = {"service": sync.service.port, "gateway": sync.gateway.port}[through]
    whole = len(read_all(port, sync.device))
    assert whole > 6_000_000
    before = sync.counted("http_streams_broken_total")
    sync.proxy.allowed = whole // 2
    try:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            read_all(port, sync.device)
    finally:
        sync.proxy.allowed = float("inf")
    assert sync.counted("http_streams_broken_total") == before + 1
    log = sync.service.log.read_text()
    broken = [line for line in log.splitlines() if '"stream_broken"' in line]
    assert "cut-in-the-middle" in broken[-1]
    assert '"cause":"connection_lost"' in broken[-1]
    assert len(read_all(port, sync.device)) == whole


def test_an_answer_that_breaks_before_it_was_begun_is_503(sync: Sync) -> None:
    records = [project(id=new_id(), description="x" * 1000) for _ in range(100)]
    assert sync.device.push_raw(changes(projects={"created": records})).status_code == 200
    assert sync.device.pull_raw(0).status_code == 200
    sync.proxy.allowed = 60_000
    try:
        refused = sync.device.pull_raw(0)
    finally:
        sync.proxy.allowed = float("inf")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert sync.device.pull_raw(0).status_code == 200
