"""Alembic's access to the database: `DATABASE_URL`, without the services' limits of time."""

import os
import sys

from alembic import context
from environs import ValidationError
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url

import migrations.rerun  # noqa: F401 - looks before it changes anything
import shared.models  # noqa: F401 - declares the tables
from migrations import writing
from shared.database.base import Base
from shared.database.engines import is_sqlite, job_options, limit_waits, prepare
from shared.database.urls import check_database_url

#: A change of a table waits for the transactions that use it, and all that come later wait behind it.
TABLE_LOCK_S = 10


def review(_context, _revision, scripts):
    """Put what Alembic found in an order that every engine takes; refuse what would lose rows."""
    for script in scripts:
        said = writing.orphaning(script.upgrade_ops)
        if os.environ.get("REMOVE") != "1":
            said = said or writing.removal(script.upgrade_ops)
        if said:
            context.config.print_stdout("%s", said)
            sys.exit(1)
        writing.fill_before_required(script.upgrade_ops)
        writing.retype_relations(script.upgrade_ops)
        writing.retype_relations(script.downgrade_ops)
        writing.leave_indexes_to_their_table(script.upgrade_ops)
        writing.leave_indexes_to_their_table(script.downgrade_ops)


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
        render_item=writing.by_name,
        process_revision_directives=review,
        # In SQLite one transaction is the turn: another migration in between would find other versions.
        transaction_per_migration=not is_sqlite(url),
        # Alembic takes SQLite for a database that commits each change of a table by itself.
        transactional_ddl=True if is_sqlite(url) else None,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
