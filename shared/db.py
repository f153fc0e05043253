"""The database: engine options, transactions and the few statements that differ by engine."""

import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    MetaData,
    Row,
    Select,
    Table,
    create_engine,
    event,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase

from shared import metrics

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: Rolled back by the server for reasons of its own: deadlock (also a failed certification in a
#: Galera cluster), lock wait timeout. Repeating the whole transaction is right, whenever it comes.
ROLLED_BACK = {1205, 1213}
#: The connection is gone. Whether a COMMIT under way took effect is then unknown.
CONNECTION_LOST = {2006, 2013, 2055, 1927, 1053}
#: Nobody to talk to: cannot connect, too many connections, shutting down, read only while failing over.
NOT_SERVING = {1040, 1203, 1290, 1792, 1836, 2002, 2003}

ATTEMPTS = 5
#: How long ago a connection may have been in use to be trusted to live.
IDLE_S = 1.0
#: Ids per `IN (…)` list: far below every engine's limit, enough to make a round trip worth its while.
CHUNK = 1000

#: Marks a transaction that will write: SQLite then takes its write lock at once, since a reader that
#: turns into a writer behind another writer's back can only fail.
WRITES = {"writes": True}


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
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url)
    db.init_app(app)
    with app.app_context():
        engine = db.engine
    app.extensions["look_ups"] = guard = create_engine(url, **look_up_options(url))
    prepare(engine)
    spare_round_trips(engine, guard)
    for one in (engine, guard):
        observe(one, app.config["SLOW_SQL_MS"])


def engine_options(url: URL) -> dict[str, Any]:
    """Options of `create_engine` for the engine that `url` names."""
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": 10, "isolation_level": None}
    else:
        # In the place of these, `spare_round_trips`.
        options |= {"pool_pre_ping": False, "pool_reset_on_return": None}
        # REPEATABLE READ, said aloud, is what makes a pull one snapshot.
        options["isolation_level"] = "REPEATABLE READ"
        options["connect_args"] = {
            "charset": "utf8mb4",
            # A value that does not fit is an error, never a silent cut.
            "sql_mode": "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
            "connect_timeout": 5,
            "read_timeout": 60,
            "write_timeout": 60,
        }
    return options


def look_up_options(url: URL) -> dict[str, Any]:
    """Options of an engine for `look_up`: nothing is sent but the statement itself."""
    options = engine_options(url) | {
        "isolation_level": "AUTOCOMMIT",
        "skip_autocommit_rollback": True,
    }
    if url.get_backend_name() != "sqlite":
        # One connection for each thread.
        options |= {"pool_size": 8, "max_overflow": 0}
    return options


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


def prepare(engine: Any) -> None:
    """Give SQLite what the servers have by default: foreign keys, durable commits, explicit BEGIN."""
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def spare_round_trips(engine: Engine, guard: Engine) -> None:
    """Ask a server whether a connection lives only when in doubt; roll back only what is open.

    In doubt is what was idle, or was used before `guard`, with which every request begins, lost one.
    """
    if engine.dialect.name == "sqlite":
        return
    lost_at = 0.0

    @event.listens_for(guard, "invalidate")
    def invalidate(*_: object) -> None:
        nonlocal lost_at
        lost_at = time.monotonic()

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: Any, _proxy: object) -> None:
        returned = record.info.get("returned")
        if returned is not None and returned < max(lost_at, time.monotonic() - IDLE_S):
            try:
                engine.dialect.do_ping(connection)
            except Exception as error:
                # The pool makes a new connection, now and for every other that is as old.
                raise InvalidatePoolError from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.info["open"] = True

    @event.listens_for(engine, "commit")
    @event.listens_for(engine, "rollback")
    def end(connection: Connection) -> None:
        # What is lost has no transaction, and no `info` either.
        if not connection.invalidated:
            connection.info["open"] = False

    @event.listens_for(engine, "reset")
    def reset(connection: Any, record: Any, _state: object) -> None:
        if record.info.get("open"):
            connection.rollback()

    @event.listens_for(engine, "checkin")
    def checkin(_connection: object, record: Any) -> None:
        record.info["returned"] = time.monotonic()


def observe(engine: Engine, slow_ms: int) -> None:
    """Time the statements of `engine`, log those that take `slow_ms`, and count its connections."""

    @event.listens_for(engine, "before_cursor_execute")
    def before(
        _connection: Any, _cursor: Any, _statement: str, _p: Any, context: Any, _m: Any
    ) -> None:
        context.began = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def after(
        _connection: Any, _cursor: Any, statement: str, _p: Any, context: Any, _m: Any
    ) -> None:
        seconds = time.perf_counter() - context.began
        metrics.STATEMENT_SECONDS.observe(seconds)
        if seconds * 1000 >= slow_ms:
            # Without its values, which are somebody's data.
            extra = {"statement": statement, "duration_ms": round(seconds * 1000, 1)}
            log.warning("slow_statement", extra=extra)

    @event.listens_for(engine, "checkout")
    def checkout(*_: object) -> None:
        metrics.CONNECTIONS.inc()

    @event.listens_for(engine, "checkin")
    def checkin(*_: object) -> None:
        metrics.CONNECTIONS.dec()


def transaction(work: Callable[P, T]) -> Callable[P, T]:
    """Run a use case in one transaction that writes, committed when it returns.

    An exception rolls back and leaves. A transaction that the database itself gave up (deadlock,
    lost connection) is run again from its beginning, at most five times, so `work` must have no
    effect outside the database. A connection lost during COMMIT is not repeated: the caller gets
    503, and a client's own repeat is safe by the contract.
    """

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            committing = False
            try:
                with db.session.begin() as own:
                    db.session.connection(execution_options=WRITES)
                    result = work(*args, **kwargs)
                    committing = True
                    own.commit()
                    return result
            except DBAPIError as error:
                number = error_number(error)
                again = number in ROLLED_BACK or (number in CONNECTION_LOST and not committing)
                if not again or attempt == ATTEMPTS:
                    raise
                rolled_back = number in ROLLED_BACK
                metrics.RETRIES.labels("rolled_back" if rolled_back else "connection_lost").inc()
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    return run


def error_number(error: DBAPIError) -> int | None:
    """The server's error number, where there is one."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def is_unavailable(error: DBAPIError) -> bool:
    """Whether the database could not do its work now, as opposed to our statement being wrong."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.OperationalError):
        return error.orig.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_CANTOPEN"))
    return error_number(error) in ROLLED_BACK | CONNECTION_LOST | NOT_SERVING


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
