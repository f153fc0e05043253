"""The three services, each with an own way to one Redis, and whoever keeps the lists in it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import event

import services.auth
import services.sync
import services.users
from shared.auth import revocations
from shared.auth.reconciler import Reconciler
from tests.api import Api, Device
from tests.servers import processes
from tests.servers.proxy import Proxy

#: A guarded call of each service, which asks the database for nothing but what the guard must know.
GUARDED = {"auth": "/auth/sessions", "users": "/users/me", "sync": "/sync"}
CREATE = {"auth": services.auth, "users": services.users, "sync": services.sync}


class Instance:
    """A service in this process, and the proxy through which it reaches Redis."""

    def __init__(self, name: str, redis: processes.RedisServer) -> None:
        self.redis, self.path = redis, GUARDED[name]
        self.proxy = Proxy(redis.port)
        url = f"redis://:{redis.password}@127.0.0.1:{self.proxy.port}/0"
        self.app: Flask = CREATE[name].create_app(REDIS_URL=url)
        self.api = Api(self.app)

    @property
    def cache(self) -> Any:
        """The service's connections to Redis."""
        return self.app.extensions["cache"]

    def cut_off(self) -> None:
        """Let it reach Redis no more: nobody listens where its proxy leads."""
        self.proxy.target = processes.free_port()
        self.proxy.break_all()

    def trust(self) -> None:
        """Let its connections be old enough to be believed, without the wait."""
        self.cache.paused_until = 0
        with self.app.app_context():
            self.cache.attempt(lambda redis: redis.ping())
        self.cache.connected_at = float("-inf")

    def get(self, device: Device) -> Any:
        """Ask for what only a live session may have."""
        return self.api.get(self.path, token=device.token)

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Note the statements that the service sends meanwhile."""
        seen: list[str] = []
        with self.app.app_context():
            engines = list(self.app.extensions["sqlalchemy"].engines.values())

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        for engine in engines:
            event.listen(engine, "before_cursor_execute", note)
        yield seen
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


class Leases:
    """All of it. Rounds are done when a test says so."""

    def __init__(self, directory: Path) -> None:
        self.redis = processes.RedisServer(directory, processes.free_port())
        self.redis.start()
        self.auth, self.users, self.sync = (Instance(name, self.redis) for name in GUARDED)
        self.instances = (self.auth, self.users, self.sync)
        self.keeper = services.users.create_app(REDIS_URL=self.redis.url)
        self.reconciler = self.new_reconciler()

    def new_reconciler(self) -> Reconciler:
        """Return one more process that may keep the lists."""
        return Reconciler(self.keeper)

    def round(self, reconciler: Reconciler | None = None) -> bool:
        """Do a round."""
        self.keeper.extensions["cache"].paused_until = 0
        with self.keeper.app_context():
            return (reconciler or self.reconciler).round()

    def trust(self) -> None:
        """Let every instance believe Redis."""
        for instance in self.instances:
            instance.trust()

    def runs(self, device: Device) -> bool:
        """Return whether the lease of the user's list runs, by Redis itself."""
        with self.redis.client() as client:
            seconds, micros = client.time()  # type: ignore[misc]
            lease = client.zscore(list_of(device), "lease")
            return bool(lease and float(lease) > seconds * 1000 + micros / 1000)  # type: ignore[arg-type]

    def reset(self) -> None:
        """Make everything as at the beginning."""
        if self.redis.process and self.redis.process.poll() is None:
            self.redis.process.send_signal(signal.SIGCONT)
        else:
            self.redis.start()
        with self.redis.client() as client:
            client.config_set("maxmemory", 0)
            client.replicaof("NO", "ONE")
            client.flushall()
        (self.redis.directory / "dump.rdb").unlink(missing_ok=True)
        for instance in self.instances:
            instance.proxy.target = self.redis.port
        self.reconciler = self.new_reconciler()

    def close(self) -> None:
        """Stop Redis and the proxies."""
        for instance in self.instances:
            instance.proxy.__exit__()
        self.redis.stop()


def list_of(device: Device) -> str:
    """Return the key of the list that has the user's revoked sessions."""
    return revocations.list_key(revocations.shard(device.user_id))
