"""Redis, which may only make answers faster: a failure is a miss, logged, and not tried again at once."""

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from flask import Flask, current_app
from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from shared.observability import metrics

log = logging.getLogger(__name__)

#: A hanging Redis costs a request this much, once per pause, and nothing in between.
TIMEOUT_S = 0.25
PAUSE_S = 1.0


class Cache:
    """One app's connection to Redis or a Redis Cluster, or to none when `url` is empty.

    `redis://…`, or `rediss://…` for TLS; `redis+cluster://…` and `rediss+cluster://…` name any node
    of a cluster.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.paused_until = 0.0

    @cached_property
    def redis(self) -> Any:
        """The client. That of a cluster asks a node for the others, and so can fail."""
        scheme, is_cluster, rest = self.url.partition("+cluster")
        client: Any = RedisCluster if is_cluster else Redis
        return client.from_url(
            scheme + rest,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )

    def attempt(self, command: Callable[[Any], Any]) -> Any:
        """What `command` returns, or None when Redis is absent, paused or fails."""
        if not self.url or time.monotonic() < self.paused_until:
            if self.url:
                metrics.CACHE_PAUSED.inc()
            return None
        try:
            return command(self.redis)
        except (RedisError, RedisClusterException) as error:
            self.paused_until = time.monotonic() + PAUSE_S
            self.drop_connections()
            metrics.CACHE_FAILURES.inc()
            log.warning("cache_failed", extra={"cause": type(error).__name__})
            return None

    def drop_connections(self) -> None:
        """Close what is not in use: it may lead to a server that hangs, loads, or only reads by now.

        A cluster's client finds its masters by itself.
        """
        if "redis" in vars(self) and isinstance(self.redis, Redis):
            self.redis.connection_pool.disconnect(inuse_connections=False)


def init_app(app: Flask) -> None:
    """Connect to the app's `REDIS_URL`, lazily."""
    app.extensions["cache"] = Cache(app.config["REDIS_URL"])


def _attempt(command: Callable[[Any], Any]) -> Any:
    return current_app.extensions["cache"].attempt(command)


def get(key: str) -> bytes | None:
    """The value under `key`, or None."""
    value: bytes | None = _attempt(lambda redis: redis.get(key) or b"")
    outcome = "failed" if value is None else "hit" if value else "miss"
    metrics.CACHE.labels(outcome).inc()
    return value or None


def put(key: str, value: bytes, seconds: int) -> bool:
    """Hold `value` under `key` for `seconds`; return whether that was done."""
    return bool(_attempt(lambda redis: redis.set(key, value, ex=seconds)))


def drop(key: str) -> None:
    """Forget what is under `key`."""
    _attempt(lambda redis: redis.delete(key))


def profile_key(user_id: str) -> str:
    """Return where the copy of a profile is, whatever its version: so it can be dropped."""
    return f"profile:{user_id}"


def state() -> str:
    """`up`, `down`, or `off` when none is configured."""
    if not current_app.extensions["cache"].url:
        return "off"
    return "up" if _attempt(lambda redis: redis.ping()) else "down"
