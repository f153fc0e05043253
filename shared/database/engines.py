"""Engines: their options, what each wait for the database may take, and connections that are kept."""

import logging
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pymysql.connections import Connection as PyMySQL
from pymysql.converters import conversions
from sqlalchemy import Connection, Engine, NullPool, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError

from shared.database import errors
from shared.observability import metrics

log = logging.getLogger(__name__)

#: Requests that a process works on at a time: two fewer than its threads (deploy/gunicorn.conf.py).
AT_ONCE = 6

# Seconds. What one request waits at most adds up to less than the gateway's 120: 2 for its turn, 15
# for its session (an answer, a new connection, an answer), 11 for a connection, TRANSACTION_S, and
# STATEMENT_S for the statement under way at that moment.

#: For a connection of the pool: there is one for every request at a time, so this is never waited for.
POOL_S = 2
#: For a new connection, for each answer while it is made, and for the row that every request asks for.
CONNECT_S = LOOK_UP_S = 3
#: For the next bytes of an answer to any other statement, and for sending one.
STATEMENT_S = 15
#: For a lock of a row or of a table.
LOCK_WAIT_S = 5
#: For SQLite's one writer.
SQLITE_S = 10
#: The same for a migration, which waits for another one.
JOB_S = 120
#: No attempt at a transaction begins after this: of a user whose row is locked, the request is
#: answered within two waits for the lock.
RETRY_FOR_S = 8
#: No statement of a transaction begins, and none commits, after this. An honest push of the largest
#: size needs less than half.
TRANSACTION_S = 75

#: The largest age of a connection: addresses change, and what is behind them.
RECYCLE_S = 300
#: How long ago a connection may have been in use to be trusted to live.
IDLE_S = 1
#: How long a server in use is trusted to take writes without being asked.
ASK_S = 5
ASK = "SELECT @@global.read_only, @@global.innodb_read_only"

#: A peer that is gone without a word is noticed after a minute, or within this of sending to it.
KEEPALIVE = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": STATEMENT_S * 1000,
}


@dataclass(frozen=True)
class Written:
    """A value of a statement, or several, that are SQL already: PyMySQL sends it as it is."""

    # Somebody's data, which are in no log.
    sql: str = field(repr=False)


def is_sqlite(url: URL) -> bool:
    """Return whether `url` names a file of SQLite."""
    return url.get_backend_name() == "sqlite"


def server_arguments(url: URL) -> dict[str, Any]:
    """Return arguments of PyMySQL's `connect` for whoever connects, with no limit to what statements take."""
    return {
        "charset": "utf8mb4",
        "conv": {**conversions, Written: lambda value, _mapping: value.sql},
        # A value that does not fit is an error, never a silent cut.
        "sql_mode": "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
        "connect_timeout": CONNECT_S,
        # A text would be sent in Latin-1, which has not every character.
        **({"password": url.password.encode()} if url.password else {}),
    }


def engine_options(url: URL) -> dict[str, Any]:
    """Return options of `create_engine` for the services' engine."""
    options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": POOL_S}
    if is_sqlite(url):
        return options | {"connect_args": {"timeout": SQLITE_S, "isolation_level": None}}
    return options | {
        # In the place of these, `keep_usable` and `spare_rollbacks`.
        "pool_pre_ping": False,
        "pool_reset_on_return": None,
        "pool_recycle": RECYCLE_S,
        # One for each request, and a second one so that no two can wait for each other's.
        "pool_size": AT_ONCE,
        "max_overflow": AT_ONCE,
        # REPEATABLE READ, said aloud, is what makes a pull one snapshot.
        "isolation_level": "REPEATABLE READ",
        "connect_args": server_arguments(url)
        | {
            # Until the connection is made; then `limit_waits`.
            "read_timeout": CONNECT_S,
            "write_timeout": STATEMENT_S,
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S},"
            f" SESSION lock_wait_timeout = {LOCK_WAIT_S}",
        },
    }


def job_options(url: URL) -> dict[str, Any]:
    """Return options of `create_engine` for migrations and the like, which take as long as they take."""
    options = {"hide_parameters": True, "poolclass": NullPool}
    if is_sqlite(url):
        return options | {"connect_args": {"timeout": JOB_S, "isolation_level": None}}
    return options | {"isolation_level": "REPEATABLE READ", "connect_args": server_arguments(url)}


def look_up_options(url: URL) -> dict[str, Any]:
    """Return options of an engine for `look_up`: nothing is sent but the statement itself."""
    options = engine_options(url) | {
        "isolation_level": "AUTOCOMMIT",
        "skip_autocommit_rollback": True,
    }
    if not is_sqlite(url):
        options |= {"max_overflow": 0}
    return options


