"""The database: models' base, transactions and the few statements that differ by engine."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    CursorResult,
    Engine,
    Executable,
    MetaData,
    Row,
    Select,
    Table,
    create_engine,
    text,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase

from shared import db_errors, engines, metrics
from shared.engines import RETRY_FOR_S, TRANSACTION_S

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 5
#: Ids per `IN (…)` list: far below every engine's limit, enough to make a round trip worth its while.
CHUNK = 1000


class Base(DeclarativeBase):
    """What every model derives from."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# Values read in a transaction stay readable after its commit: use cases return them.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def init_app(app: Flask) -> None:
    """Bind `db` to the app's `DATABASE_URL`."""
    url = make_url(app.config["DATABASE_URL"])
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engines.engine_options(url)
    db.init_app(app)
    with app.app_context():
        engine = db.engine
    app.extensions["look_ups"] = guard = create_engine(url, **engines.look_up_options(url))
    engines.prepare(engine)
    engines.spare_rollbacks(engine)
    engines.keep_usable(engine, guard)
    for one, answer_s in ((engine, engines.STATEMENT_S), (guard, engines.LOOK_UP_S)):
        engines.limit_waits(one, answer_s)
        engines.observe(one, app.config["SLOW_SQL_MS"])


def look_up(
    query: Select[*tuple[Any, ...]], values: dict[str, Any]
) -> Row[*tuple[Any, ...]] | None:
    """The one row of a query, or None, in one round trip and in no transaction.

    What every request asks. A connection that was lost while it was idle is replaced, once.
    """
    engine: Engine = current_app.extensions["look_ups"]
    try:
        with engine.connect() as connection:
            return connection.execute(query, values).one_or_none()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    with engine.connect() as connection:
        return connection.execute(query, values).one_or_none()


def takes_writes() -> bool:
    """Whether the database answers and takes writes. Raises `DBAPIError` when it does not answer."""
    engine: Engine = current_app.extensions["look_ups"]
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
                        raise db_errors.DeadlineExceeded
                    committing = True
                    own.commit()
                    return result
            except DBAPIError as error:
                word = db_errors.why_unavailable(error)
                again = word in db_errors.ROLLED_BACK or (
                    word in db_errors.SERVER_GONE and not committing
                )
                if not again or attempt == ATTEMPTS or time.monotonic() > began + RETRY_FOR_S:
                    raise
                metrics.RETRIES.labels(word).inc()
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    return run


def upsert(table: Table, columns: Iterable[str]) -> Any:
    """An INSERT of whole rows that overwrites `columns` where the primary key is already there."""
    return _upsert(db.engine.dialect.name, table, tuple(columns))


@cache
def _upsert(dialect: str, table: Table, columns: tuple[str, ...]) -> Any:
    if dialect == "sqlite":
        insert = sqlite.insert(table)
        return insert.on_conflict_do_update(
            index_elements=list(table.primary_key), set_={c: insert.excluded[c] for c in columns}
        )
    overwrite = mysql.insert(table)
    return overwrite.on_duplicate_key_update({c: overwrite.inserted[c] for c in columns})


def insert_or_update(table: Any, rows: list[dict[str, Any]], updates: list[tuple[str, Any]]) -> Any:
    """An INSERT of `rows` that applies `updates`, in their order, where the primary key is there."""
    if db.engine.dialect.name == "sqlite":
        keys = list(table.primary_key)
        insert = sqlite.insert(table).values(rows)
        return insert.on_conflict_do_update(index_elements=keys, set_=dict(updates))
    return mysql.insert(table).values(rows).on_duplicate_key_update(updates)


def affected(statement: Executable) -> int:
    """Run a statement that writes, within the caller's transaction; return how many rows it hit."""
    result = db.session.execute(statement)
    assert isinstance(result, CursorResult)  # noqa: S101
    return result.rowcount


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """`items` in pieces that fit one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
