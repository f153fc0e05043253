"""`make bench`: what an operation takes, by what the same machine needs at least, and by the peer.

Each line alternates between the sides and takes medians; docs/performance.md explains them. `PEER=1` starts
the peer too, `FULL=1` adds repetitions and the lines that take long. Writes .local/bench.json.
"""

import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pygal
from argon2 import PasswordHasher
from argon2.low_level import Type

from bench.sides import Load, Peer, Sample, Side, Stack, timed
from tests.api import PASSWORD, Device, changes, project, task, wire
from tests.servers.checkout import ROOT
from tests.stack.http_api import HttpApi

FULL = bool(os.environ.get("FULL"))
TIMES = 7 if FULL else 3
SECONDS = 8 if FULL else 3
#: Calls of one round, of what takes some milliseconds.
CALLS = 500 if FULL else 300
#: A connection that was not in use for so long is made anew.
IDLE_S = 30
HEADERS = f"{'':50} {'p50':>8} {'p99':>8} {'processor':>18}   {'÷ floor':28} {'÷ peer':28}"


class Lines:
    """The lines measured so far."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.kept: list[dict[str, Any]] = []
        #: Of an operation: µs per record, by the number of records.
        self.growth: dict[str, dict[int, float]] = {}

    def compare(
        self,
        name: str,
        ours: Side,
        peer: Side | None = None,
        *,
        floor: Side | None = None,
        of_floor: tuple[float, str] | None = None,
        of_peer: float = 0.8,
    ) -> Sample:
        """Measure the sides in turn, and keep ours ÷ each other; return a sample of ours.

        `of_floor` and `of_peer` are the most that the ratios may be, the first by `time` or by `cpu`, the
        second by both.
        """
        sides = {"ours": ours, "floor": floor, "peer": peer}
        rounds = [{k: side.sample() for k, side in sides.items() if side} for _ in range(TIMES)]
        mine = middle([one["ours"] for one in rounds])
        kept: dict[str, Any] = {"line": name, "ours": asdict(mine)}
        cpu = f"{ms(mine.cpu - mine.database)} +{ms(mine.database)}"
        said = f"{name:<50} {ms(mine.p50)} {ms(mine.p99)} {cpu}  "
        aims = {
            "floor": {of_floor[1]: of_floor[0]} if of_floor else {},
            "peer": {"time": of_peer, "cpu": of_peer},
        }
        for other, aim in aims.items():
            if not sides[other]:
                said += " " * 29
                continue
            ratios = {
                "time": [one["ours"].each / one[other].each for one in rounds],
                "p99": [one["ours"].p99 / one[other].p99 for one in rounds],
                "cpu": [one["ours"].cpu / one[other].cpu for one in rounds],
            }
            found = {by: round(statistics.median(some), 2) for by, some in ratios.items()}
            spread = [round(end(ratios["time"]), 2) for end in (min, max)]
            kept[other] = found | {"spread": spread, "aim": aim}
            misses = any(found[by] > most for by, most in aim.items())
            most = " ".join(f"≤ {aim[by]}" for by in list(aim)[:1])
            said += f"{found['time']:5.2f} cpu {found['cpu']:5.2f} p99 {found['p99']:5.2f} "
            said += f"{most:6}{' !' if misses else '  '} "
        self.kept.append(kept)
        print(said, flush=True)
        return mine

    def keep(self, name: str, value: float, unit: str, most: float | None = None) -> None:
        """Keep a figure of ours alone, and the most that it may be."""
        self.kept.append({"line": name, "value": round(value, 3), "unit": unit, "aim": most})
        aim = "" if most is None else f"≤ {most} {unit}{' !' if value > most else ''}"
        print(f"{name:<66} {value:8.2f} {unit:<6} {aim}", flush=True)

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


def middle(samples: Sequence[Sample]) -> Sample:
    """Return the medians of each figure."""
    columns = zip(*(asdict(one).values() for one in samples), strict=True)
    return Sample(*(statistics.median(column) for column in columns))


def ms(seconds: float) -> str:
    return f"{seconds * 1000:8.2f}"


class Caller:
    """Who calls one of the sides over one connection."""

    def __init__(self, port: int, token: str = "") -> None:
        self.connection = HTTPConnection("127.0.0.1", port)
        self.called_at = 0.0
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = self.headers | ({"Content-Type": "application/json"} if body else {})
        if time.monotonic() > self.called_at + IDLE_S:
            # The server may have closed it by now.
            self.connection.close()
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        data = response.read()
        self.called_at = time.monotonic()
        assert response.status in (200, 201), data
        return data

    def times(self, method: str, path: str, number: int = CALLS) -> list[float]:
        """Call so often; return the seconds of each."""
        return [timed(lambda: self(method, path)) for _ in range(number)]


class PeersUser(Caller):
    """A user of the peer, whose paths and bodies are ours."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer.port)
        self.email = f"{time.monotonic_ns()}@example.com"
        body = json.dumps({"email": self.email, "password": PASSWORD}).encode()
        self.token = json.loads(self("POST", "/v1/auth/register", body))["accessToken"]
        self.headers = {"Authorization": f"Bearer {self.token}"}


