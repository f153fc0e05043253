"""Which sessions were revoked: a list in Redis that can be trusted, and the table behind it.

A list that may be incomplete is worse than none, so Redis is believed only while the list's *lease*
runs (docs/design.md, "Redis"). The reconciler prolongs the lease after it has copied from the table what
was revoked; whoever revokes writes the list too. Where Redis cannot answer, the database decides.
"""

import logging
import threading
import time
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app
from sqlalchemy import ColumnElement, Row, func, insert, select
from sqlalchemy.exc import DBAPIError

from shared import cache
from shared.db import db
from shared.models import Revocation

log = logging.getLogger(__name__)

SHARDS = 64
#: How long a list may be believed after the beginning of the round that copied the table to it.
LEASE_MS = 3000
#: A lease from before a commit has run out after this, even on a machine whose clock is a bit slow.
LEASE_OVER_S = 3.5
#: How far a round reads back: a transaction commits at most this long after it took its time.
OVERLAP_MS = 60_000
ROUND_S = 1.0
CLOCK_MS = 60_000
#: How long a replica may take to have a revocation.
REPLICA_MS = 150
#: What a token may live longer than it should, on machines whose clocks differ.
MARGIN_MS = 60_000

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

#: KEYS: list, clock. ARGV: session. -1: the list cannot be believed; 0: revoked; 1: alive, and the clock.
CHECK = (
    NOW
    + """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0} end
local lease = redis.call('ZSCORE', KEYS[1], 'lease')
if not lease or tonumber(lease) <= now then return {-1} end
return {1, redis.call('GET', KEYS[2])}
"""
)

#: KEYS: list. ARGV: how long the entries are needed, and the sessions. By Redis's own time, since it is
#: Redis that forgets them.
REVOKE = (
    NOW
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'GT', now + ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], 86400000)
"""
)

#: KEYS: list, whose node is asked for its time.
TIME = NOW + "return now"

#: KEYS: list. ARGV: end of the lease, whether the entries are all there are, until and session for each.
#: What was read since the last round goes only into a list that is still whole.
FILL = (
    NOW
    + """
local lease = redis.call('ZSCORE', KEYS[1], 'lease')
if ARGV[2] == '0' and not (lease and tonumber(lease) > now) then return 0 end
for i = 3, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', KEYS[1], 'GT', ARGV[1], 'lease')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], 86400000)
return 1
"""
)

#: KEYS: clock. ARGV: tick, life. A clock is only ever raised.
RAISE = """
local known = redis.call('GET', KEYS[1])
if not known or tonumber(known) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
"""

#: KEYS: leader. ARGV: who asks, for how long. Whether it leads.
LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


@dataclass(frozen=True)
class Answer:
    """What Redis knows of a session. `clock`: the user's sync clock, None when it is not known."""

    is_revoked: bool
    clock: int | None = None


def shard(user_id: str) -> int:
    """Return the number of the list that holds the revoked sessions of a user."""
    return zlib.crc32(user_id.encode()) % SHARDS


def list_key(number: int) -> str:
    """Return the key of a list. The braces put it on one node of a cluster with its users' clocks."""
    return f"revoked:{{{number}}}"


def clock_key(user_id: str) -> str:
    """Return the key of a user's sync clock."""
    return f"clock:{{{shard(user_id)}}}:{user_id}"


