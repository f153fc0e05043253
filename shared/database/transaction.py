"""Transactions that are run again when the database gives them up, and single look-ups outside of any."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Row, Select, text
from sqlalchemy.exc import DBAPIError

from shared.database import engines, errors
from shared.database.base import db
from shared.database.bulk import compiled
from shared.database.engines import RETRY_FOR_S, TRANSACTION_S
from shared.observability import metrics

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 5


def look_up(
    query: Select[*tuple[Any, ...]], values: dict[str, Any]
) -> Row[*tuple[Any, ...]] | None:
    """Return the one row of a query, or None, in one round trip and in no transaction.

    What every request asks. A connection that was lost while it was idle is replaced, once.
    """
    engine = db.engines["look_ups"]
    sql, constants = _compiled(engine.dialect, query)
    sent = {**constants, **values}
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql(sql, sent).one_or_none()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    with engine.connect() as connection:
        return connection.exec_driver_sql(sql, sent).one_or_none()


_compiled = cache(compiled)


def takes_writes() -> bool:
    """Return whether the database answers and takes writes. Raises `DBAPIError` when it does not answer."""
    engine = db.engines["look_ups"]
    is_sqlite = engine.dialect.name == "sqlite"
    for is_last in (False, True):
        with engine.connect() as connection:
            row = connection.execute(text("SELECT 0" if is_sqlite else engines.ASK)).one()
            if engines.takes_writes(row):
                return True
            if not is_last:
                # Another server may be behind the address by now.
                connection.invalidate()
    return False


def transaction(work: Callable[P, T]) -> Callable[P, T]:
    """Run a use case in one transaction that writes, committed when it returns.

    An exception rolls back and leaves. A transaction that the database itself gave up (deadlock,
    lock timeout, lost connection, a server that only reads) is run again from its beginning, at most
    five times and for a bounded time, so `work` must have no effect outside the database. A
    connection lost during COMMIT is not repeated: the caller gets 503, and a client's own repeat is
    safe by the contract. Raises `DeadlineExceeded`, with nothing written, when it takes so long that
    nobody waits for the answer any more.
    """

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()
        # SQLite then takes its write lock at once, since a reader that turns into a writer behind
        # another writer's back can only fail.
        options = {"writes": True, "deadline": began + TRANSACTION_S}
        for attempt in range(1, ATTEMPTS + 1):
            committing = False
            try:
                with db.session.begin() as own:
                    db.session.connection(execution_options=options)
                    result = work(*args, **kwargs)
                    if time.monotonic() > options["deadline"]:
                        raise errors.DeadlineExceeded
                    committing = True
                    own.commit()
                    return result
            except DBAPIError as error:
                is_late = time.monotonic() > began + RETRY_FOR_S
                if is_late or not _may_repeat(error, attempt, committing=committing):
                    raise
                _pause(error, attempt)
        raise AssertionError("unreachable")

    return run


@contextmanager
def one_transaction(begin: Callable[[], T]) -> Iterator[T]:
    """Run a block in one transaction that writes, committed at its end, and takes as long as it takes.

    What `begin` returns is the block's. Until then the database may give up: `begin` is run again, as in
    `transaction`. The block is not: then the exception leaves, with nothing written.
    """
    has_begun = False
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with db.session.begin():
                db.session.connection(execution_options={"writes": True})
                begun = begin()
                has_begun = True
                yield begun
                return
        except DBAPIError as error:
            if has_begun or not _may_repeat(error, attempt):
                raise
            _pause(error, attempt)


def _may_repeat(error: DBAPIError, attempt: int, *, committing: bool = False) -> bool:
    """Return whether nothing of a transaction is there, and it was not run often enough yet.

    Of a connection that is lost during COMMIT nobody knows that.
    """
    word = errors.why_unavailable(error)
    is_gone = word in errors.SERVER_GONE and not committing
    return attempt < ATTEMPTS and (word in errors.ROLLED_BACK or is_gone)


def _pause(error: DBAPIError, attempt: int) -> None:
    """Count that a transaction is run again, and wait a moment, so that two do not meet again at once."""
    metrics.RETRIES.labels(errors.why_unavailable(error)).inc()
    time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311
