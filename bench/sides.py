"""What `make bench` compares: our stack, floors beside it on the same machine, and the peer.

A `Side` does some operations, and knows whose processor they cost.
"""

import os
import re
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.api import Device
from tests.servers import processes
from tests.servers.checkout import ROOT, Checkout
from tests.servers.processes import children
from tests.stack.http_api import HttpApi

TICKS = os.sysconf("SC_CLK_TCK")
#: As in production.
QUIET = {"LOG_LEVEL": "INFO", "LOG_TEXT": "false", "LOG_SQL": "false", "WEB_CONCURRENCY": "2"}
#: Has wrk say what it measured: requests, and two percentiles in microseconds.
SAY = """
function done(summary, latency)
    io.write(string.format("said %d %f %f", summary.requests, latency:percentile(50), latency:percentile(99)))
end
"""
#: Has wrk post what it is given, in turn.
POST = """
local bodies, turn = {}, 0
function init(arguments)
    bodies = arguments
end
function request()
    turn = turn % #bodies + 1
    return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, bodies[turn])
end
"""


@dataclass(frozen=True)
class Sample:
    """Some operations: seconds of each, on average and by percentiles, and of processor."""

    each: float
    p50: float
    p99: float
    cpu: float
    #: The database's share of `cpu`.
    database: float


#: Seconds of each operation that was done; or, of a load, their number, seconds for all, p50 and p99.
Work = Callable[[], "Sequence[float] | Load"]
Clock = Callable[[], tuple[float, float]]


@dataclass(frozen=True)
class Load:
    """What a load generator has measured."""

    requests: int
    seconds: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Side:
    """One of those that are compared. `cpu`: seconds spent so far, in all and by the database."""

    work: Work
    cpu: Clock

    def sample(self) -> Sample:
        """Do the work once, and measure it."""
        before = self.cpu()
        done = self.work()
        spent, database = (a - b for a, b in zip(self.cpu(), before, strict=True))
        if isinstance(done, Load):
            number, each, p50, p99 = done.requests, done.seconds / done.requests, done.p50, done.p99
        else:
            number, each = len(done), statistics.median(done)
            p50, p99 = each, sorted(done)[int(number * 0.99)]
        return Sample(each, p50, p99, spent / number, database / number)


class Floor(processes.ManagedProcess):
    """bench/floor.py under gunicorn."""

    name = "floor"

    def __init__(self, directory: Path, checkout: Checkout) -> None:
        super().__init__(directory, processes.free_port())
        self.settings = {"JWT_PUBLIC_KEYS_FILE": str(checkout.local / "keys/public.pem")}

    def command(self) -> list[str]:
        return [
            str(Path(sys.executable).parent / "gunicorn"),
            "--config=deploy/gunicorn.conf.py",
            f"--bind=127.0.0.1:{self.port}",
            "bench.floor:create_app()",
        ]

    def environ(self) -> dict[str, str]:
        return self.settings


class Peer(processes.ManagedProcess):
    """bench/peer on the same database server and Redis, with as many processes as we have."""

    name = "peer"

    def __init__(self, directory: Path, checkout: Checkout) -> None:
        super().__init__(directory, processes.free_port())
        password = secrets.token_hex(16)
        with checkout.root() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE peer")
            cursor.execute(f"CREATE USER peer@'%' IDENTIFIED BY '{password}'")
            cursor.execute("GRANT ALL ON peer.* TO peer@'%'")
        ports = checkout.native.ports
        redis = checkout.password("redis")
        self.settings = {
            "PORT": str(self.port),
            "WORKERS": QUIET["WEB_CONCURRENCY"],
            "DATABASE_URL": f"mysql://peer:{password}@127.0.0.1:{ports['DATABASE_PORT']}/peer",
            "REDIS_URL": f"redis://:{redis}@127.0.0.1:{ports['REDIS_PORT']}/1",
            "JWT_SECRET": secrets.token_hex(32),
        }
        for step in (
            ["npm", "ci", "--silent", "--no-audit", "--no-fund"],
            ["npm", "run", "-s", "build"],
        ):
            subprocess.run(step, cwd=ROOT / "bench/peer", check=True)

    def command(self) -> list[str]:
        return [shutil.which("node") or "node", "bench/peer/peer.cjs"]

    def environ(self) -> dict[str, str]:
        return self.settings


