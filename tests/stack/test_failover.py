"""The address stays, what is behind it changes: no connection to the old server is kept."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import make_url

import services.sync
from services import embedded
from shared import redis
from shared.database import engines
from tests.api import Api, Device, assert_problem, changes, project
from tests.conftest import Backend, NewPlace, alembic
from tests.servers.processes import MariaDB, RedisServer, free_port
from tests.servers.proxy import Proxy
from tests.stack.load import eventually

SET = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"

pytestmark = pytest.mark.backends("native")


@dataclass
class Pair:
    """Two servers with the same data, and an address that leads to one of them."""

    old: MariaDB
    new: MariaDB
    proxy: Proxy
    device: Device

    def set_read_only(self, server: MariaDB, value: int) -> None:
        with server.root() as root, root.cursor() as cursor:
            cursor.execute(f"SET GLOBAL read_only = {value}")

    def fail_over(self) -> None:
        """As a managed database does: the old writer only reads, the address leads to the new one."""
        self.set_read_only(self.old, 1)
        self.proxy.target = self.new.port

    def push(self) -> Any:
        return self.device.push_raw(changes(projects={"created": [project()]}))

    def ready(self) -> Any:
        return self.device.api.client.get("/readyz")

    def connected(self, server: MariaDB) -> int:
        with server.root() as root, root.cursor() as cursor:
            return cursor.execute(
                "SELECT 1 FROM information_schema.processlist WHERE user = 'service'"
            )


@pytest.fixture(scope="module")
def servers(backend: Backend, new_place: NewPlace, application: object) -> Iterator[list[MariaDB]]:
    place = new_place()
    old = MariaDB(place / "old", free_port())
    old.install()
    new = MariaDB(place / "new", free_port(), passwords=old.passwords)
    try:
        own = Backend("native", place, old)
        old.start()
        migrate, _ = own.new_database("app")
        alembic(migrate, "upgrade", "head")
        yield [old, new]
    finally:
        old.stop()
        new.stop()


@pytest.fixture
def pair(servers: list[MariaDB]) -> Iterator[Pair]:
    old, new = servers
    with Proxy(old.port) as proxy:
        url = make_url(old.url("service", "app")).set(port=proxy.port)
        api = Api(embedded.create_app(DATABASE_URL=url.render_as_string(False), REDIS_URL=""))
        device = api.register()
        # The new one has all that the old one has, as a replica would.
        old.stop()
        new.stop()
        shutil.rmtree(new.directory, ignore_errors=True)
        shutil.copytree(old.directory, new.directory, ignore=shutil.ignore_patterns("*.log"))
        shutil.chown(new.directory, "nobody") if old.user() else None
        for path in new.directory.rglob("*") if old.user() else ():
            shutil.chown(path, "nobody")
        old.start()
        new.start()
        device.pull()
        yield Pair(old, new, proxy, device)
        with_both = Pair(old, new, proxy, device)
        with_both.set_read_only(old, 0)
        with_both.set_read_only(new, 0)


def test_after_a_failover_the_next_write_reaches_the_new_writer(pair: Pair) -> None:
    assert pair.push().status_code == 200
    pair.fail_over()
    assert pair.push().status_code == 200
    assert pair.ready().status_code == 200
    # What looks sessions up has left the old server too: there, revocations would come late.
    assert pair.device.pull_raw().status_code == 200
    eventually(lambda: pair.connected(pair.old) == 0 and pair.connected(pair.new) > 0)


def test_a_process_that_only_reads_leaves_the_old_writer_too(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a device that has seen nothing: rows are read, and not the session alone.
    assert pair.device.pull_raw(1).status_code == 200
    monkeypatch.setattr(engines, "ASK_S", 0)
    pair.fail_over()
    assert pair.device.pull_raw(1).status_code == 200
    eventually(lambda: pair.connected(pair.old) == 0 and pair.connected(pair.new) > 0)


def test_while_nobody_takes_writes_reads_are_answered_and_the_service_is_not_ready(
    pair: Pair,
) -> None:
    pair.set_read_only(pair.old, 1)
    refused = pair.push()
    assert_problem(refused, 503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert_problem(pair.ready(), 503, "unavailable")
    assert pair.device.pull_raw().status_code == 200
    pair.proxy.target = pair.new.port
    assert pair.push().status_code == 200
    assert pair.ready().status_code == 200


def test_connections_that_died_without_a_word_are_replaced(pair: Pair) -> None:
    assert pair.push().status_code == 200
    pair.proxy.swallow()
    # Of all calls, one that writes and one that streams.
    assert pair.push().status_code == 200
    assert pair.device.pull_raw(1).status_code == 200


def test_idle_connections_of_the_pool_are_asked_for_a_short_time_only(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pair.push().status_code == 200
    # Only the session's connection lives: it was used on the way, the other one was not.
    monkeypatch.setattr(engines, "IDLE_S", 0)
    pair.proxy.swallow()
    assert pair.device.api.get("/auth/sessions", token=pair.device.token).status_code == 200
    assert pair.push().status_code == 200


@pytest.fixture
def caches(backend: Backend, new_place: NewPlace) -> Iterator[list[RedisServer]]:
    old = RedisServer(new_place(), free_port())
    new = RedisServer(new_place(), free_port(), password=old.password)
    old.start()
    new.start()
    yield [old, new]
    old.stop()
    new.stop()


def test_after_a_failover_of_redis_it_caches_again(
    caches: list[RedisServer], application: object
) -> None:
    old, new = caches
    with Proxy(old.port) as proxy:
        app = services.sync.create_app(
            REDIS_URL=f"redis://:{old.password}@127.0.0.1:{proxy.port}/0"
        )
        with app.app_context():
            assert redis.run_script(SET, ["before"], ["x"]) == b"x"
            with old.client() as client:
                client.config_set("masterauth", new.password)
                client.replicaof("127.0.0.1", new.port)
            proxy.target = new.port

            def caches_again() -> bool:
                return bool(redis.run_script(SET, ["after"], ["y"]) == b"y")

            eventually(caches_again)
    with new.client() as client:
        assert client.get("after") == b"y"
