"""How Alembic reaches the database: `DATABASE_URL`, without the services' limits of time."""

import os
import sys

from alembic import context
from alembic.operations import ops
from environs import ValidationError
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url

import migrations.rerun  # noqa: F401 - looks before it changes anything
import shared.models  # noqa: F401 - declares the tables
from shared.database.base import Base
from shared.database.engines import is_sqlite, job_options, limit_waits, prepare
from shared.database.urls import check_database_url
from shared.models import columns

#: A change of a table waits for the transactions that use it, and all that come later wait behind it.
TABLE_LOCK_S = 10


def render_item(kind, item, autogen):
    """Write what migrations/types.py has by its name into new migrations."""
    names = {"ID": columns.ID, "RECORD_ID": columns.RECORD_ID, "LONG_TEXT": columns.LONG_TEXT}
    found = [name for name, type_ in names.items() if kind == "type" and item is type_]
    if kind == "server_default" and isinstance(item.arg, columns.EmptyText):
        found = ["EMPTY_TEXT"]
    for name in found:
        autogen.imports.add(f"from migrations.types import {name}")
        return name
    return False


def leave_indexes_to_their_table(_context, _revision, scripts):
    """A dropped table takes its indexes along; MySQL drops none that a foreign key needs."""
    for script in scripts:
        steps = script.downgrade_ops.ops
        dropped = {step.table_name for step in steps if isinstance(step, ops.DropTableOp)}
        script.downgrade_ops.ops = [
            step
            for step in steps
            if isinstance(step, ops.DropTableOp) or getattr(step, "table_name", "") not in dropped
        ]


def state_algorithm(_connection, _cursor, statement, parameters, _context, _many):
    """Say how MySQL is to change a table that is in use: what would copy or lock it fails instead.

    A statement that names an ALGORITHM itself is left alone (docs/migrations.md).
    """
    words = statement.upper().split()
    if words[:2] == ["ALTER", "TABLE"] and "ALGORITHM" not in statement.upper():
        adds = words[3:4] == ["ADD"] and words[4] not in ("CONSTRAINT", "INDEX", "FOREIGN")
        statement += ", ALGORITHM=INSTANT" if adds else ", ALGORITHM=INPLACE, LOCK=NONE"
    elif words[:1] == ["CREATE"] and "INDEX" in words[1:3]:
        # DROP INDEX never copies, and MariaDB's has no such clause.
        statement += " ALGORITHM=INPLACE LOCK=NONE"
    return statement, parameters


def wait_for_turn(connection):
    """Return once no other migration of this database runs; the turn ends with the connection."""
    name = f"migrate {connection.engine.url.database}"[:64]
    while not connection.scalar(text("SELECT GET_LOCK(:name, 30)"), {"name": name}):
        context.config.print_stdout("Waiting for another migration of this database to end")
    # What `GET_LOCK` began would be a snapshot from before the other one's end.
    connection.rollback()


try:
    check_database_url(os.environ.get("DATABASE_URL", ""))
except ValidationError as error:
    context.config.print_stdout("The migrations cannot start. DATABASE_URL: %s", error)
    sys.exit(3)
url = make_url(os.environ["DATABASE_URL"])
engine = create_engine(url, **job_options(url))
prepare(engine)
limit_waits(engine, answer_s=None)
if not is_sqlite(url):
    event.listen(engine, "before_cursor_execute", state_algorithm, retval=True)

# SQLite has one writer, and so one migration, at a time.
with engine.connect().execution_options(writes=True) as connection:
    if not is_sqlite(url):
        wait_for_turn(connection)
        connection.execute(text(f"SET SESSION lock_wait_timeout = {TABLE_LOCK_S}"))
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot change a table in place.
        render_as_batch=is_sqlite(url),
        render_item=render_item,
        process_revision_directives=leave_indexes_to_their_table,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
