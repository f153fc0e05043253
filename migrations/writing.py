"""Rules for new migrations: how they are written, and what they may only remove on request."""

from typing import Any, Literal

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import String

from shared.models import columns
from shared.models.columns import DECLARED, LONG_TEXT, RECORD_ID, index_name

#: What migrations/types.py has under the same names.
TYPES = {"ID": columns.ID, "RECORD_ID": RECORD_ID, "LONG_TEXT": LONG_TEXT}

REMOVAL = """\
Nothing was written. The migration would remove, with the data in them:
  {removed}
Renamed? The database keeps the old name and the app has the new one: {how}.
Not used any more? Leave it declared as long as versions of the app that use it are out. Then remove it with
  make migration M="…" REMOVE=1"""

ORPHANING = """\
Nothing was written. {name} would be required and cascade in a table that is there already: what apps
without this column make would name no parent, and so be stored deleted. Declare it optional, as
  Mapped[str | None] = columns.relation(…, "cascade")
or let it "keep"."""


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


def orphaning(steps: ops.UpgradeOps) -> str | None:
    """Return why a relation cannot be added to a table that is there as it is declared; None if it can."""
    for table in steps.ops:
        for step in table.ops if isinstance(table, ops.ModifyTableOps) else ():
            if not isinstance(step, ops.AddColumnOp):
                continue
            column = step.column.info.get(DECLARED)
            if column and column.is_enforced and not column.optional:
                return ORPHANING.format(name=f"{step.table_name}.{column.attribute}")
    return None


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


class RetypeRelation(ops.MigrateOperation):
    """A step of migrations/relations.py."""

    def __init__(self, step: str, change: ops.AlterColumnOp) -> None:
        self.step, self.arguments = step, (change.table_name, change.column_name)


@renderers.dispatch_for(RetypeRelation)
def _render(context: AutogenContext, step: RetypeRelation) -> str:
    context.imports.add(f"from migrations.relations import {step.step}")
    return f"{step.step}{step.arguments!r}"


def retype_relations(steps: ops.OpContainer) -> None:
    """Let migrations/relations.py change the type of a relation: not while it has an index."""
    ordered: list[ops.MigrateOperation] = []
    for table in steps.ops:
        if not isinstance(table, ops.ModifyTableOps):
            ordered.append(table)
            continue
        # What the server looks for rows by has an index; a plain string of that length has none.
        indexes = {getattr(step, "index_name", None) for step in table.ops}
        changes = [
            step
            for step in table.ops
            if isinstance(step, ops.AlterColumnOp)
            and index_name(step.table_name, step.column_name) in indexes
        ]
        narrowed = [step for step in changes if _is_id(step.modify_type)]
        widened = [step for step in changes if _is_id(step.existing_type)]
        ordered += [RetypeRelation("to_record_id", step) for step in narrowed]
        table.ops = [step for step in table.ops if step not in (*narrowed, *widened)]
        ordered += [table] if table.ops else []
        ordered += [RetypeRelation("to_long_text", step) for step in widened]
    steps.ops = ordered


def _is_id(type_: object) -> bool:
    return getattr(type_, "length", None) == RECORD_ID.length
