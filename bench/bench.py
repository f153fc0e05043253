"""`make bench`: ratios of what we need to what the same machine needs at least, measured in one run.

Each line alternates between ours and its floor and takes medians; docs/performance.md explains them.
`FULL=1` adds more repetitions and the lines that take long. Writes .local/bench.json.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pygal
from argon2 import PasswordHasher
from argon2.low_level import Type

from tests.api import PASSWORD, Device, changes, project, task, wire
from tests.conftest import ROOT
from tests.servers import processes
from tests.servers.checkout import Checkout
from tests.servers.processes import children
from tests.stack.http_api import HttpApi

FULL = bool(os.environ.get("FULL"))
TIMES = 7 if FULL else 3
SECONDS = 8 if FULL else 3
TICKS = os.sysconf("SC_CLK_TCK")

QUIET = {"LOG_LEVEL": "INFO", "LOG_TEXT": "false", "WEB_CONCURRENCY": "2"}


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


class Bench:
    """A native stack, the floor beside it, and the lines measured so far."""

    def __init__(self, directory: Path) -> None:
        os.environ.update(QUIET)
        self.checkout = Checkout(directory / "checkout")
        self.checkout.run("up-native")
        self.floor = Floor(directory / "floor", self.checkout)
        self.floor.start()
        self.client = [*self.checkout.native.client("client"), "app"]
        self.straight = HttpApi(f"http://127.0.0.1:{self.port('sync')}/v1")
        self.lines: list[dict[str, Any]] = []
        #: Of an operation: µs per record, by the number of records.
        self.growth: dict[str, dict[int, float]] = {}

    def port(self, name: str) -> int:
        return self.checkout.port_of(name)

    def processes(self, *names: str) -> list[int]:
        pids = [pid for name, pid in self.checkout.pids().items() if name.split("-")[0] in names]
        return [one for pid in pids for one in (pid, *children(pid))]

    def stop(self) -> None:
        self.floor.stop()
        self.checkout.run("down-native")

    def line(
        self, name: str, aim: str, ours: Callable[[], float], floor: Callable[[], float]
    ) -> None:
        """Measure both in turn, and keep ours ÷ floor with its spread."""
        pairs, spent = [], []
        for _ in range(TIMES):
            before = self.cpu()
            mine = ours()
            spent.append([after - b for after, b in zip(self.cpu(), before, strict=True)])
            pairs.append((mine, floor()))
        ratios = [a / b for a, b in pairs]
        mine, least = (statistics.median(column) for column in zip(*pairs, strict=True))
        cpu = [round(statistics.median(column), 2) for column in zip(*spent, strict=True)]
        self.keep(name, aim, mine / least, f"{min(ratios):.2f} to {max(ratios):.2f}", cpu=cpu)

    def keep(
        self,
        name: str,
        aim: str,
        value: float,
        spread: str = "",
        unit: str = "×",
        cpu: Sequence[float] = (),
    ) -> None:
        """Keep a result; `cpu` are the seconds of services and of database for one of ours."""
        line = {"line": name, "value": round(value, 3), "unit": unit, "spread": spread, "aim": aim}
        self.lines.append(line | {"cpu": cpu})
        seconds = " + ".join(f"{one:.2f} s" for one in cpu)
        print(f"{name:<66} {value:8.2f} {unit:<3} {spread:<14} {aim:<11} {seconds}", flush=True)

    def grows(self, operation: str, records: int, seconds: float) -> None:
        """Keep a point of a growth line."""
        self.growth.setdefault(operation, {})[records] = seconds / records * 1e6

    def plot(self) -> bytes:
        """Return the growth lines as SVG."""
        chart = pygal.XY(
            title="µs per record, by the number of records",
            width=720,
            height=420,
            logarithmic=True,
            xrange=(50, 200_000),
            x_labels=[100, 1_000, 10_000, 100_000],
            y_labels=[1, 3, 10, 30, 100, 300],
            x_value_formatter=lambda number: f"{number:,.0f}",
            value_formatter=lambda number: f"{number:.0f}",
            legend_at_bottom=True,
            truncate_legend=-1,
            truncate_label=-1,
            style=pygal.style.CleanStyle,
            js=[],
        )
        for operation, points in self.growth.items():
            chart.add(operation, sorted(points.items()))
        return bytes(chart.render())

    def sql(self, statement: str | bytes) -> float:
        """Return seconds that the batch client takes for it."""
        data = statement.encode() if isinstance(statement, str) else statement
        began = time.perf_counter()
        subprocess.run(
            [*self.client, "--batch", "--quick"], input=data, stdout=subprocess.DEVNULL, check=True
        )
        return time.perf_counter() - began

    def cpu(self) -> tuple[float, float]:
        """Return seconds of processor that the services have spent so far, and the database."""

        def spent(*parts: str) -> float:
            stats = [Path(f"/proc/{pid}/stat").read_text() for pid in self.processes(*parts)]
            fields = [text.rsplit(")", 1)[1].split() for text in stats]
            return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS

        return spent("auth", "users", "sync"), spent("database")


def load(url: str, *options: str, arguments: Sequence[str] = ()) -> float:
    """Return requests per second by wrk, all of which have to succeed."""
    command = ["wrk", "-t1", "-c4", f"-d{SECONDS}", *options, url, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Non-2xx" not in done.stdout, done.stdout
    return float(re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)[1])  # type: ignore[index]


def bearer(device: Device) -> str:
    """Return what makes wrk call as this device."""
    return f"-HAuthorization: Bearer {device.token}"


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def read(device: Device, port: int, gzip: bool = False) -> tuple[float, float, int]:
    """Return a first sync: seconds to the first byte, to the last, and bytes."""
    connection = HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {device.token}"}
    if gzip:
        headers["Accept-Encoding"] = "gzip"
    began = time.perf_counter()
    connection.request("GET", "/v1/sync", headers=headers)
    response = connection.getresponse()
    size = len(response.read(1))
    first = time.perf_counter() - began
    while piece := response.read(1 << 20):
        size += len(piece)
    connection.close()
    return first, time.perf_counter() - began, size


def fill(bench: Bench, records: int) -> Device:
    """Return a user with so many tasks."""
    device = bench.checkout.api.register()
    p = project()
    device.push(projects={"created": [p]})
    for start in range(0, records, 10_000):
        some = range(min(10_000, records - start))
        device.push(tasks={"created": [wire(task(p["id"])) for _ in some]})
    return device


COLUMNS = "id, title, description, is_completed, project_id, created_at, updated_at"


def rows_of(device: Device) -> str:
    return f"SELECT {COLUMNS} FROM tasks WHERE user_id = '{device.user_id}' AND NOT is_deleted"


def first_syncs(bench: Bench) -> None:
    sync = bench.port("sync")
    sizes = {records: fill(bench, records) for records in (1_000, 10_000, 100_000)}
    big = sizes[100_000]
    select = rows_of(big)
    bench.line(
        "first sync of 100,000 records ÷ the client's SELECT",
        "≤ 2.0",
        lambda: read(big, sync)[1],
        lambda: bench.sql(select),
    )
    for records, device in sizes.items():
        seconds = statistics.median(read(device, sync)[1] for _ in range(TIMES))
        bench.grows("first sync", records, seconds)
    for records in (10_000, 100_000):
        ratio = bench.growth["first sync"][records] / bench.growth["first sync"][1_000]
        bench.keep(f"… per record, {records:,} ÷ 1,000", "≤ 1.2", ratio)
    first = statistics.median(read(big, sync)[0] for _ in range(TIMES))
    bench.keep("… time to the first byte", "≤ 100 ms", first * 1000, unit="ms")

    def peak() -> int:
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in bench.processes("sync")]
        return sum(int(re.search(r"VmHWM:\s*(\d+)", text)[1]) for text in texts)  # type: ignore[index]

    for pid in bench.processes("sync"):
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    idle = peak()
    read(big, sync)
    bench.keep("… memory of the service above idle", "≤ 30 MB", (peak() - idle) / 1024, unit="MB")
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: read(big, sync), range(10)))
    bench.keep("… with ten at once", "≤ 30 MB", (peak() - idle) / 1024, unit="MB")
    gateway = bench.checkout.port
    bench.line(
        "first sync, compressed through nginx ÷ straight",
        "≤ 1.5",
        lambda: read(big, gateway, gzip=True)[1],
        lambda: read(big, sync)[1],
    )
    packed, plain = read(big, gateway, gzip=True)[2], read(big, sync)[2]
    bench.keep("… bytes on the wire", "", packed / plain)


def upsert(device: Device, records: list[dict[str, Any]]) -> bytes:
    def literal(value: object) -> str:
        return (
            "NULL" if value is None else str(int(value)) if isinstance(value, int) else f"'{value}'"
        )

    tick = time.time_ns() // 1_000_000
    fixed = f"'{device.user_id}', {tick}, {tick}, 0, '{device.session_id}'"
    values = [
        "(" + ", ".join([fixed, *(literal(r[c.strip()]) for c in COLUMNS.split(","))]) + ")"
        for r in records
    ]
    head = (
        f"INSERT INTO tasks (user_id, created_at_ms, updated_at_ms, is_deleted, created_by, {COLUMNS})"
        " VALUES "
    )
    names = [*COLUMNS.split(", ")[1:], "updated_at_ms", "is_deleted"]
    tail = " ON DUPLICATE KEY UPDATE " + ", ".join(f"{n} = VALUES({n})" for n in names) + ";"
    pieces = [
        head + ",".join(values[start : start + 1000]) + tail
        for start in range(0, len(values), 1000)
    ]
    return f"BEGIN; {' '.join(pieces)} COMMIT;".encode()


def pushes(bench: Bench) -> None:
    device = bench.checkout.api.register()
    own = Device(bench.straight, device.email, device.tokens)
    p = project()
    own.push(projects={"created": [p]})

    def records(number: int = 10_000) -> list[dict[str, Any]]:
        return [wire(task(p["id"])) for _ in range(number)]

    def push(some: list[dict[str, Any]], operation: str) -> float:
        body = json.dumps(changes(tasks={operation: some})).encode()
        since = own.pull_raw(2**60, limit=1).json["timestamp"]
        return timed(
            lambda: own.api.post(
                "/sync", body, token=own.token, query_string={"last_pulled_at": since}
            )
        )

    bench.line(
        "push of 10,000 new records ÷ the client's multi-row upsert",
        "≤ 2.0",
        lambda: push(records(), "created"),
        lambda: bench.sql(upsert(device, records())),
    )
    for number in (100, 1_000, 10_000):
        times = [push(records(number), "created") for _ in range(TIMES)]
        bench.grows("push of new records", number, statistics.median(times))
    known = records()
    push(known, "created")

    def edited(n: int) -> list[dict[str, Any]]:
        return [record | {"title": f"Edit {n}"} for record in known]

    bench.line(
        "push of 10,000 updates ÷ the same",
        "≤ 2.0",
        lambda: push(edited(time.monotonic_ns()), "updated"),
        lambda: bench.sql(upsert(device, edited(time.monotonic_ns()))),
    )

    one = wire(task(p["id"]))

    def push_one() -> float:
        body = json.dumps(changes(tasks={"updated": [one | {"title": str(time.monotonic_ns())}]}))
        path = f"/v1/sync?last_pulled_at={2**53}"
        headers = {"Authorization": f"Bearer {own.token}"}
        return timed(lambda: call(service, "POST", path, body, headers))

    with bench.checkout.root() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE floor (id INT PRIMARY KEY, n BIGINT)")
        cursor.execute("INSERT INTO floor VALUES (1, 1)")

        def commit() -> float:
            n = time.monotonic_ns()
            return timed(lambda: cursor.execute(f"UPDATE floor SET n = {n} WHERE id = 1"))

        service = HTTPConnection("127.0.0.1", bench.port("sync"))
        empty = HTTPConnection("127.0.0.1", bench.floor.port)

        def call(connection: HTTPConnection, *request: Any) -> None:
            connection.request(*request)
            response = connection.getresponse()
            response.read()
            assert response.status == 200

        def many(work: Callable[[], float]) -> float:
            return statistics.median(work() for _ in range(100))

        bench.line(
            "push of one record ÷ (a durable commit + an empty route)",
            "≤ 1.5",
            lambda: many(push_one),
            lambda: many(commit) + many(lambda: timed(lambda: call(empty, "GET", "/empty"))),
        )
        service.close()
        empty.close()
        cursor.execute("DROP TABLE floor")

    def rate(devices: list[Device]) -> float:
        done = threading.Event()
        counts = [0] * len(devices)

        def work(number: int) -> None:
            while not done.is_set():
                body = changes(projects={"created": [wire(project())]})
                assert devices[number].push_raw(body).status_code == 200
                counts[number] += 1

        with ThreadPoolExecutor(len(devices)) as pool:
            running = [pool.submit(work, number) for number in range(len(devices))]
            time.sleep(SECONDS)
            done.set()
            for future in running:
                future.result()
        return sum(counts) / SECONDS

    others = [bench.checkout.api.register() for _ in range(4)]
    users = [Device(bench.straight, d.email, d.tokens) for d in others]
    alone = rate(users[:1])
    bench.keep("pushes of four users at once ÷ of one", "grows", rate(users) / alone)
    bench.keep("pushes of one user, four at once", "≥ 50 /s", rate([users[0]] * 4), unit="/s")


def nothing_new(bench: Bench) -> None:
    device = bench.checkout.api.register()
    device.pull()
    query = f"/v1/sync?last_pulled_at={device.last_pulled_at}"
    straight = f"http://127.0.0.1:{bench.port('sync')}{query}"
    through = f"http://127.0.0.1:{bench.checkout.port}{query}"
    floor = f"http://127.0.0.1:{bench.floor.port}"
    bench.line(
        "pull with nothing new, requests/s ÷ empty route with token check",
        "≥ 0.8",
        lambda: load(straight, bearer(device)),
        lambda: load(f"{floor}/checked", bearer(device)),
    )
    bench.line(
        "… ÷ empty route without",
        "",
        lambda: load(straight, bearer(device)),
        lambda: load(f"{floor}/empty"),
    )
    bench.line(
        "straight ÷ through nginx, requests/s",
        "≤ 1.15",
        lambda: load(straight, bearer(device)),
        lambda: load(through, bearer(device)),
    )
    alone = statistics.median(load(through, bearer(device)) for _ in range(TIMES))
    bench.checkout.run("scale", "sync", "3")
    three = statistics.median(load(through, bearer(device)) for _ in range(TIMES))
    bench.checkout.run("scale", "sync", "1")
    bench.keep("three instances of sync ÷ one, requests/s", "≥ 1", three / alone)


def few_changes(bench: Bench) -> None:
    device = fill(bench, 100_000)
    device.pull()
    since = device.last_pulled_at
    p = next(iter(device.rows["projects"]))
    device.push(tasks={"created": [wire(task(p)) for _ in range(100)]})
    own = Device(bench.straight, device.email, device.tokens)

    def pull() -> float:
        return statistics.median(timed(lambda: own.pull_raw(since)) for _ in range(30))

    alone = pull()
    if FULL:
        for _ in range(100):
            fill(bench, 10_000)
        beside = pull()
        bench.keep("pull of 100 changes beside 1,000,000 rows of others", "≤ 1.1", beside / alone)
    bench.keep("pull of 100 changes among 100,000 rows", "", alone * 1000, unit="ms")


#: Has wrk post what it is given, as logins of eight accounts in turn.
LOGINS = """
local bodies, turn = {}, 0
function init(arguments)
    bodies = arguments
