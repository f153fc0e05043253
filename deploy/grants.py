"""Give each database user what it needs and no more: `python -m deploy.grants`, after the migrations.

Runs with the `DATABASE_URL` of the user who migrates. The rights stand in rights.toml.
"""

import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from shared.database.base import Base
from shared.database.differences import TablesDiffer, differences
from shared.database.engines import job_options
from shared.database.errors import number
from shared.models.tables import reference_tables, synced_tables

RIGHTS = Path(__file__).with_name("rights.toml")
#: Who need not be there: databases of older releases have no user for jobs, and none for webhooks.
OPTIONAL = {"jobs", "webhooks"}
#: What the servers say to a grant to nobody: MariaDB, MySQL, and either where one may make no users.
NO_USER = {1133, 1410}


def rights() -> Iterator[tuple[str, str, str]]:
    """Yield each user, a right of it, and a table on which it has that."""
    declared = {
        "@synced": [table.sql.name for table in synced_tables()],
        "@reference": [table.sql.name for table in reference_tables()],
    }
    for user, given in tomllib.loads(RIGHTS.read_text()).items():
        for right, names in given.items():
            for name in names:
                for table in declared.get(name, [name]):
                    yield user, right, table


def grant(database_url: str) -> None:
    """Grant these rights on the database that the URL names. Raises `TablesDiffer`."""
    url = make_url(database_url)
    engine = create_engine(url, **job_options(url))
    with engine.connect() as connection:
        if said := differences(connection, Base.metadata.tables.values()):
            raise TablesDiffer(said)
        missing = set()
        for user, right, table in rights():
            try:
                connection.execute(
                    text(f"GRANT {right} ON `{url.database}`.`{table}` TO '{user}'@'%'")
                )
            except DBAPIError as error:
                if user not in OPTIONAL or number(error) not in NO_USER:
                    raise
                missing.add(user)
        for user in sorted(missing):
            print(f"There is no user {user!r}: none of its rights were granted.")
    engine.dispose()


if __name__ == "__main__":
    try:
        grant(os.environ["DATABASE_URL"])
    except TablesDiffer as error:
        sys.exit(f"No rights were granted. {error}")
