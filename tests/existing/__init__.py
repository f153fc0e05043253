"""Coming from an existing MySQL database: docs/existing-database.md, with examples/existing."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from tests.conftest import ROOT
from tests.servers.processes import MariaDB

SAMPLE = ROOT / "examples/existing/training.sql"


@contextmanager
def sample(server: MariaDB, sql: str = "") -> Iterator[str]:
    """The URL of a database that has the sample's tables and rows, or others, for one who only reads."""
    name = f"source_{uuid4().hex[:8]}"
    server.create_database(name)
    with server.root() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {name}")
        for statement in (sql or SAMPLE.read_text()).split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        cursor.execute(f"GRANT SELECT ON {name}.* TO 'purge'@'%'")
    try:
        yield server.url("purge", name).replace("mysql+pymysql", "mysql")
    finally:
        server.drop_database(name)


def execute(server: MariaDB, url: str, *statements: str) -> None:
    """Change a database that `sample` made."""
    name = url.rpartition("/")[2].partition("?")[0]
    with server.root() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE {name}")
        for statement in statements:
            cursor.execute(statement)
