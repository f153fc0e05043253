"""The meaning of the database's errors by their numbers: the one table of them.

A statement that we got wrong (its syntax, its data) has no meaning here and is a bug. Everything else
is the database's own state, which passes or is mended by whoever operates it: 503.
"""

import sqlite3
from collections.abc import Mapping

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.observability import metrics

#: By meaning, the numbers of MySQL, MariaDB, PyMySQL (2000 and up) and TiDB (8000 and up).
#: https://mariadb.com/docs/server/reference/error-codes
#: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
NUMBERS: Mapping[str, frozenset[int]] = {
    # The whole transaction was given up: deadlock (also a failed certification in a Galera cluster),
    # a row that changed since the snapshot, a table that a migration changed meanwhile.
    "rolled_back": frozenset({1020, 1213, 1412, 1614, 3101, 8022, 8028, 9007}),
    # A lock was waited for too long: of a row, of a table, of a name.
    "locked": frozenset({1205, 1223, 1689, 3058, 3572}),
    # The connection is gone. Whether a COMMIT under way took effect is then unknown.
    "connection_lost": frozenset(
        {0, 1152, 1156, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2014, 2045, 2055, 4031}
    ),
    "shutting_down": frozenset({1053, 1077, 1079, 3032}),
    "read_only": frozenset({1036, 1290, 1792, 1836, 1874, 3161}),
    # A node that has left its cluster, or has not joined it yet.
    "cluster": frozenset({1047, 1180, 3098, 3100, 3796, 9001, 9002, 9003, 9004, 9005}),
    # No room on disk, in memory, in a log or in a table of locks.
    "out_of_room": frozenset(
        {3, 20, 1021, 1026, 1037, 1038, 1041, 1114, 1197, 1206, 1534, 1598, 1637, 1878}
    ),
    # Files that cannot be read, indexes and tables that are damaged.
    "storage": frozenset({1016, 1023, 1024, 1030, 1034, 1194, 1195, 1712, 1812, 1877, 1932}),
    # The user, its password, its rights, or how it comes (from where, by TLS).
    "rights": frozenset(
        {
            *(1044, 1045, 1095, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1410, 1524, 1698),
            *(1820, 1862, 2026, 2054, 2059, 2061, 3118, 3159, 4151),
        }
    ),
    # Nobody is at the address, or the database is not there.
    "address": frozenset({1046, 1049, 2002, 2003, 2005}),
    "too_many_connections": frozenset({1040, 1135, 1203, 1226}),
    # By an operator's KILL, or by a limit of time.
    "interrupted": frozenset({1028, 1317, 1956, 1969, 3024, 3169}),
}
MEANINGS = {number: meaning for meaning, numbers in NUMBERS.items() for number in numbers}

#: The same of SQLite, by how the error's name begins.
SQLITE: Mapping[str, str] = {
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_PROTOCOL": "locked",
    "SQLITE_FULL": "out_of_room",
    "SQLITE_NOMEM": "out_of_room",
    "SQLITE_READONLY": "read_only",
    "SQLITE_IOERR": "storage",
    "SQLITE_CORRUPT": "storage",
    "SQLITE_NOTADB": "storage",
    "SQLITE_CANTOPEN": "address",
    "SQLITE_PERM": "rights",
    "SQLITE_AUTH": "rights",
    "SQLITE_INTERRUPT": "interrupted",
}

#: Nothing of the transaction is there, so repeating it whole is right, whenever the error comes.
ROLLED_BACK = {"rolled_back", "locked", "read_only"}
#: The connection leads to a server that cannot do the work (any more): another one may reach
#: another server through the same address.
SERVER_GONE = {"connection_lost", "shutting_down", "read_only", "cluster"}


class RowTooLong(Exception):
    """A row, with its escapes, is longer than the server's `max_allowed_packet`."""


class DeadlineExceeded(Exception):
    """The transaction has taken too long: whoever asked is no longer there to hear of its commit."""


def number(error: BaseException | None) -> int | None:
    """Return the server's number of a driver's error, or of what SQLAlchemy made of it."""
    arguments = getattr(getattr(error, "orig", error), "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def meaning(error: BaseException | None) -> str | None:
    """Return the word for what a driver's error means, or None when our statement was wrong."""
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", "")
        return next((word for start, word in SQLITE.items() if name.startswith(start)), None)
    return MEANINGS.get(number(error))  # type: ignore[arg-type]


def why_unavailable(error: BaseException) -> str | None:
    """Return the word for why the database could not do its work now, or None when it is a bug."""
    match error:
        case DeadlineExceeded():
            return "deadline"
        case RowTooLong():
            return "row_too_long"
        case PoolTimeout():
            return "no_connection_free"
        case DBAPIError():
            lost = "connection_lost" if error.connection_invalidated else None
            return meaning(error.orig) or lost
    return None


#: Every word that `why_unavailable` has.
CAUSES = {*NUMBERS, *SQLITE.values(), "deadline", "row_too_long", "no_connection_free"}

# From the start at zero: what first appears with a value has not increased, to Prometheus.
for _word in CAUSES:
    metrics.UNAVAILABLE.labels(_word)
for _word in ROLLED_BACK | SERVER_GONE:
    metrics.RETRIES.labels(_word)