def prepare(engine: Engine) -> None:
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


class SharingTls(PyMySQL):
    """A connection of PyMySQL that shares its TLS context with all others whose URL says nothing of TLS.

    Such a connection takes whatever TLS the server has, or does without. Yet each would read all
    certificates of the system for that, which takes tens of milliseconds and most of a megabyte.
    """

    undemanding: ClassVar[ssl.SSLContext | None] = None

    def _create_ssl_ctx(self, settings: dict[str, Any]) -> ssl.SSLContext:
        if not settings and SharingTls.undemanding:
            return SharingTls.undemanding
        made: ssl.SSLContext = super()._create_ssl_ctx(settings)  # type: ignore[misc]
        if not settings:
            SharingTls.undemanding = made
        return made


def share_tls(engine: Engine) -> None:
    """Let connections to a server be made as `SharingTls`."""
    if engine.dialect.name == "sqlite":
        return

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: Any, arguments: Any, named: Any) -> SharingTls:
        return SharingTls(*arguments, **named)


def limit_waits(engine: Engine, answer_s: float | None) -> None:
    """Let a made connection wait `answer_s` for an answer, and notice a peer that is silently gone."""
    if engine.dialect.name == "sqlite":
        return

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection._read_timeout = answer_s
        if connection._sock.family != socket.AF_UNIX:
            for name, value in KEEPALIVE.items():
                # Not every system has all of them.
                if hasattr(socket, name):
                    connection._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def keep_usable(engine: Engine, look_ups: Engine) -> None:
    """Keep no connection of either engine whose server is gone, or is one that only reads.

    An error that says so ends it and, by SQLAlchemy, every older one of its engine. A connection that
    was idle, was not asked for some seconds, or was asked last before any error of that kind is asked
    before it is used.
    """
    if engine.dialect.name == "sqlite":
        return
    doubted_at = 0.0

    def doubt() -> None:
        nonlocal doubted_at
        doubted_at = time.monotonic()

    def handle_error(context: Any) -> None:
        meaning = errors.meaning(context.original_exception)
        if meaning in errors.SERVER_GONE:
            context.is_disconnect = True
        # What cannot be reached any more may have left connections that look well.
        if context.is_disconnect or meaning == "address":
            doubt()

    def connect(_connection: Any, record: Any) -> None:
        record.info["asked"] = time.monotonic()

    def checkout(connection: Any, record: Any, _proxy: object) -> None:
        info, now = record.info, time.monotonic()
        # Those of `look_ups` that died while idle are noticed, and replaced, by `look_up`.
        was_idle = "returned" in info and now > info["returned"] + IDLE_S
        if now > info["asked"] + ASK_S or was_idle or info["asked"] < doubted_at:
            if not is_usable(connection):
                doubt()
                # The pool makes a new connection, now and for every other that is as old.
                raise InvalidatePoolError
            info["asked"] = now

    def checkin(_connection: object, record: Any) -> None:
        record.info["returned"] = time.monotonic()

    for one in (engine, look_ups):
        event.listen(one, "handle_error", handle_error)
        event.listen(one, "connect", connect)
        event.listen(one, "checkout", checkout)
    event.listen(engine, "checkin", checkin)


def is_usable(connection: Any) -> bool:
    """Return whether the server of a connection of PyMySQL answers soon, and takes writes."""
    patience, connection._read_timeout = connection._read_timeout, LOOK_UP_S
    try:
        with connection.cursor() as cursor:
            cursor.execute(ASK)
            return takes_writes(cursor.fetchone())
    except connection.Error:
        return False
    finally:
        connection._read_timeout = patience


def takes_writes(asked: Sequence[object]) -> bool:
    """Return whether the answer to `ASK` is one of a server that takes writes."""
    return all(str(value) in ("0", "OFF") for value in asked)


def spare_rollbacks(engine: Engine) -> None:
    """Roll back only what is open when a connection is returned."""
    if engine.dialect.name == "sqlite":
        return

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
        # A detached connection has no record.
        if record is None or record.info.get("open"):
            connection.rollback()


def observe(engine: Engine, slow_ms: int) -> None:
    """Time the statements of `engine`, log those that take `slow_ms`, and count its connections.

    A statement of a transaction that is past its deadline is refused.
    """

    @event.listens_for(engine, "before_cursor_execute")
    def before(
        connection: Connection, _cursor: Any, _statement: str, _p: Any, context: Any, _m: Any
    ) -> None:
        if time.monotonic() > connection.get_execution_options().get("deadline", float("inf")):
            raise errors.DeadlineExceeded
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