def record(project_id: str) -> dict[str, Any]:
    """Return a task of some 300 bytes, every other one with a text and the others with a null."""
    one = wire(task(project_id))
    one["title"] = f"{one['title']} of the things that are to be done"
    one["description"] = "Lorem ipsum dolor. " * 18 if int(one["created_at"]) % 2 else None
    return one


def records(project_id: str, number: int = 10_000) -> list[dict[str, Any]]:
    return [record(project_id) for _ in range(number)]


def body_of(operation: str, some: list[dict[str, Any]]) -> bytes:
    return json.dumps({"changes": changes(tasks={operation: some})}).encode()


class User:
    """A user of ours or of the peer, with a project, and calls over one connection."""

    def __init__(self, call: Caller, device: Device | None = None) -> None:
        self.call, self.device = call, device
        one = wire(project())
        self.project: str = one["id"]
        self.push(json.dumps({"changes": changes(projects={"created": [one]})}).encode())

    def push(self, body: bytes) -> float:
        """Push as a device that has pulled; return the seconds that it takes."""
        return timed(lambda: self.call("POST", f"/v1/sync?last_pulled_at={2**53}", body))

    def fill(self, number: int) -> None:
        """Let the user have so many tasks more."""
        while number > 0:
            self.push(body_of("created", records(self.project, min(5000, number))))
            number -= 5000

    def pull(self, since: int = 0) -> float:
        return timed(lambda: self.call("GET", f"/v1/sync?last_pulled_at={since}"))

    def timestamp(self) -> int:
        """Return what a pull of everything would return as `timestamp`."""
        return int(json.loads(self.call("GET", "/v1/sync?last_pulled_at=0"))["timestamp"])


def our_user(stack: Stack) -> User:
    device = stack.checkout.api.register()
    return User(Caller(stack.checkout.port_of("sync"), device.token), device)


def peers_user(stack: Stack) -> User | None:
    return User(PeersUser(stack.peer)) if stack.peer else None


def both(
    stack: Stack, work: Callable[[User], Sequence[float]], mine: User, other: User | None
) -> tuple[Side, Side | None]:
    """Return our side and the peer's, each doing the same for its user."""
    return stack.ours(lambda: work(mine)), other and stack.peers(lambda _: work(other))


def nothing_new(lines: Lines) -> None:
    stack = lines.stack
    mine, other = our_user(stack), peers_user(stack)
    floor = f"http://127.0.0.1:{stack.floor.port}/checked"

    def load(port: int, user: User) -> Load:
        path = f"/v1/sync?last_pulled_at={user.timestamp()}"
        return stack.load(f"http://127.0.0.1:{port}{path}", SECONDS, bearer(user))

    # Once more than the others, so that what is compared is warm.
    load(stack.checkout.port_of("sync"), mine)
    lines.compare(
        "pull with nothing new, four at a time",
        stack.ours(lambda: load(stack.checkout.port_of("sync"), mine)),
        other and stack.peers(lambda peer: load(peer.port, other)),
        floor=stack.floored(lambda: stack.load(floor, SECONDS, bearer(mine))),
        of_floor=(1.11, "time"),
        of_peer=1.0,
    )
    lines.compare(
        "… through nginx ÷ straight",
        stack.ours(lambda: load(stack.checkout.port, mine)),
        floor=stack.ours(lambda: load(stack.checkout.port_of("sync"), mine)),
        of_floor=(1.15, "time"),
    )
    cores = len(os.sched_getaffinity(0))
    if cores <= 2:
        print(f"… three instances: not measured, as one fills this machine's {cores} cores")
        return
    alone = load(stack.checkout.port, mine)
    stack.checkout.run("scale", "sync", "3")
    three = load(stack.checkout.port, mine)
    stack.checkout.run("scale", "sync", "1")
    ratio = three.seconds / three.requests / (alone.seconds / alone.requests)
    lines.keep(f"… three instances ÷ one, on {cores} cores", ratio, "×", 1.0)


