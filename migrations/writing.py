"""Rules for new migrations: how they are written, and what they may only remove on request."""

from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import String

from shared.models import columns

#: What migrations/types.py has under the same names.
TYPES = {"ID": columns.ID, "RECORD_ID": columns.RECORD_ID, "LONG_TEXT": columns.LONG_TEXT}

REMOVAL = """\
Nothing was written. The migration would remove, with the data in them:
  {removed}
Renamed? The database keeps the old name and the app has the new one: {how}.
Not used any more? Leave it declared as long as versions of the app that use it are out. Then remove it with
  make migration M="…" REMOVE=1"""


def by_name(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Write what migrations/types.py has by its name."""
    found = [name for name, type_ in TYPES.items() if kind == "type" and item is type_]
    for name in found:
        context.imports.add(f"from migrations.types import {name}")
        return name
    return False


def removal(steps: ops.UpgradeOps) -> str | None:
    """Return what a migration takes away, and how it could be kept; None if it takes nothing."""
    tables = [step.table_name for step in steps.ops if isinstance(step, ops.DropTableOp)]
    dropped = [
        (step.table_name, step.column_name)
        for table in steps.ops
        if isinstance(table, ops.ModifyTableOps)
        for step in table.ops
        if isinstance(step, ops.DropColumnOp)
    ]
    how = []
    if tables:
        how.append(f'__tablename__ = "{tables[0]}" and WIRE_NAME = "…"')
    if dropped:
        how.append(f'{dropped[0][1]}: Mapped[…] = columns.…(name="…")')
    removed = [*(f"table {table}" for table in tables)]
    removed += [f"column {table}.{column}" for table, column in dropped]
    if not removed:
        return None
    return REMOVAL.format(removed="\n  ".join(removed), how=", ".join(how))


def leave_indexes_to_their_table(steps: ops.OpContainer) -> None:
    """Leave out what a dropped table takes along; MySQL drops no index that a foreign key needs."""
    dropped = {step.table_name for step in steps.ops if isinstance(step, ops.DropTableOp)}
    steps.ops = [
        step
        for step in steps.ops
        if isinstance(step, ops.DropTableOp) or getattr(step, "table_name", "") not in dropped
    ]


def fill_before_required(steps: ops.UpgradeOps) -> None:
    """Give rows without a value the empty one before their column becomes required."""
    filled: list[ops.MigrateOperation] = []
    for step in steps.ops:
        for change in step.ops if isinstance(step, ops.ModifyTableOps) else ():
            if isinstance(change, ops.AlterColumnOp) and change.modify_nullable is False:
                is_text = isinstance(change.existing_type, String)
                empty = "''" if is_text else "0"
                # Backticks mean the same to SQLite.
                table, column = f"`{change.table_name}`", f"`{change.column_name}`"
                fill = f"UPDATE {table} SET {column} = {empty} WHERE {column} IS NULL"  # noqa: S608
                filled.append(ops.ExecuteSQLOp(fill))
        filled.append(step)
    steps.ops = filled