def _run(script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    return cache.attempt(lambda redis: redis.register_script(script)(keys, arguments))


def check(user_id: str, session_id: str) -> Answer | None:
    """Ask Redis, in one round trip, whether a session was revoked. None: the database must decide."""
    if not cache.is_configured():
        return None
    found = _run(CHECK, [list_key(shard(user_id)), clock_key(user_id)], [session_id])
    if found is None or found[0] == -1 or (found[0] == 1 and cache.is_doubtful(LEASE_MS / 1000)):
        return None
    if found[0] == 0:
        return Answer(is_revoked=True)
    return Answer(is_revoked=False, clock=int(found[1]) if found[1] else None)


def raise_clock(user_id: str, tick: int) -> None:
    """Let Redis know of a clock that the database holds. A failure delays a change by a minute."""
    _run(RAISE, [clock_key(user_id)], [tick, CLOCK_MS])


def record(user_id: str, session_ids: Sequence[str]) -> None:
    """Write revoked sessions to the table, within the caller's transaction.

    To be followed by `announce` once that has committed.
    """
    now = database_now()
    rows = [{"session_id": id_, "user_id": user_id} for id_ in session_ids]
    if rows:
        db.session.execute(
            insert(Revocation).values(revoked_at=now, until=now + _life_ms()), rows
        )


def announce(user_id: str, session_ids: Sequence[str]) -> None:
    """Write committed revocations to the list; return when no service can believe one without them."""
    if not session_ids or not cache.is_configured():
        return
    key = list_key(shard(user_id))
    arguments = (_life_ms(), *session_ids)
    if not cache.attempt(lambda redis: _write(redis, key, arguments)):
        log.warning("revocation_waits_for_lease", extra={"user_id": user_id})
        time.sleep(LEASE_OVER_S)


def _write(redis: Any, key: str, arguments: Sequence[Any]) -> bool:
    """Write a list; return whether a replica has it too, where there are any."""
    with cache.one_connection(redis, key) as node:
        node.eval(REVOKE, 1, key, *arguments)
        _role, _offset, replicas, *_ = node.role()
        # WAIT is about the writes of its own connection.
        return not replicas or bool(node.wait(1, REPLICA_MS))


def _life_ms() -> int:
    """Return how long a session's access tokens might still be presented."""
    return int(current_app.config["ACCESS_TOKEN_SECONDS"]) * 1000 + MARGIN_MS


def database_now() -> ColumnElement[int]:
    """Return the database's own time in milliseconds, as SQL: the one clock that all instances share."""
    if db.engine.dialect.name == "sqlite":
        return func.cast(func.unixepoch("subsec") * 1000, Revocation.until.type)
    return func.floor(func.unix_timestamp(func.now(3)) * 1000)


FIND_LIVING = select(
    Revocation.user_id, Revocation.session_id, Revocation.revoked_at, Revocation.until
)


class Reconciler:
    """Copies revocations from the table to Redis each second, and prolongs the leases.

    One of all processes does so, chosen in Redis; if two should, nothing is harmed, since lists and
    leases only ever grow. `round` never raises for a database or a Redis that does not answer: the
    leases then run out, and the database is asked instead.
    """

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.id = uuid.uuid4().hex
        #: The database's time when the last round began; None while another process leads.
        self.copied_until: int | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        """Do a round each second until `stopped` is set."""
        while not self.stopped.wait(ROUND_S):
            with self.app.app_context():
                self.round()

    def round(self) -> bool:
        """Copy what was revoked since the last round; return whether all leases run."""
        try:
            done = self._lead() and self._copy()
        except DBAPIError as error:
            log.warning("revocations_unreadable", extra={"cause": type(error).__name__})
            done = False
        if not done:
            self.copied_until = None
        return done

    def _lead(self) -> bool:
        return _run(LEAD, ["reconciler"], [self.id, LEASE_MS]) == 1

    def _copy(self) -> bool:
        # Before the table is read, and by Redis's own time: a process that is stopped from here on
        # cannot prolong what it no longer knows.
        begun = _on_every_list(TIME, dict.fromkeys(range(SHARDS), ()))
        if begun is None:
            return False
        now, rows = self._read(self.copied_until)
        entries: dict[int, list[Any]] = {number: [] for number in range(SHARDS)}
        for row in rows:
            entries[shard(row.user_id)] += (row.until, row.session_id)
        is_whole = self.copied_until is None
        filled = _on_every_list(
            FILL,
            {
                number: (begun[number] + LEASE_MS, int(is_whole), *found)
                for number, found in entries.items()
            },
        )
        self.copied_until = now
        # A list that was lost meanwhile is filled whole by the next round.
        return filled is not None and all(filled)

    def _read(self, since: int | None) -> tuple[int, Sequence[Row[Any]]]:
        """Return the database's time and the revocations since then, or all that still matter."""
        with db.engine.connect() as connection:
            now: int = connection.scalar(select(database_now()))
            wanted = FIND_LIVING.where(Revocation.until > now)
            if since is not None:
                wanted = FIND_LIVING.where(Revocation.revoked_at > since - OVERLAP_MS)
            return now, connection.execute(wanted).all()


def _on_every_list(script: str, arguments: dict[int, Sequence[Any]]) -> list[Any] | None:
    def pipelined(redis: Any) -> list[Any]:
        pipeline = redis.pipeline(transaction=False)
        for number, values in arguments.items():
            pipeline.eval(script, 1, list_key(number), *values)
        answers: list[Any] = pipeline.execute()
        return answers

    answers: list[Any] | None = cache.attempt(pipelined)
    return answers


def start_reconciler(app: Flask) -> None:
    """Reconcile in the background of this process, when there is a Redis."""
    if app.config["REDIS_URL"]:
        threading.Thread(target=Reconciler(app).run, name="reconciler", daemon=True).start()
