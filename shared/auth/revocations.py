"""Revoked sessions: a list in Redis that can be trusted, and the table behind it.

A list that may be incomplete is worse than none. So Redis is believed only while the list's *lease* runs,
and whoever revokes answers only when no lease can run on a list without the revocation. The database
decides whenever Redis cannot. docs/design.md, "What Redis does", has the reasoning step by step.
"""

import logging
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import current_app
from sqlalchemy import BigInteger, ColumnElement, cast, func, insert, select

from shared import redis
from shared.database.base import db
from shared.database.engines import STATEMENT_S, TRANSACTION_S
from shared.models import Revocation
from shared.now import now_ms
from shared.observability import metrics

log = logging.getLogger(__name__)

SHARDS = 64
#: How long a list may be believed after the beginning of the round that copied the table to it.
LEASE_MS = 3000
#: A lease from before a commit has run out after this, with half a second for clocks that run apart.
LEASE_OVER_S = 3.5
#: Between two attempts to write a revocation.
AGAIN_S = 0.25
#: How long a reconciler's mark in a list says that the list has lost nothing since.
MARK_MS = 10_000
#: How far a round reads back. A revocation is noted before its transaction commits, by so much at most;
#: and a server may come back with a list as old as two rounds, each as long as a mark.
OVERLAP_MS = (TRANSACTION_S + STATEMENT_S) * 1000 + 3 * MARK_MS
CLOCK_MS = 60_000
#: The channel on which pushes tell of the clocks that they moved: user, tick, session, the clock before.
MOVES = "moves"
#: In the place of a session there, where none of the user's own has moved the clock.
NOBODY = "-"
#: What the clocks of the machines may differ by. Where they do more, the database decides.
SKEW_MS = 60_000
#: How long a revocation is kept beyond the last access token: twice that skew, and the tokens' leeway.
MARGIN_MS = 3 * SKEW_MS
#: A list that nobody tends goes.
LIST_MS = 24 * 60 * 60 * 1000

#: Every time in Redis is Redis's own, since it is Redis that forgets.
NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

#: KEYS: list, clock. ARGV: session, longest lease. -1: the list cannot be believed; 0: revoked; 1: alive,
#: with Redis's time, when the last restore was made, the tick of the last load of a reference table, and the
#: user's clock. A lease that runs longer than any is one from before Redis's clock was set back.
CHECK = (
    NOW
    + """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0} end
local lease = tonumber(redis.call('ZSCORE', KEYS[1], 'lease') or 0)
if lease <= now or lease > now + ARGV[2] then return {-1} end
local restored = redis.call('ZSCORE', KEYS[1], 'restored') or 0
local loaded = redis.call('ZSCORE', KEYS[1], 'loaded') or 0
return {1, now, restored, loaded, redis.call('GET', KEYS[2])}
"""
)

#: KEYS: list. ARGV: life of the list, then for how long and which session.
REVOKE = (
    NOW
    + """
for i = 2, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', now + ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
)

#: KEYS: list. ARGV: life of the list, the tick of a load.
RAISE_LOADED = """
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], 'loaded')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""

#: KEYS: clock. ARGV: tick, life, and a channel and what is told there, if anything. A clock is only ever
#: raised. A server that forbids the channel has the clock all the same.
RAISE = """
local known = redis.call('GET', KEYS[1])
if not known or tonumber(known) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if ARGV[3] then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end
return 1
"""


@dataclass(frozen=True)
class Answer:
    """Redis's answer about a session. `clock`: the user's sync clock, or that of reference tables if it is
    later; None when the first is not known.
    """

    is_revoked: bool
    clock: int | None = None


@dataclass(frozen=True)
class Ended:
    """A session that was revoked, and for how many milliseconds from then it has to be remembered."""

    session_id: str
    for_ms: int


def shard(user_id: str) -> int:
    """Return the number of the list that holds the revoked sessions of a user."""
    return zlib.crc32(user_id.encode()) % SHARDS


def list_key(number: int) -> str:
    """Return the key of a list. The braces put it on one node of a cluster with its users' clocks."""
    return f"revoked:{{{number}}}"


def clock_key(user_id: str) -> str:
    """Return the key of a user's sync clock."""
    return f"clock:{{{shard(user_id)}}}:{user_id}"


def check(claims: Mapping[str, Any]) -> Answer | None:
    """Ask Redis, in one round trip, whether the session of an access token was revoked.

    None: the database must decide.
    """
    if not redis.is_configured():
        return None
    answer, outcome = _check(claims)
    metrics.REVOCATION_CHECKS.labels(outcome).inc()
    return answer


