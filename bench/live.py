"""What live nudges cost: `python -m bench.live`, on a MariaDB and a Redis of its own.

Opens ten thousand sockets of as many users to one process, and says how much memory they take, what their
idleness costs, and how long nudges take, with Redis and when it is gone.
"""

import asyncio
import json
import os
import resource
import statistics
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import insert
from websockets.asyncio.client import ClientConnection, connect

import services.auth
import services.sync
from deploy.keys import make_keys
from services.auth.sessions import Grant
from services.auth.signing import mint_pair
from shared.database.base import db
from shared.models import Session, User
from shared.now import now_ms
from tests.api import Api, Device, changes, project
from tests.conftest import alembic, place_for_servers
from tests.servers.processes import Live, MariaDB, RedisServer, free_port

SOCKETS = 10_000
#: Two pings.
IDLE_S = 60
#: Of a token: longer than all of it takes.
LIFE_MS = 15 * 60 * 1000
PUSHES = 100


def make_devices(number: int) -> list[tuple[Device, Device]]:
    """Return two devices each of fresh users, without the password's hash that registering takes."""
    now = now_ms()
    users, logins, pairs = [], [], []
    for _ in range(number):
        user_id = str(uuid.uuid4())
        user = {"id": user_id, "email": f"{user_id}@example.com", "role": "user", "is_active": True}
        users.append(user | dict.fromkeys(("created_at", "updated_at", "last_modified_at"), now))
        pair = []
        for _ in range(2):
            grant = Grant(
                user_id, str(uuid.uuid4()), uuid.uuid4().hex, now, now + LIFE_MS, now + LIFE_MS
            )
            login = {"id": grant.session_id, "user_id": user_id, "refresh_hash": "x"}
            login |= {"began_at_tick": now, "created_at": now, "last_used_at": now}
            logins.append(login | {"expires_at": now + LIFE_MS, "access_until": now + LIFE_MS})
            tokens = {"accessToken": mint_pair(grant)["access_token"], "user": {"id": user_id}}
            pair.append(Device(None, "", tokens, now))  # type: ignore[arg-type]
        pairs.append((pair[0], pair[1]))
    with db.engine.begin() as connection:
        connection.execute(insert(User), users)
        connection.execute(insert(Session), logins)
    return pairs


def spent(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process in MB, and the seconds of a processor that it has used."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(kib) / 1024, sum(map(int, ticks)) / 100


async def open_all(live: Live, devices: Sequence[Device]) -> list[ClientConnection]:
    """Return a socket of each device, two hundred at a time."""
    places = asyncio.Semaphore(200)

    async def one(device: Device) -> ClientConnection:
        async with places:
            url = f"ws://127.0.0.1:{live.port}/v1/sync/live"
            socket = await connect(url, proxy=None, compression=None, ping_interval=None)
            hello = {"accessToken": device.token, "lastPulledAt": device.last_pulled_at}
            await socket.send(json.dumps(hello))
            return socket

    return await asyncio.gather(*map(one, devices))


async def nudges(others: Sequence[Device], sockets: Sequence[ClientConnection]) -> str:
    """Push from the users' other devices; return how long after the answers the nudges came."""
    delays = []
    for other, socket in list(zip(others, sockets, strict=True))[:PUSHES]:
        change = changes(projects={"created": [project()]})
        waiting = asyncio.create_task(socket.recv())
        answer = await asyncio.to_thread(other.push_raw, change)
        assert answer.status_code == 200, answer.text
        began = time.monotonic()
        assert json.loads(await waiting)["timestamp"] == answer.json["timestamp"]
        delays.append((time.monotonic() - began) * 1000)
    worst = max(delays)
    return f"{statistics.median(delays):.0f} ms after the push's answer, {worst:.0f} ms at worst"


async def measure(live: Live, pairs: list[tuple[Device, Device]], redis: RedisServer) -> None:
    assert live.process
    pid = live.process.pid
    before, _ = spent(pid)
    began = time.monotonic()
    sockets = await open_all(live, [device for device, _ in pairs])
    seconds = time.monotonic() - began
    print(f"{len(sockets)} sockets are open after {seconds:.0f} s")
    for name in ("With Redis", "Without"):
        _, busy = spent(pid)
        await asyncio.sleep(IDLE_S)
        memory, then = spent(pid)
        each = (memory - before) * 1024 / len(sockets)
        print(
            f"{name}: {memory:.0f} MB, {before:.0f} of them without any socket, {each:.1f} KiB a socket;"
            f" {100 * (then - busy) / IDLE_S:.1f} % of a processor while nothing happens"
        )
        print(f"  nudges: {await nudges([other for _, other in pairs], sockets)}")
        redis.stop()
    live.stop()


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with place_for_servers() as place:
        database = MariaDB(place / "database", free_port())
        redis = RedisServer(place / "redis", free_port())
        database.install()
        database.start()
        redis.start()
        try:
            database.create_database("app")
            url = database.url("migrate", "app")
            alembic(url, "upgrade", "head")
            make_keys(place / "keys")
            settings = {
                "DATABASE_URL": url,
                "REDIS_URL": redis.url,
                "JWT_PRIVATE_KEY_FILE": str(place / "keys/private.pem"),
                "JWT_PUBLIC_KEYS_FILE": str(place / "keys/public.pem"),
            }
            run(settings, place, redis)
        finally:
            redis.stop()
            database.stop()


def run(settings: dict[str, str], place: Path, redis: RedisServer) -> None:
    os.environ.update(settings, LOG_LEVEL="WARNING", TRUSTED_PROXIES="0")
    with services.auth.create_app().app_context():
        pairs = make_devices(SOCKETS)
    api = Api(services.sync.create_app())
    for _, other in pairs:
        other.api = api
    live = Live(place / "live", free_port(), settings)
    live.start()
    try:
        asyncio.run(measure(live, pairs, redis))
    finally:
        live.stop()


if __name__ == "__main__":
    main()
