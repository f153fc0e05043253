"""What production does to a stack, one function each: from its start to the moment it is over."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pymysql

from deploy.local.servers import children
from tests.servers.checkout import Checkout
from tests.stack.load import eventually


def kill_a_worker(checkout: Checkout) -> None:
    os.kill(min(children(checkout.pid("sync"))), signal.SIGKILL)


def end(part: str, number: int = signal.SIGKILL) -> Callable[[Checkout], None]:
    """The part ends, and the watcher starts another."""

    def fault(checkout: Checkout) -> None:
        before = checkout.pid(part)
        os.kill(before, number)
        eventually(lambda: checkout.pid(part) != before)

    return fault


def hang_redis(checkout: Checkout) -> None:
    pid = checkout.pid("redis")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(pid, signal.SIGCONT)


def slow_database(checkout: Checkout) -> None:
    """Every read and write of projects waits for two seconds."""
    with checkout.root() as root, root.cursor() as cursor:
        cursor.execute("LOCK TABLES projects WRITE")
        time.sleep(2)
        cursor.execute("UNLOCK TABLES")


def use_up_connections(checkout: Checkout) -> None:
    """Nobody new gets in, and whoever is in is thrown out."""
    with checkout.root() as root, root.cursor() as cursor:
        cursor.execute("SET GLOBAL max_connections = 10")
        for user in ("auth", "users", "sync"):
            cursor.execute(f"KILL USER {user}")
        held = []
        with suppress(pymysql.err.OperationalError):
            while True:
                held.append(checkout.root())
        time.sleep(2)
        for one in held:
            one.close()
        cursor.execute("SET GLOBAL max_connections = 151")


FAULTS: dict[str, Callable[[Checkout], None]] = {
    "a worker of sync is killed": kill_a_worker,
    "sync is killed": end("sync"),
    "auth is killed": end("auth"),
    "the gateway is killed": end("gateway"),
    "the database is killed": end("database"),
    "the database restarts": end("database", signal.SIGTERM),
    "the database is slow": slow_database,
    "the database has no connection left": use_up_connections,
    "Redis is killed": end("redis"),
    "Redis hangs": hang_redis,
}