end
function request()
    turn = turn % #bodies + 1
    return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, bodies[turn])
end
"""


def logins(bench: Bench) -> None:
    emails = [bench.checkout.api.register().email for _ in range(8)]
    bodies = [json.dumps({"email": email, "password": PASSWORD}) for email in emails]
    hasher = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1, type=Type.ID)
    hashed = hasher.hash(PASSWORD)
    script = bench.checkout.directory / "logins.lua"
    script.write_text(LOGINS)
    url = f"http://127.0.0.1:{bench.port('auth')}/v1/auth/login"

    def bare() -> float:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return 100 / timed(
                lambda: list(pool.map(lambda _: hasher.verify(hashed, PASSWORD), range(100)))
            )

    bench.line(
        "logins ÷ bare Argon2 on all cores",
        "≥ 0.9",
        lambda: load(url, f"-s{script}", arguments=bodies),
        bare,
    )


LINES = (nothing_new, first_syncs, pushes, few_changes, logins)


def main() -> None:
    """Measure everything, or the lines that are named."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        print("Starting a native stack", flush=True)
        bench = Bench(Path(name))
        try:
            chosen = [one for one in LINES if not sys.argv[1:] or one.__name__ in sys.argv[1:]]
            for number, lines in enumerate(chosen, 1):
                print(f"{number} of {len(chosen)}: {lines.__name__.replace('_', ' ')}", flush=True)
                lines(bench)
        finally:
            bench.stop()
    out = ROOT / ".local/bench.json"
    out.write_text(json.dumps(bench.lines, indent=2, ensure_ascii=False) + "\n")
    if bench.growth:
        out.with_suffix(".svg").write_bytes(bench.plot())
    print(f"\nWritten to {out}. What each line means: docs/performance.md")


if __name__ == "__main__":
    main()
