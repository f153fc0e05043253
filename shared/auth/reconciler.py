"""The reconciler: copies revoked sessions from the table to the lists in Redis, and prolongs their leases.

docs/design.md, "What Redis does", has the reasoning step by step.
"""

import logging
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import Row, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared import redis
from shared.auth import revocations
from shared.database.base import db
from shared.models import ReferenceClock, Restore, Revocation
from shared.observability import metrics

log = logging.getLogger(__name__)

ROUND_S = 1.0
#: A process leads until another may; less than a lease, so that lists stay leased when it ends.
LEADS_MS = 2000

#: KEYS: list. ARGV: life of the list, mark, its life. Redis's time, and whether the mark was there: then
#: nothing is lost of what its owner has filled in.
BEGIN = (
    revocations.NOW
    + """
local mark = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]) or 0)
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {now, mark > now and 1 or 0}
"""
)

#: KEYS: list. ARGV: mark, its life, end of the lease, longest lease, when the last restore was made, the tick
#: of the last load, then for how long and which session. Only for a list that is still the one in which the
#: round began. Lease and tick are only ever raised, but for a lease from before Redis's clock was set back.
FILL = (
    revocations.NOW
    + """
local mark = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
if mark <= now then return 0 end
local loaded = tonumber(redis.call('ZSCORE', KEYS[1], 'loaded') or 0)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 7, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', now + ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1], ARGV[5], 'restored')
redis.call('ZADD', KEYS[1], math.max(loaded, tonumber(ARGV[6])), 'loaded')
local lease = tonumber(redis.call('ZSCORE', KEYS[1], 'lease') or 0)
if lease < tonumber(ARGV[3]) or lease > now + ARGV[4] then
  redis.call('ZADD', KEYS[1], ARGV[3], 'lease')
end
return 1
"""
)

#: KEYS: leader. ARGV: who asks, for how long. Whether it leads.
LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


@dataclass
class Round:
    """One round of a reconciler. `begun`: by list, Redis's time at its beginning."""

    begun: list[int]
    #: Whether every list has all that this reconciler has filled into it before.
    continues: bool


@dataclass
class Copy:
    """The data that a round has read. Milliseconds by the database's clock."""

    now: int
    restored: int
    loaded: int
    rows: Sequence[Row[int, str, int]]


class Reconciler:
    """Copies revocations from the table to Redis each second, and prolongs the leases.

    One of all processes does so, chosen in Redis; if two should, nothing is harmed, since lists and
    leases only ever grow. Where the database or Redis does not answer, leases run out.
    """

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.id = uuid.uuid4().hex
        self.mark = f"copied by {self.id}"
        #: The database's time in the last round; None after one that failed, or while another leads.
        self.copied_until: int | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        """Do a round each second until `stopped` is set."""
        while not self.stopped.wait(ROUND_S):
            with self.app.app_context():
                try:
                    self.round()
                except Exception:
                    # The thread must go on; without it the database is asked for ever.
                    metrics.BUGS.inc()
                    log.exception("bug")

    def round(self) -> bool:
        """Copy what was revoked since the last round; return whether all leases were prolonged."""
        since, self.copied_until = self.copied_until, None
        begun = self.begin() if self.leads() else None
        if begun is None:
            return False
        try:
            copy = self.read(since if begun.continues else None)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("revocations_unreadable", extra={"cause": type(error).__name__})
            return False
        if not self.fill(begun, copy):
            return False
        self.copied_until = copy.now
        metrics.REVOCATIONS_COPIED.set(begun.begun[0] / 1000)
        return True

    def leads(self) -> bool:
        """Return whether this process is the one, until two seconds from now."""
        return bool(redis.run_script(LEAD, ["reconciler"], [self.id, LEADS_MS]))

    def begin(self) -> Round | None:
        """Mark the lists, before the table is read: they are filled only while they bear the mark."""
        arguments = (revocations.LIST_MS, self.mark, revocations.MARK_MS)
        answers = redis.run_on_each(
            BEGIN, {revocations.list_key(n): arguments for n in range(revocations.SHARDS)}
        )
        if answers is None:
            return None
        return Round([now for now, _ in answers], all(known for _, known in answers))

    def read(self, since: int | None) -> Copy:
        """Read what was revoked since some time, or all that is to be remembered."""
        with db.engine.connect() as connection:
            now, restored, loaded = connection.execute(
                select(
                    revocations.database_now(),
                    select(func.max(Restore.lost_until)).scalar_subquery(),
                    select(ReferenceClock.tick).scalar_subquery(),
                )
            ).one()
            wanted = select(Revocation.shard, Revocation.session_id, Revocation.until)
            # Set back, the clock says nothing of the order.
            if since is None or now < since:
                wanted = wanted.where(Revocation.until > now)
            else:
                wanted = wanted.where(Revocation.revoked_at > since - revocations.OVERLAP_MS)
            return Copy(int(now), restored or 0, loaded or 0, connection.execute(wanted).all())

    def fill(self, begun: Round, copy: Copy) -> bool:
        """Add what was read to the lists and prolong their leases; return whether all took it."""
        if abs(copy.now - begun.begun[0]) > revocations.SKEW_MS:
            log.warning("clocks_differ", extra={"ms": copy.now - begun.begun[0]})
            return False
        entries: list[list[Any]] = [[] for _ in range(revocations.SHARDS)]
        for row in copy.rows:
            if row.until > copy.now:
                entries[row.shard] += (row.until - copy.now, row.session_id)
        arguments = {
            revocations.list_key(n): (
                *(self.mark, revocations.MARK_MS),
                *(begun.begun[n] + revocations.LEASE_MS, revocations.LEASE_MS),
                *(copy.restored, copy.loaded, *entries[n]),
            )
            for n in range(revocations.SHARDS)
        }
        filled = redis.run_on_each(FILL, arguments)
        return filled is not None and all(filled)


def start_reconciler(app: Flask) -> None:
    """Reconcile in the background of this process, when there is a Redis."""
    if app.config["REDIS_URL"]:
        threading.Thread(target=Reconciler(app).run, name="reconciler", daemon=True).start()
