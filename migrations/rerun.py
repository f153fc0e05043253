"""Let every migration be run again after it broke off half way: what is there already is passed over.

MySQL and MariaDB commit each change of a table by itself, so a migration that is cut off leaves the
tables between two versions, under the older one's number. Importing this replaces Alembic's operations
by ones that look first; the migrations themselves are written as ever.
"""

from collections.abc import Callable
from typing import Any

from alembic.operations import Operations, ops, toimpl
from sqlalchemy import Inspector, inspect


def table(at: Inspector, step: Any) -> bool:
    """Return whether the table is there."""
    return at.has_table(step.table_name)


def column(at: Inspector, step: Any) -> bool:
    """Return whether the column is there."""
    name = step.column.name if isinstance(step, ops.AddColumnOp) else step.column_name
    return table(at, step) and name in {one["name"] for one in at.get_columns(step.table_name)}


def index(at: Inspector, step: Any) -> bool:
    """Return whether the index is there."""
    found = at.get_indexes(step.table_name) if table(at, step) else []
    return step.index_name in {one["name"] for one in found}


def constraint(at: Inspector, step: Any) -> bool:
    """Return whether the constraint is there."""
    name = (
        step.table_name
        if isinstance(step, ops.DropConstraintOp)
        else step.to_constraint().table.name
    )
    if not at.has_table(name):
        return False
    found = [
        *at.get_foreign_keys(name),
        *at.get_unique_constraints(name),
        *at.get_check_constraints(name),
    ]
    return step.constraint_name in {one["name"] for one in found}


def altered(at: Inspector, step: Any) -> bool:
    """Return whether the column has the type and takes the NULLs that it is to, and no more is to change."""
    if step.modify_server_default is not False or step.modify_name is not None:
        return False
    if not column(at, step):
        return False
    dialect = at.bind.dialect
    [present] = [one for one in at.get_columns(step.table_name) if one["name"] == step.column_name]
    if step.modify_nullable not in (None, present["nullable"]):
        return False
    wanted = step.modify_type
    return wanted is None or bool(present["type"].compile(dialect) == wanted.compile(dialect))


def is_printed(operations: Operations) -> bool:
    """Return whether the SQL goes to a file instead of a database."""
    return bool(operations.migration_context.as_sql)


def create_table(operations: Operations, operation: Any) -> Any:
    """Create a table, or those of its indexes that are not there: each is a statement of its own."""
    if is_printed(operations) or not table(inspect(operations.get_bind()), operation):
        return toimpl.create_table(operations, operation)
    whole = operation.to_table(operations.migration_context)
    there = {one["name"] for one in inspect(operations.get_bind()).get_indexes(whole.name)}
    for missing in sorted(whole.indexes, key=lambda one: one.name):
        if missing.name not in there:
            operations.impl.create_index(missing)
    return whole


def unless(
    done: Callable[[Inspector, Any], bool], kind: Any, carry_out: Callable[[Operations, Any], Any]
) -> None:
    """Carry out operations of this kind only where they are not done."""

    @Operations.implementation_for(kind, replace=True)
    def step(operations: Operations, operation: Any) -> Any:
        # Nobody looks into a database while its SQL is only printed.
        if is_printed(operations) or not done(inspect(operations.get_bind()), operation):
            return carry_out(operations, operation)
        return None


def no(found: Callable[[Inspector, Any], bool]) -> Callable[[Inspector, Any], bool]:
    """Return the opposite."""
    return lambda at, step: not found(at, step)


Operations.implementation_for(ops.CreateTableOp, replace=True)(create_table)
unless(no(table), ops.DropTableOp, toimpl.drop_table)
unless(column, ops.AddColumnOp, toimpl.add_column)
unless(no(column), ops.DropColumnOp, toimpl.drop_column)
unless(altered, ops.AlterColumnOp, toimpl.alter_column)
unless(index, ops.CreateIndexOp, toimpl.create_index)
unless(no(index), ops.DropIndexOp, toimpl.drop_index)
unless(no(constraint), ops.DropConstraintOp, toimpl.drop_constraint)
for kind in (ops.CreateForeignKeyOp, ops.CreateUniqueConstraintOp, ops.CreateCheckConstraintOp):
    unless(constraint, kind, toimpl.create_constraint)