def bearer(user: User) -> str:
    """Return what makes wrk call as this user."""
    return f"-HAuthorization: {user.call.headers['Authorization']}"


def profile(lines: Lines) -> None:
    stack = lines.stack
    mine, other = our_user(stack), peers_user(stack)
    assert mine.device
    ours = Caller(stack.checkout.port_of("users"), mine.device.token)
    floor = Caller(stack.floor.port, mine.device.token)
    lines.compare(
        "GET /users/me",
        stack.ours(lambda: ours.times("GET", "/v1/users/me")),
        other and stack.peers(lambda _: other.call.times("GET", "/v1/users/me")),
        floor=stack.floored(lambda: floor.times("GET", "/checked")),
        of_floor=(2.0, "time"),
        of_peer=0.9,
    )


COLUMNS = "id, title, description, is_completed, project_id, created_at, updated_at"


def rows_of(user: User, condition: str = "NOT is_deleted") -> str:
    assert user.device
    return f"SELECT {COLUMNS} FROM tasks WHERE user_id = '{user.device.user_id}' AND {condition}"


def first_syncs(lines: Lines) -> None:
    stack = lines.stack
    sizes = (1_000, 10_000, 100_000, *((500_000,) if FULL else ()))
    for number in sizes:
        mine, other = our_user(stack), peers_user(stack)
        for user in filter(None, (mine, other)):
            user.fill(number)
        select = rows_of(mine)
        taken = lines.compare(
            f"first sync of {number:,} records",
            *both(stack, lambda user: [user.pull() for _ in repeats(number)], mine, other),
            floor=stack.by_client(lambda: [stack.sql(select)]) if number >= 100_000 else None,
            of_floor=(1.4, "time") if number >= 100_000 else None,
        )
        lines.grows("first sync", number, taken.each)
    for number in sizes[1:]:
        ratio = lines.growth["first sync"][number] / lines.growth["first sync"][1_000]
        lines.keep(f"… per record, {number:,} ÷ 1,000", ratio, "×", 1.2)
    first = statistics.median(first_byte(mine) for _ in range(TIMES))
    lines.keep("… time to the first byte", first * 1000, "ms", 100)
    packed = [read(stack.checkout.port, mine, gzip=True) for _ in range(TIMES)]
    plain = [read(stack.checkout.port_of("sync"), mine) for _ in range(TIMES)]
    by_time, by_bytes = (
        statistics.median(a / b for a, b in zip(x, y, strict=True))
        for x, y in zip(zip(*packed, strict=True), zip(*plain, strict=True), strict=True)
    )
    lines.keep("… compressed through nginx ÷ straight, time", by_time, "×", 1.5)
    lines.keep("… bytes on the wire", by_bytes, "×", 0.25)


