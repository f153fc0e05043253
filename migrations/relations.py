"""Steps for a relation whose `on_delete` changes from `keep`, or to it, when there are rows already.

A relation that keeps is a text of any length, one that cascades or clears an indexed id: to go from one
to the other MySQL and MariaDB copy the table, and writes wait meanwhile.
"""

from alembic import op
from sqlalchemy.types import TypeEngine

from migrations.types import LONG_TEXT, RECORD_ID

#: What is no id (docs/api.md, "Wire records"). SQLite's GLOB ends at a NUL.
NO_ID = "{column} NOT REGEXP '^[A-Za-z0-9_.-]{{1,128}}\\\\z'"
NO_ID_IN_SQLITE = (
    "{column} = '' OR length({column}) > 128 OR length(CAST({column} AS BLOB)) <> length({column})"
    " OR {column} GLOB '*[^A-Za-z0-9_.-]*'"
)


def to_record_id(table: str, column: str) -> None:
    """Make a text an id; what is none becomes NULL. Rows that name no living row stay until they change."""
    condition = NO_ID_IN_SQLITE if op.get_bind().dialect.name == "sqlite" else NO_ID
    where = condition.format(column=f"`{column}`")
    op.execute(f"UPDATE `{table}` SET `{column}` = NULL WHERE {where}")  # noqa: S608
    _retype(table, column, LONG_TEXT, RECORD_ID)


def to_long_text(table: str, column: str) -> None:
    """Make an id a text."""
    _retype(table, column, RECORD_ID, LONG_TEXT)


def _retype(table: str, column: str, before: TypeEngine[str], after: TypeEngine[str]) -> None:
    dialect = op.get_bind().dialect
    if dialect.name == "sqlite":
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, existing_type=before, type_=after, existing_nullable=True)
        return
    type_ = after.compile(dialect)
    op.execute(f"ALTER TABLE `{table}` MODIFY `{column}` {type_} NULL, ALGORITHM=COPY")
