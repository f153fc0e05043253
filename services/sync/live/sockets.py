"""The sockets of one process, and what they wait for."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from flask import Flask
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed

from services.sync.clock import Moved, read_loaded, read_moves
from services.sync.live.hello import Refused, read_hello, verify
from shared import redis
from shared.auth import revocations
from shared.models.tables import reference_tables
from shared.now import now_ms
from shared.observability import metrics
from shared.web.errors import Unauthorized

log = logging.getLogger(__name__)

T = TypeVar("T")

#: For the first message, and its largest size, in bytes.
HELLO_S, MAX_HELLO = 10, 16 * 1024
#: Between two questions to the database: which sessions have ended; without Redis, which clocks have moved.
ROUND_S = 1.0
#: The same for all clocks while Redis tells of them: what it has lost, or was never told, waits so long.
CHECK_S = 15.0
#: Over so many seconds all are told of a load of a reference table, some of them at a time: all of them will
#: pull what it brought.
SPREAD_S, TURNS = 5.0, 50
#: Of one user in one process.
MAX_SOCKETS = 20
#: Threads that ask the database and Redis, and so the most connections to the database.
THREADS = 4


class Connection(ServerConnection):
    """A connection that knows the id of its request."""

    request_id = ""


@dataclass(eq=False, slots=True)
class Socket:
    """One device that waits for nudges."""

    connection: ServerConnection
    user_id: str = ""
    session_id: str = ""
    #: Up to which tick of its user's clock there is nothing to tell it.
    known: int = 0
    #: What we have closed it with.
    code: int | None = None

    async def close(self, code: int, reason: str) -> None:
        """Close it, and wait until the client has heard of it."""
        self.code = self.code or code
        await self.connection.close(code, reason)


class Live:
    """The sockets of one process, and what they wait for."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.pool = ThreadPoolExecutor(THREADS, "live")
        #: By their users' ids.
        self.sockets: dict[str, set[Socket]] = {}
        #: Users whose clocks are to be asked for at the next turn, and who wakes it.
        self.due: set[str] = set()
        self.wake = asyncio.Event()
        #: Whether Redis tells of each clock that moves, and when all are asked for nevertheless.
        self.hears = False
        self.check_at = 0.0
        #: The database's time up to which it is known which sessions have ended.
        self.ended_until: int | None = None
        self.database_answers = True
        #: The tick of the last load that is known of, and the users who were let in since the clocks were
        #: last asked for. Whoever was there before is told of a load by `spread`.
        self.loaded = 0
        self.admitted: set[str] = set()
        self.spreading: asyncio.Task[None] | None = None
        self.closing: set[asyncio.Task[None]] = set()

    async def ask(self, question: Callable[..., T], *about: Any) -> T:
        """Return what a function that may wait for the database or Redis returns."""

        def run() -> T:
            with self.app.app_context():
                return question(*about)

        return await asyncio.get_running_loop().run_in_executor(self.pool, run)

    # One socket

    async def handle(self, connection: ServerConnection) -> None:
        """Serve a socket from its first message to its end."""
        assert isinstance(connection, Connection)  # noqa: S101
        began, socket = time.monotonic(), Socket(connection)
        metrics.LIVE_SOCKETS.inc()
        try:
            expires_at = await self.admit(socket)
            async with asyncio.timeout(expires_at - now_ms() / 1000):
                async for _ in connection:
                    pass
        except TimeoutError:
            await socket.close(4401, "The token has expired.")
        except Refused as refused:
            await socket.close(refused.code, refused.reason)
        except ConnectionClosed:
            pass
        finally:
            self.forget(socket)
            metrics.LIVE_SOCKETS.dec()
            code = socket.code or connection.close_code or 1000
            # A client may send any.
            is_known = code in (*range(1000, 1015), 4400, 4401, 4408)
            metrics.LIVE_CLOSES.labels(str(code) if is_known else "other").inc()
            extra = {
                "code": code,
                "user_id": socket.user_id or None,
                "request_id": connection.request_id,
                "duration_s": round(time.monotonic() - began, 1),
            }
            log.info("socket", extra=extra)

    async def admit(self, socket: Socket) -> int:
        """Read the first message and let the socket in; return when its token expires, in seconds.

        Raises `Refused`, and `ConnectionClosed` when the client has gone.
        """
        try:
            async with asyncio.timeout(HELLO_S):
                token, last_pulled_at = read_hello(await socket.connection.recv())
        except TimeoutError as error:
            raise Refused(4408, "No message came.") from error
        try:
            claims = await self.ask(verify, token)
        except Unauthorized as error:
            raise Refused(4401, error.detail) from error
        except (DBAPIError, PoolTimeout) as error:
            self.miss_database(error)
            raise Refused(1013, "Try again later.") from error
        socket.user_id, socket.session_id = claims["sub"], claims["sid"]
        socket.known = last_pulled_at
        others = self.sockets.setdefault(socket.user_id, set())
        if len(others) >= MAX_SOCKETS:
            raise Refused(1013, "Too many sockets of one user.")
        others.add(socket)
        self.due.add(socket.user_id)
        self.admitted.add(socket.user_id)
        self.wake.set()
        return int(claims["exp"])

    def forget(self, socket: Socket) -> None:
        """Nudge it no longer."""
        others = self.sockets.get(socket.user_id, set())
        others.discard(socket)
        if not others:
            self.sockets.pop(socket.user_id, None)

    def close(self, sockets: Iterable[Socket], code: int, reason: str) -> None:
        """Close sockets, and wait for none of them."""
        for socket in sockets:
            task = asyncio.create_task(socket.close(code, reason))
            self.closing.add(task)
            task.add_done_callback(self.closing.discard)

    def everybody(self) -> list[Socket]:
        """Return all sockets that were let in."""
        return [socket for some in self.sockets.values() for socket in some]

    # What they wait for

    def nudge(self, move: Moved) -> None:
        """Tell the sockets of a user that do not know of it how far the clock has moved.

        A session is not told of its own pushes, unless others moved the clock before: it knows of nothing
        that lies between what it knew and the first of them.
        """
        news = []
        for socket in self.sockets.get(move.user_id, ()):
            if move.clock > socket.known:
                if socket.session_id != move.session_id or move.since > socket.known:
                    news.append(socket.connection)
                socket.known = move.clock
        # Into the sockets' buffers: no slow client is waited for.
        broadcast(news, orjson.dumps({"timestamp": move.clock}).decode())
        metrics.LIVE_NUDGES.inc(len(news))

    def hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass on what Redis tells of clocks, and whether it does; in a thread, for ever."""
        # The loop may be closed already.
        with self.app.app_context(), suppress(RuntimeError):
            while True:
                for text in redis.listen(revocations.MOVES):
                    if text is None:
                        loop.call_soon_threadsafe(self.note_redis, True)
                        continue
                    # Others may use the server, and the name.
                    with suppress(ValueError):
                        user_id, clock, session_id, since = text.split()
                        if user_id in self.sockets:
                            move = Moved(user_id, int(clock), session_id, int(since))
                            loop.call_soon_threadsafe(self.nudge, move)
                loop.call_soon_threadsafe(self.note_redis, False)
                time.sleep(ROUND_S)

    def note_redis(self, hears: bool) -> None:
        """Note whether Redis tells of clocks. What moved while it did not is asked for once more."""
        if hears != self.hears:
            self.check_at = 0.0
            log.warning("listening" if hears else "not_listening")
        self.hears = hears

    async def watch(self) -> None:
        """Ask the database, each second and whenever a socket was let in, and go on whatever happens."""
        loop = asyncio.get_running_loop()
        round_at = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(round_at):
                    await self.wake.wait()
            self.wake.clear()
            try:
                if loop.time() >= round_at:
                    round_at = loop.time() + ROUND_S
                    if not self.hears or loop.time() >= self.check_at:
                        self.due.update(self.sockets)
                        self.check_at = loop.time() + CHECK_S
                    await self.end_sessions()
                    await self.ask_for_loads()
                await self.ask_clocks()
                self.database_answers = True
            except (DBAPIError, PoolTimeout) as error:
                self.miss_database(error)
            except Exception:
                metrics.BUGS.inc()
                log.exception("bug")

    async def end_sessions(self) -> None:
        """Close the sockets of sessions that have ended."""
        if self.sockets:
            self.ended_until, ended = await self.ask(revocations.ended_since, self.ended_until)
            over = [socket for socket in self.everybody() if socket.session_id in ended]
            self.close(over, 4401, "The session of this token has ended.")

    async def ask_clocks(self) -> None:
        """Nudge by the clocks of all users that are due."""
        asked = [user_id for user_id in self.due if user_id in self.sockets]
        if asked:
            for move in await self.ask(lambda: list(read_moves(asked))):
                self.nudge(move)
        self.due.difference_update(asked)
        for user_id in self.admitted.intersection(asked):
            self.nudge_of_load(user_id, self.loaded)
        self.admitted.difference_update(asked)

    async def ask_for_loads(self) -> None:
        """Learn of the last load of a reference table, where there are any, and tell everybody in turn."""
        if not (self.sockets and reference_tables()):
            return
        tick = await self.ask(read_loaded)
        if tick > self.loaded:
            self.loaded = tick
            if self.spreading:
                self.spreading.cancel()
            self.spreading = asyncio.create_task(self.spread(tick))

    async def spread(self, tick: int) -> None:
        """Tell all users of a load, some of them at a time."""
        users = list(self.sockets)
        random.shuffle(users)
        size = len(users) // TURNS + 1
        for start in range(0, len(users), size):
            for user_id in users[start : start + size]:
                self.nudge_of_load(user_id, tick)
            await asyncio.sleep(SPREAD_S / TURNS)

    def nudge_of_load(self, user_id: str, tick: int) -> None:
        """Tell a user's sockets of a load that they do not know of: no session of theirs has made it."""
        self.nudge(Moved(user_id, tick, None, 0))

    def miss_database(self, error: Exception) -> None:
        """Say once that the database does not answer. The sockets stay, and it is asked again."""
        if self.database_answers:
            log.error("database_unavailable", extra={"cause": type(error).__name__})
        self.database_answers = False
