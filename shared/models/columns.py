"""Column types that mean the same on every engine. Times are integers, milliseconds since 1970."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import MappedColumn, mapped_column

#: Ids are compared byte for byte; MySQL's default collations would take `aB` and `Ab` for one.
ID = String(36).with_variant(
    mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)

#: What MySQL would take from the database's defaults: every character, compared exactly.
TABLE_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def string(length: int = 255) -> MappedColumn[Any]:
    """A text of up to `length` characters."""
    return mapped_column(String(length))


def text() -> MappedColumn[Any]:
    """A text of up to 65,535 bytes."""
    return mapped_column(Text)


def boolean() -> MappedColumn[Any]:
    """True or false."""
    return mapped_column(Boolean)


def number() -> MappedColumn[Any]:
    """Any number of JavaScript."""
    return mapped_column(Double)


def integer() -> MappedColumn[Any]:
    """A whole number within ±2^53, all that a JavaScript number holds exactly; times too."""
    return mapped_column(BigInteger)


def parent_id() -> MappedColumn[Any]:
    """The column that names the owner. NULL only in a tombstone whose owner was never known."""
    return mapped_column(ID, nullable=True)