def _check(claims: Mapping[str, Any]) -> tuple[Answer | None, str]:
    user_id: str = claims["sub"]
    keys = [list_key(shard(user_id)), clock_key(user_id)]
    found = redis.run_script(CHECK, keys, [claims["sid"], LEASE_MS])
    if found is None:
        return None, "no_redis"
    if found[0] == 0:
        return Answer(is_revoked=True), "revoked"
    if found[0] < 0:
        return None, "no_lease"
    if redis.is_doubtful(LEASE_OVER_S):
        return None, "new_connection"
    _, redis_now, restored, loaded, clock = found
    now = now_ms()
    if (
        abs(now - int(redis_now)) > SKEW_MS
        # Minted when a clock was ahead: it may outlive what is remembered of its session.
        or claims["exp"] * 1000 > now + access_life_ms() + MARGIN_MS
        # A restore has lost which sessions there were, and which of them were revoked.
        or claims["iat"] * 1000 <= int(float(restored)) + SKEW_MS
    ):
        return None, "odd_time"
    later = max(int(clock), int(float(loaded))) if clock else None
    return Answer(is_revoked=False, clock=later), "alive"


def raise_clock(user_id: str, tick: int, moved: tuple[str, int] | None = None) -> None:
    """Let Redis know of a clock that the database holds. A failure may delay a change by a minute.

    `moved` is told to whoever listens, when the clock was moved right now: by which session, from which tick.
    """
    if redis.is_configured():
        told = _told(user_id, tick, *moved) if moved else []
        redis.run_script(RAISE, [clock_key(user_id)], [tick, CLOCK_MS, *told])


def raise_clocks(clocks: Mapping[str, int], tick: int, session_id: str = NOBODY) -> None:
    """Let Redis, and whoever listens, know of a tick that several users got, in one go.

    `clocks`: where each stood before; `session_id`: of whoever pushed, which is nobody's of theirs.
    """
    if redis.is_configured() and clocks:
        sent = {
            clock_key(user_id): [tick, CLOCK_MS, *_told(user_id, tick, session_id, before)]
            for user_id, before in clocks.items()
        }
        redis.run_on_each(RAISE, sent)


def _told(user_id: str, tick: int, session_id: str, before: int) -> list[str]:
    return [MOVES, " ".join((user_id, str(tick), session_id, str(before)))]


def raise_loaded(tick: int) -> None:
    """Let Redis know of the clock of reference tables. What it misses it hears of in the next round."""
    if redis.is_configured():
        redis.run_on_each(RAISE_LOADED, {list_key(n): (LIST_MS, tick) for n in range(SHARDS)})


def drop_clock(user_id: str) -> None:
    """Forget the clock of an account that is gone."""
    redis.drop(clock_key(user_id))


def record(user_id: str, sessions: Sequence[tuple[str, int | None]]) -> list[Ended]:
    """Write revoked sessions to the table, within the caller's transaction.

    Given are their ids, and when the last access token of each expires. To be followed by `announce`
    with what is returned, once the transaction has committed.
    """
    if not sessions:
        return []
    now: int = db.session.scalar(select(database_now())) or 0
    least = now + access_life_ms()
    untils = {id_: max(until or 0, least) + MARGIN_MS for id_, until in sessions}
    db.session.execute(
        insert(Revocation),
        [
            {
                "session_id": id_,
                "shard": shard(user_id),
                "revoked_at": now,
                "until": until,
            }
            for id_, until in untils.items()
        ],
    )
    return [Ended(id_, until - now) for id_, until in untils.items()]


def announce(user_id: str, ended: Sequence[Ended]) -> None:
    """Write committed revocations to the list; return when no service can believe one without them.

    That is at once, or within four seconds when Redis does not take them.
    """
    if not ended or not redis.is_configured():
        return
    over = time.monotonic() + LEASE_OVER_S
    arguments = [LIST_MS, *(value for one in ended for value in (one.for_ms, one.session_id))]
    key = list_key(shard(user_id))
    if redis.write_for_good(REVOKE, key, arguments):
        return
    metrics.REVOCATION_WAITS.inc()
    log.warning("revocation_waits", extra={"user_id": user_id})
    while (left := over - time.monotonic()) > 0:
        time.sleep(min(left, AGAIN_S))
        if redis.write_for_good(REVOKE, key, arguments):
            return


def access_life_ms() -> int:
    """Return how long an access token lives."""
    return int(current_app.config["ACCESS_TOKEN_SECONDS"]) * 1000


def database_now() -> ColumnElement[int]:
    """Return the database's own time in milliseconds, as SQL: one clock for all instances."""
    is_sqlite = db.engine.dialect.name == "sqlite"
    seconds = func.unixepoch("subsec") if is_sqlite else func.unix_timestamp(func.now(3))
    return cast(seconds * 1000, BigInteger)


def ended_since(since: int | None) -> tuple[int, set[str]]:
    """Return the database's time, and the sessions that were revoked after it was `since`; None: just now.

    And some that were so before: none is missed that was committed since. Of a clock that was set back, all
    that are remembered.
    """
    with db.engines["look_ups"].connect() as connection:
        now: int = connection.scalar(select(database_now())) or 0
        wanted = select(Revocation.session_id)
        if since is None or since <= now:
            wanted = wanted.where(Revocation.revoked_at > (since or now) - OVERLAP_MS)
        return now, set(connection.scalars(wanted))
