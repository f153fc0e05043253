"""How Alembic reaches the database: `DATABASE_URL`, with the same engine options as the services."""

import os

from alembic import context
from alembic.operations import ops
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

import shared.models  # noqa: F401 - declares the tables
from shared.db import Base, engine_options, prepare
from shared.models.columns import ID


def render_item(kind, item, autogen):
    """Write the type of ids by its name into new migrations."""
    if kind == "type" and item is ID:
        autogen.imports.add("from shared.models.columns import ID")
        return "ID"
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


url = make_url(os.environ["DATABASE_URL"])
engine = create_engine(url, **engine_options(url))
prepare(engine)

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot change a table in place.
        render_as_batch=url.get_backend_name() == "sqlite",
        render_item=render_item,
        process_revision_directives=leave_indexes_to_their_table,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