def repeats(number: int) -> range:
    """Return how often something with so many records is done in one round."""
    return range(max(1, min(20, 20_000 // number)))


def first_byte(user: User) -> float:
    """Return seconds to the first byte of a first sync."""
    connection = user.call.connection

    def begin() -> None:
        connection.request("GET", "/v1/sync", headers=user.call.headers)
        connection.getresponse().read(1)

    seconds = timed(begin)
    connection.close()
    return seconds


def read(port: int, user: User, *, gzip: bool = False) -> tuple[float, int]:
    """Return the seconds and the bytes of a first sync."""
    caller = Caller(port)
    caller.headers = user.call.headers | ({"Accept-Encoding": "gzip"} if gzip else {})
    size = 0

    def work() -> None:
        nonlocal size
        size = len(caller("GET", "/v1/sync"))

    return timed(work), size


def upsert(user: User, some: list[dict[str, Any]]) -> bytes:
    """Return the same rows as statements of the client, in one transaction."""
    assert user.device

    def literal(value: object) -> str:
        return (
            "NULL" if value is None else str(int(value)) if isinstance(value, int) else f"'{value}'"
        )

    tick = time.time_ns() // 1_000_000
    fixed = f"'{user.device.user_id}', {tick}, {tick}, 0, '{user.device.session_id}'"
    names = COLUMNS.split(", ")
    values = ["(" + ", ".join([fixed, *(literal(r[name]) for name in names)]) + ")" for r in some]
    head = (
        f"INSERT INTO tasks (user_id, created_at_ms, updated_at_ms, is_deleted, created_by, {COLUMNS})"
        " VALUES "
    )
    written = [*names[1:], "updated_at_ms", "is_deleted"]
    tail = " ON DUPLICATE KEY UPDATE " + ", ".join(f"{n} = VALUES({n})" for n in written) + ";"
    pieces = [head + ",".join(values[at : at + 1000]) + tail for at in range(0, len(values), 1000)]
    return f"BEGIN; {' '.join(pieces)} COMMIT;".encode()


def pushes(lines: Lines) -> None:
    stack = lines.stack
    mine, other = our_user(stack), peers_user(stack)

    def new(user: User, number: int) -> list[float]:
        # As often as it takes for the processor's clock, which ticks a hundred times a second.
        bodies = [body_of("created", records(user.project, number)) for _ in repeats(number)]
        return [user.push(body) for body in bodies]

    for number in (100, 1_000, 10_000):
        client = stack.by_client(lambda: [stack.sql(upsert(mine, records(mine.project)))])
        taken = lines.compare(
            f"push of {number:,} new records",
            *both(stack, lambda user: new(user, number), mine, other),
            floor=client if number == 10_000 else None,
            of_floor=(2.0, "time") if number == 10_000 else None,
        )
        lines.grows("push of new records", number, taken.each)
    known = {user: records(user.project) for user in filter(None, (mine, other))}
    for user, some in known.items():
        user.push(body_of("created", some))

    def edited(user: User) -> list[dict[str, Any]]:
        return [one | {"title": f"Edit {time.monotonic_ns()}"} for one in known[user]]

    lines.compare(
        "push of 10,000 updates",
        *both(stack, lambda user: [user.push(body_of("updated", edited(user)))], mine, other),
        floor=stack.by_client(lambda: [stack.sql(upsert(mine, edited(mine)))]),
        of_floor=(2.0, "time"),
    )


def push_of_one(lines: Lines) -> None:
    stack = lines.stack
    mine, other = our_user(stack), peers_user(stack)
    ones = {user: record(user.project) for user in filter(None, (mine, other))}
    for user, one in ones.items():
        user.push(body_of("created", [one]))

    def push_one(user: User) -> list[float]:
        times = []
        for _ in range(CALLS):
            edit = ones[user] | {"title": str(time.monotonic_ns())}
            times.append(user.push(body_of("updated", [edit])))
        return times

    def push_new(user: User) -> list[float]:
        return [user.push(body_of("created", [record(user.project)])) for _ in range(CALLS)]

    empty = Caller(stack.floor.port)
    with stack.checkout.root() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE floor (id INT PRIMARY KEY, n BIGINT)")
        cursor.execute("INSERT INTO floor VALUES (1, 1)")

        def commit() -> None:
            cursor.execute(f"UPDATE floor SET n = {time.monotonic_ns()} WHERE id = 1")
            empty("GET", "/empty")

        lines.compare(
            "push of one record",
            *both(stack, push_one, mine, other),
            floor=stack.floored(lambda: [timed(commit) for _ in range(CALLS)]),
            of_floor=(3.0, "time"),
        )
        lines.compare("push of one new record", *both(stack, push_new, mine, other))
        cursor.execute("DROP TABLE floor")

    def rate(devices: list[Device]) -> float:
        done = threading.Event()
        counts = [0] * len(devices)

        def work(number: int) -> None:
            while not done.is_set():
                answer = devices[number].push_raw(changes(projects={"created": [wire(project())]}))
                assert answer.status_code == 200
                counts[number] += 1

        with ThreadPoolExecutor(len(devices)) as pool:
            running = [pool.submit(work, number) for number in range(len(devices))]
            time.sleep(SECONDS)
            done.set()
            for future in running:
                future.result()
        return sum(counts) / SECONDS

    users = [stack.straight(stack.checkout.api.register()) for _ in range(4)]
    alone = rate(users[:1])
    lines.keep("… of one user ÷ each of four at once", alone / rate(users), "×", 1.0)
    lines.keep("… of one user, four at once, each", 1000 / rate([users[0]] * 4), "ms", 20)


def ordinary_pull(lines: Lines) -> None:
    stack = lines.stack
    mine, other = our_user(stack), peers_user(stack)
    since = {}
    for user in filter(None, (mine, other)):
        user.fill(100_000)
        since[user] = user.timestamp()
        time.sleep(0.01)  # The peer's clock is the time: what comes after must be later.
        user.fill(100)

    def pull(user: User) -> list[float]:
        return [user.pull(since[user]) for _ in range(CALLS)]

    checked = Caller(stack.floor.port, mine.device.token if mine.device else "")
    select = rows_of(mine, f"updated_at_ms > {since[mine]}")
    with stack.checkout.root() as connection, connection.cursor() as cursor:

        def floor() -> None:
            cursor.execute(select)
            cursor.fetchall()
            checked("GET", "/checked")

        def measure(name: str) -> Sample:
            return lines.compare(
                name,
                *both(stack, pull, mine, other),
                floor=stack.floored(lambda: [timed(floor) for _ in range(CALLS)]),
                of_floor=(3.0, "time"),
            )

        alone = measure("pull of 100 changes among 100,000 records")
        assert mine.device
        devices = [stack.checkout.api.login(mine.device.email) for _ in range(50)]
        port, path = stack.checkout.port_of("sync"), f"/v1/sync?last_pulled_at={since[mine]}"
        callers = [Caller(port, device.token) for device in devices]
        fifty = stack.ours(lambda: [one for call in callers for one in call.times("GET", path, 6)])
        fifty.sample()
        lines.keep(
            "… of 50 devices of one user ÷ of one, processor",
            fifty.sample().cpu / alone.cpu,
            "×",
            1.2,
        )
        if FULL:
            for _ in range(100):
                our_user(stack).fill(10_000)
            beside = measure("… beside 1,000,000 rows of others")
            lines.keep("… ÷ without them, processor", beside.cpu / alone.cpu, "×", 1.2)


def logins(lines: Lines) -> None:
    stack = lines.stack
    emails = [stack.checkout.api.register().email for _ in range(8)]
    others = [PeersUser(stack.peer).email for _ in range(8)] if stack.peer else []
    hasher = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1, type=Type.ID)
    hashed = hasher.hash(PASSWORD)

    def load(port: int, some: list[str]) -> Load:
        bodies = [json.dumps({"email": email, "password": PASSWORD}) for email in some]
        return stack.load(f"http://127.0.0.1:{port}/v1/auth/login", SECONDS, bodies=bodies)

    def bare() -> Load:
        cores = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(cores) as pool:
            took = timed(
                lambda: list(pool.map(lambda _: hasher.verify(hashed, PASSWORD), range(100)))
            )
        return Load(100, took, took / 100, took / 100)

    lines.compare(
        "login, four at a time",
        stack.ours(lambda: load(stack.checkout.port_of("auth"), emails)),
        stack.peers(lambda peer: load(peer.port, others)),
        floor=stack.by_client(bare),
        of_floor=(1.14, "cpu"),
        of_peer=1.0,
    )


def memory(lines: Lines) -> None:
    stack = lines.stack
    stack.checkout.run("restart", "sync")
    patient = HttpApi(f"http://127.0.0.1:{stack.checkout.port_of('sync')}/v1", patience=100)
    registered = [stack.checkout.api.register() for _ in range(8)]
    devices = [Device(patient, one.email, one.tokens) for one in registered]
    p = wire(project())

    def largest() -> float:
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in stack.workers("sync")]
        return max(int(re.search(r"VmRSS:\s*(\d+)", text)[1]) for text in texts) / 1024  # type: ignore[index]

    def push(device: Device, some: list[dict[str, Any]]) -> None:
        body = json.dumps(changes(projects={"created": [p]}, tasks={"created": some})).encode()
        assert patient.post("/sync", body, token=device.token).status_code == 200

    lines.keep("memory of a sync worker that is new", largest(), "MB")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda device: push(device, records(p["id"])), devices))
    lines.keep("… after eight pushes of 10,000 at once", largest(), "MB", 150)
    for _ in range(10):
        some = records(p["id"], 640)
        push(devices[0], [one | {"description": "x" * 100_000} for one in some])
    lines.keep("… after ten of 64 MB in a row", largest(), "MB", 150)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda device: patient.get("/sync", token=device.token), devices[1:]))
    lines.keep("… after seven first syncs, four at once", largest(), "MB", 150)


LINES = (
    nothing_new,
    profile,
    ordinary_pull,
    push_of_one,
    pushes,
    first_syncs,
    logins,
    memory,
)


def main() -> None:
    """Measure everything, or the lines that are named."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        print(f"Starting a native stack, by Python {sys.version}", flush=True)
        stack = Stack(Path(name), with_peer=bool(os.environ.get("PEER")))
        lines = Lines(stack)
        try:
            print(
                f"In milliseconds of one operation; the processor's: services + database\n{HEADERS}"
            )
            for measure in LINES:
                if not sys.argv[1:] or measure.__name__ in sys.argv[1:]:
                    measure(lines)
        finally:
            stack.stop()
    out = ROOT / ".local/bench.json"
    out.write_text(json.dumps(lines.kept, indent=2, ensure_ascii=False) + "\n")
    if lines.growth:
        out.with_suffix(".svg").write_bytes(lines.plot())
    print(f"\n!: an aim is missed. Written to {out}. What each line means: docs/performance.md")


if __name__ == "__main__":
    main()
