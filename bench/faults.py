"""Faults as production has them, one function each: from its start to the moment it is over."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymysql

from shared.now import now_ms
from tests.api import project, task
from tests.servers.checkout import Checkout
from tests.servers.processes import ROOT, MariaDB, children, free_port, program
from tests.servers.proxy import Proxy
from tests.stack.load import eventually


class Stack(Checkout):
    """A native stack that reaches its database by an address which can lead to another server."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        #: What restores took back: ticks from and to, in milliseconds.
        self.lost: list[tuple[int, int]] = []

    def start(self) -> None:
        """Start it, and put the address in front of its database."""
        self.run("up-native")
        port = self.native.ports["DATABASE_PORT"]
        self.address = Proxy(int(port))
        self.own = Address(int(port), self.password("root"))
        for file, setting in (("ports.env", "DATABASE_PORT"), ("client.cnf", "port")):
            path = self.native.directory / file
            own = path.read_text().replace(f"{setting}={port}", f"{setting}={self.address.port}")
            path.write_text(own)
        self.run("restart")

    def lives(self, tick: int) -> bool:
        """Return whether what was acknowledged with this tick must be there."""
        return not any(since <= tick <= until for since, until in self.lost)


class Address:
    """The administrator of the database server that listens on a port."""

    def __init__(self, port: int, password: str) -> None:
        self.port, self.password = port, password

    def execute(self, statement: str) -> None:
        """Run a statement."""
        with (
            pymysql.connect(
                host="127.0.0.1", port=self.port, user="root", password=self.password
            ) as root,
            root.cursor() as cursor,
        ):
            cursor.execute(statement)

    def copy_to(self, other: "Address") -> None:
        """Give the other server all that this one has."""
        where = [["-h127.0.0.1", f"-P{one.port}", "-uroot"] for one in (self, other)]
        dump = [program("mariadb-dump"), "--no-defaults", *where[0], "--single-transaction", "app"]
        load = [program("mariadb"), "--no-defaults", *where[1], "app"]
        own, theirs = ({**os.environ, "MYSQL_PWD": one.password} for one in (self, other))
        dumped = subprocess.run(dump, env=own, check=True, capture_output=True)
        subprocess.run(load, env=theirs, input=dumped.stdout, check=True)


def kill_a_worker(stack: Stack) -> None:
    os.kill(min(children(stack.pid("sync"))), signal.SIGKILL)


def kill_all_workers(stack: Stack) -> None:
    for pid in children(stack.pid("sync")):
        os.kill(pid, signal.SIGKILL)


def end(part: str, number: int = signal.SIGKILL) -> Callable[[Stack], None]:
    """End the part, so that supervisord starts another."""

    def fault(stack: Stack) -> None:
        before = stack.pid(part)
        os.kill(before, number)
        eventually(lambda: stack.answers_anew(part, before))

    return fault


def hang(part: str, seconds: float) -> Callable[[Stack], None]:
    """Let the part hang."""

    def fault(stack: Stack) -> None:
        pid = stack.pid(part)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    return fault


def slow_database(stack: Stack) -> None:
    """Let every read and write of projects wait for two seconds."""
    with stack.root() as root, root.cursor() as cursor:
        cursor.execute("LOCK TABLES projects WRITE")
        time.sleep(2)
        cursor.execute("UNLOCK TABLES")


def flood_of_one_user(stack: Stack) -> None:
    """Push from everywhere at once while a transaction holds the user's row."""
    device = stack.api.register()
    with (
        ThreadPoolExecutor(24) as pool,
        stack.root() as root,
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


def flood_of_large_pushes(stack: Stack) -> None:
    """Push some megabytes, sixteen times at once, and small things all the while."""
    device = stack.api.register()
    p = project()
    tasks = [task(p["id"], description="x" * 200) for _ in range(14_000)]
    large = {"projects": {"created": [p]}, "tasks": {"created": tasks}}

    def push(body: Any) -> int:
        with suppress(OSError, http.client.HTTPException):
            status: int = device.push_raw(body).status_code
            return status
        return 0

    with ThreadPoolExecutor(24) as pool:
        pushes = [pool.submit(push, large) for _ in range(16)]
        pushes += [pool.submit(push, {"projects": {"created": [p]}}) for _ in range(100)]
    answers = {one.result() for one in pushes}
    assert answers <= {0, 200, 429, 503}, answers


def restore(stack: Stack) -> None:
    """Restore a backup of a moment ago. What was acknowledged since is lost, by intent."""
    began = now_ms()
    said = stack.run("backup")
    stack.run("restore", said.rpartition("FILE=")[2].strip())
    with stack.root() as root, root.cursor() as cursor:
        cursor.execute("SELECT MAX(lost_until) FROM restores")
        ((until,),) = cursor.fetchall()
    stack.lost.append((began, until))
    stack.run("drop-replaced")


def fail_over(stack: Stack) -> None:
    """Make the writer read-only and lead its address to another; later all the way back."""
    passwords = {
        user: stack.password(user)
        for user in ("root", "migrate", "auth", "users", "sync", "purge", "jobs")
    }
    standby = MariaDB(stack.directory / "standby", free_port(), passwords=passwords)
    if not standby.is_installed:
        standby.install()
    standby.start()
    try:
        standby.create_database("app")
        with standby.root() as root, root.cursor() as cursor:
            cursor.execute("SET GLOBAL read_only = 0")
            cursor.execute(
                "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY %s", passwords["root"]
            )
            cursor.execute("GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION")
        other = Address(standby.port, passwords["root"])
        stack.own.copy_to(other)
        environ = {**os.environ, "DATABASE_URL": standby.url("migrate", "app")}
        grants = [sys.executable, "-m", "deploy.grants"]
        subprocess.run(grants, cwd=ROOT, env=environ, check=True)
        for old, new in ((stack.own, other), (other, stack.own)):
            old.execute("SET GLOBAL read_only = 1")
            old.copy_to(new)
            new.execute("SET GLOBAL read_only = 0")
            stack.address.target = new.port
            time.sleep(5)
    finally:
        stack.address.target = stack.own.port
        standby.stop()


def use_up_connections(stack: Stack) -> None:
    """Let nobody new in, and throw out whoever is in."""
    with stack.root() as root, root.cursor() as cursor:
        cursor.execute("SELECT @@max_connections")
        (allowed,) = cursor.fetchone() or (None,)
        cursor.execute("SET GLOBAL max_connections = 10")
        for user in ("auth", "users", "sync"):
            cursor.execute(f"KILL USER {user}")
        held = []
        with suppress(pymysql.err.OperationalError):
            while True:
                held.append(stack.root())
        time.sleep(2)
        for one in held:
            one.close()
        cursor.execute(f"SET GLOBAL max_connections = {allowed}")


FAULTS: dict[str, Callable[[Any], None]] = {
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
    "one user floods with large pushes": flood_of_large_pushes,
}
#: Those that need an address in front of the database, or give writes up on purpose.
LARGE_FAULTS: dict[str, Callable[[Stack], None]] = {
    "a backup is restored": restore,
    "the database's address leads to another": fail_over,
}
