"""Types and options as migrations write them: kept apart from the models, which go on changing."""

from typing import Any

from sqlalchemy import ColumnElement, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles

ID = String(36).with_variant(
    mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
RECORD_ID = String(128).with_variant(
    mysql.VARCHAR(128, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
LONG_TEXT = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")

TABLE_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


class EmptyText(ColumnElement[str]):
    """The default of a required text: a literal, or the expression that MySQL asks for."""

    inherit_cache = True


@compiles(EmptyText)
def _literal(_element: EmptyText, _compiler: Any, **_: Any) -> str:
    return "''"


@compiles(EmptyText, "mysql", "mariadb")
def _expression(_element: EmptyText, _compiler: Any, **_: Any) -> str:
    return "('')"


EMPTY_TEXT = EmptyText()
