"""What production does to a stack, one function each: from its start to the moment it is over."""

import http.client
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pymysql

from tests.servers.checkout import Checkout
from tests.servers.processes import children
from tests.stack.load import eventually


def kill_a_worker(checkout: Checkout) -> None:
    os.kill(min(children(checkout.pid("sync"))), signal.SIGKILL)


def kill_all_workers(checkout: Checkout) -> None:
    for pid in children(checkout.pid("sync")):
        os.kill(pid, signal.SIGKILL)


def end(part: str, number: int = signal.SIGKILL) -> Callable[[Checkout], None]:
    """The part ends, and supervisord starts another."""

    def fault(checkout: Checkout) -> None:
        before = checkout.pid(part)
        os.kill(before, number)
        eventually(lambda: checkout.answers_anew(part, before))

    return fault


def hang(part: str, seconds: float) -> Callable[[Checkout], None]:
    """The part is there and does not answer."""

    def fault(checkout: Checkout) -> None:
        pid = checkout.pid(part)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    return fault


def slow_database(checkout: Checkout) -> None:
    """Every read and write of projects waits for two seconds."""
    with checkout.root() as root, root.cursor() as cursor:
        cursor.execute("LOCK TABLES projects WRITE")
        time.sleep(2)
        cursor.execute("UNLOCK TABLES")


def flood_of_one_user(checkout: Checkout) -> None:
    """Somebody pushes from everywhere at once while a transaction holds the user's row."""
    device = checkout.api.register()
    with (
        ThreadPoolExecutor(24) as pool,
        checkout.root() as root,
        root.cursor() as cursor,
    ):
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (device.user_id,))
        pushes = [pool.submit(device.push_raw, {"projects": {"created": []}}) for _ in range(24)]
        # None of them waits for as long as the row is held.
        for push in pushes:
            with suppress(OSError, http.client.HTTPException):
                assert push.result().status_code in (429, 503)
        cursor.execute("ROLLBACK")


def use_up_connections(checkout: Checkout) -> None:
    """Nobody new gets in, and whoever is in is thrown out."""
    with checkout.root() as root, root.cursor() as cursor:
        cursor.execute("SELECT @@max_connections")
        (allowed,) = cursor.fetchone() or (None,)
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
        cursor.execute(f"SET GLOBAL max_connections = {allowed}")


FAULTS: dict[str, Callable[[Checkout], None]] = {
    "a worker of sync is killed": kill_a_worker,
    "all workers of sync are killed": kill_all_workers,
    "sync is killed": end("sync"),
    "auth is killed": end("auth"),
    "the gateway is killed": end("gateway"),
    "the database is killed": end("database"),
    "the database restarts": end("database", signal.SIGTERM),
    "the database is slow": slow_database,
    "the database has no connection left": use_up_connections,
    "Redis is killed": end("redis"),
    "Redis hangs": hang("redis", 3),
    "the database hangs": hang("database", 5),
    "one user floods a row that is locked": flood_of_one_user,
}
