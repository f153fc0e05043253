"""The demo's tables, which go when an app's own are adopted."""

from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import MetaData, Table, column, create_engine, func, inspect, not_, select
from sqlalchemy import table as sql_table

from migrations import writing

#: Where they are declared; without the file there are none.
DEMO = Path("shared/models/demo.py")
VERSIONS = Path("migrations/versions")

MIGRATION = '''"""remove the demo's tables"""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

{imports}

revision = {revision!r}
down_revision = {down_revision!r}
branch_labels = None
depends_on = None
release = {release!r}
# The demo's: no app's devices use them.
unused_since = "0.0.0"
#: True removes the tables with whatever is in them.
drop_rows = {drop_rows!r}

#: Each before the one that it refers to.
TABLES = {tables}


def upgrade() -> None:
    for name in TABLES:
        live = sa.select(sa.func.count()).select_from(sa.table(name)).where(sa.text("NOT is_deleted"))
        if not drop_rows and (rows := op.get_bind().scalar(live)):
            raise CommandError(
                f"The demo's table {{name}} has {{rows}} rows. Delete them, or set drop_rows = True in "
                "{file}"
            )
    # A dropped table takes its indexes along; MySQL drops none that a foreign key needs.
    for name in TABLES:
        op.drop_table(name)


def downgrade() -> None:
{downgrade}
'''


def live_rows(url: str, tables: list[str]) -> dict[str, int]:
    """Return how many rows each table of a database has, tombstones not counted; 0 where it is missing."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            there = set(inspect(connection).get_table_names())
            return {
                name: connection.scalar(
                    select(func.count())
                    .select_from(sql_table(name))
                    .where(not_(column("is_deleted")))
                )
                or 0
                for name in tables
                if name in there
            }
    finally:
        engine.dispose()


def write_migration(
    root: Path, metadata: MetaData, tables: list[str], release: str, *, drop_rows: bool
) -> Path:
    """Write the migration that removes `tables`, and down again makes them as they are."""
    versions = sorted((root / VERSIONS).glob("[0-9]*.py"))
    revision = f"{int(versions[-1].name.split('_')[0]) + 1:04}"
    ordered = [table for table in metadata.sorted_tables if table.name in tables]
    path = root / VERSIONS / f"{revision}_remove_the_demo_s_tables.py"
    names = ", ".join(f'"{table.name}"' for table in reversed(ordered))
    downgrade, imports = _creation(ordered)
    path.write_text(
        MIGRATION.format(
            revision=revision,
            down_revision=versions[-1].name.split("_")[0],
            release=release,
            drop_rows=drop_rows,
            tables=f"({names},)",
            file=path.relative_to(root),
            downgrade=downgrade,
            imports="\n".join(imports),
        )
    )
    return path


def _creation(tables: list[Table]) -> tuple[str, list[str]]:
    """Return the code that creates tables, and the imports that it needs."""
    steps: list[ops.MigrateOperation] = []
    for table in tables:
        steps.append(ops.CreateTableOp.from_table(table))
        steps += [
            ops.CreateIndexOp.from_index(index)
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    imports: set[str] = set()

    def named(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
        name = writing.by_name(kind, item, context)
        imports.update(context.imports)
        return name

    code = render_python_code(ops.UpgradeOps(ops=steps), render_item=named)
    lines = [f"    {line}" if line.strip() else "" for line in code.splitlines()[1:-1]]
    return "\n".join(lines), sorted(imports)
