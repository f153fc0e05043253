"""Redis, which may only make answers faster: a failure is a miss, logged, and not tried again at once."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache, cached_property
from typing import Any

from flask import Flask, current_app
from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry

from shared.observability import metrics

log = logging.getLogger(__name__)

#: A hanging Redis costs a request this much, once per pause, and nothing in between.
TIMEOUT_S = 0.25
PAUSE_S = 1.0
#: A subscription that has nothing to tell for so long is asked, and given up when it does not answer for
#: three times it.
QUIET_S = 1.0
#: How long replicas may take to have a write that must not be lost: less than `TIMEOUT_S`.
REPLICAS_MS = 150


class Cache:
    """One app's connection to Redis or a Redis Cluster, or to none when `url` is empty.

    `redis://…`, or `rediss://…` for TLS; `redis+cluster://…` and `rediss+cluster://…` name any node
    of a cluster.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.paused_until = 0.0
        #: When the youngest connection was made. Before the first one there is nothing to doubt.
        self.connected_at = float("-inf")
        self.has_failed = False

    @cached_property
    def redis(self) -> Any:
        """Return the client. That of a cluster asks a node for the others, and so can fail."""
        scheme, is_cluster, rest = self.url.partition("+cluster")
        client: Any = RedisCluster if is_cluster else Redis
        return client.from_url(
            scheme + rest,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self.on_cluster_connect if is_cluster else self.on_connect,
        )

    def on_connect(self, connection: Any) -> None:
        """Introduce a new connection to the server, which redis-py leaves to us, and note its time."""
        connection.on_connect()
        self.connected_at = time.monotonic()

    def on_cluster_connect(self, _connection: Any) -> None:
        """Note the time of a new connection; the client of a cluster has introduced it."""
        self.connected_at = time.monotonic()

    def one_connection(self, key: str) -> AbstractContextManager[Any]:
        """Return a client with one connection to the server that holds `key`."""
        client = self.redis
        if isinstance(client, RedisCluster):
            client = client.get_redis_connection(client.get_node_from_key(key))
        held: AbstractContextManager[Any] = client.client()
        return held

    def attempt(self, command: Callable[[Any], Any]) -> Any:
        """Return what `command` returns, or None when Redis is absent, paused or fails."""
        if not self.url or time.monotonic() < self.paused_until:
            if self.url:
                metrics.CACHE_PAUSED.inc()
            return None
        try:
            answer = command(self.redis)
        except (RedisError, RedisClusterException) as error:
            self.paused_until = time.monotonic() + PAUSE_S
            self.drop_connections()
            metrics.CACHE_FAILURES.inc()
            # Once for each outage: it is tried every second.
            if not self.has_failed:
                log.warning("cache_failed", extra={"cause": type(error).__name__})
            self.has_failed = True
            return None
        self.has_failed = False
        return answer

    def drop_connections(self) -> None:
        """Close what is not in use: it may lead to a server that hangs, loads, or only reads by now.

        A cluster's client finds its masters by itself.
        """
        if "redis" in vars(self) and isinstance(self.redis, Redis):
            self.redis.connection_pool.disconnect(inuse_connections=False)


def init_app(app: Flask) -> None:
    """Connect to the app's `REDIS_URL`, lazily."""
    app.extensions["cache"] = Cache(app.config["REDIS_URL"])


def _cache() -> Cache:
    cache: Cache = current_app.extensions["cache"]
    return cache


def _attempt(command: Callable[[Any], Any]) -> Any:
    return _cache().attempt(command)


def is_configured() -> bool:
    """Return whether there is a `REDIS_URL`."""
    return bool(_cache().url)


def is_doubtful(seconds: float) -> bool:
    """Return whether a connection of this process is younger than `seconds`.

    A server that was restarted, or another one behind the address, is reached by new connections only.
    It may hold what was true when its snapshot was taken.
    """
    return time.monotonic() < _cache().connected_at + seconds


def run_script(script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """Run a Lua script, whose keys share a hash slot; None when Redis does not answer."""

    sent = (len(keys), *keys, *arguments)

    def run(redis: Any) -> Any:
        try:
            return redis.execute_command("EVALSHA", _digest(script), *sent)
        except NoScriptError:
            # The server knows it from now on.
            return redis.execute_command("EVAL", script, *sent)

    return _attempt(run)


@cache
def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def run_on_each(script: str, arguments: Mapping[str, Sequence[Any]]) -> list[Any] | None:
    """Run a Lua script with `arguments` for each key, in one go; None unless all were answered."""

    def run(redis: Any) -> list[Any]:
        pipeline = redis.pipeline(transaction=False)
        for key, values in arguments.items():
            pipeline.execute_command("EVAL", script, 1, key, *values)
        answers: list[Any] = pipeline.execute()
        return answers

    answers: list[Any] | None = _attempt(run)
    return answers


def write_for_good(script: str, key: str, arguments: Sequence[Any]) -> bool:
    """Run a Lua script that writes `key`; return whether each replica that follows has it too."""

    def write(_redis: Any) -> bool:
        # WAIT is about the writes of its own connection.
        with _cache().one_connection(key) as node:
            node.eval(script, 1, key, *arguments)
            _role, _offset, replicas, *_ = node.role()
            # All of them, since any may become the master.
            return not replicas or node.wait(len(replicas), REPLICAS_MS) >= len(replicas)

    return bool(_attempt(write))


def drop(key: str) -> None:
    """Forget what is under `key`."""
    _attempt(lambda redis: redis.delete(key))


def listen(channel: str) -> Iterator[str | None]:
    """Yield what is published on a channel while Redis answers; None when that begins, and in silence."""
    try:
        with _cache().redis.pubsub() as subscription:
            subscription.subscribe(channel)
            heard = time.monotonic()
            while time.monotonic() < heard + 3 * QUIET_S:
                message = subscription.get_message(timeout=QUIET_S)
                if message is None:
                    subscription.ping()
                    continue
                heard = time.monotonic()
                yield (
                    message["data"].decode(errors="replace")
                    if message["type"] == "message"
                    else None
                )
            raise RedisTimeout
    except (RedisError, RedisClusterException) as error:
        log.debug("subscription_failed", extra={"cause": type(error).__name__})


def state() -> str:
    """Return `up`, `down`, or `off` when none is configured."""
    if not is_configured():
        return "off"
    return "up" if _attempt(lambda redis: redis.ping()) else "down"