class Stack:
    """A native stack with the floor beside it, and the peer when it is asked for."""

    def __init__(self, directory: Path, *, with_peer: bool) -> None:
        os.environ.update(QUIET)
        self.directory = directory
        self.checkout = Checkout(directory / "checkout")
        self.checkout.run("up-native")
        self.floor = Floor(directory / "floor", self.checkout)
        self.floor.start()
        self.peer = Peer(directory / "peer", self.checkout) if with_peer else None
        if self.peer:
            self.peer.start()
        self.client = [*self.checkout.native.client("client"), "app"]
        self.database = [self.checkout.pid("database")]

    def stop(self) -> None:
        for process in filter(None, (self.peer, self.floor)):
            process.stop()
        self.checkout.run("down-native")

    def api(self, service: str) -> HttpApi:
        """Return the calls of a service, without the gateway."""
        return HttpApi(f"http://127.0.0.1:{self.checkout.port_of(service)}/v1")

    def straight(self, device: Device) -> Device:
        """Return a device that calls sync without the gateway."""
        return Device(self.api("sync"), device.email, device.tokens)

    def workers(self, service: str) -> list[int]:
        """Return the processes of a service's first instance that answer requests."""
        return sorted(children(self.checkout.pid(service)))

    def ours(self, work: Work) -> Side:
        return Side(work, self.clock(lambda: self.pids("auth", "users", "sync")))

    def floored(self, work: Work) -> Side:
        """Return a floor that is made of bench/floor.py and of statements over an open connection."""
        return Side(work, self.clock(lambda: running(self.floor)))

    def by_client(self, work: Work) -> Side:
        """Return a floor that is a run of the database's client, or of this process."""

        def cpu() -> tuple[float, float]:
            database = spent(self.database)
            kinds = (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
            used = [resource.getrusage(kind) for kind in kinds]
            return sum(one.ru_utime + one.ru_stime for one in used) + database, database

        return Side(work, cpu)

    def peers(self, work: Callable[[Peer], Sequence[float] | Load]) -> Side | None:
        """Return the peer's side, None without one."""
        if peer := self.peer:
            return Side(lambda: work(peer), self.clock(lambda: running(peer)))
        return None

    def clock(self, pids: Callable[[], Iterable[int]]) -> Clock:
        def cpu() -> tuple[float, float]:
            database = spent(self.database)
            return spent(pids()) + database, database

        return cpu

    def pids(self, *names: str) -> list[int]:
        parts = self.checkout.pids().items()
        return [one for name, pid in parts if name.split("-")[0] in names for one in family(pid)]

    def sql(self, statement: str | bytes) -> float:
        """Return seconds that the batch client takes for it."""
        data = statement.encode() if isinstance(statement, str) else statement
        command = [*self.client, "--batch", "--quick"]
        return timed(
            lambda: subprocess.run(command, input=data, stdout=subprocess.DEVNULL, check=True)
        )

    def load(self, url: str, seconds: int, *options: str, bodies: Sequence[str] = ()) -> Load:
        """Have wrk ask for `seconds` over four connections; all requests have to succeed."""
        script = self.directory / "wrk.lua"
        script.write_text(SAY + (POST if bodies else ""))
        command = ["wrk", "-t1", "-c4", f"-d{seconds}", f"-s{script}", *options, url, "--", *bodies]
        began = time.perf_counter()
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        took = time.perf_counter() - began
        assert "Non-2xx" not in said, said
        requests, p50, p99 = map(float, re.search(r"said (\S+) (\S+) (\S+)", said).groups())  # type: ignore[union-attr]
        return Load(int(requests), took, p50 / 1e6, p99 / 1e6)


def running(server: processes.ManagedProcess) -> list[int]:
    """Return the processes of a server of our own."""
    assert server.process
    return family(server.process.pid)


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    return [pid, *children(pid)]


def spent(pids: Iterable[int]) -> float:
    """Return seconds of processor that these processes have used."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
