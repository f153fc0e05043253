"""`make adopt`: read, compare, say, write the declarations and their migration."""

import os
import sys
from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from schema.adopt import declarations, demo, schema, summary
from schema.adopt.declarations import APP, Module, Table
from schema.adopt.difference import bring_up
from schema.adopt.files import Written
from schema.adopt.reader import ROOT, read_schema
from schema.adopt.schema import Refused
from shared import __version__
from shared.database.base import Base


@click.command()
@click.option("--schema", "path", default="", help="The module or JSON file with the app's schema.")
@click.option("--models", default="", help="A folder or module of the app's model classes.")
@click.option("--migrations", default="", help="The module with the app's migrations.")
@click.option("--export", default="", help="Which of several schemas: the name of its export.")
@click.option("--remove", default="", help="1: take away what the schema has no more.")
@click.option("--demo", "demo_word", default="", help="drop: the demo's tables go with their rows.")
def main(path: str, models: str, migrations: str, export: str, remove: str, demo_word: str) -> None:
    """Declare the tables of an app's schema, and write the migration."""
    try:
        if not path:
            raise Refused("Say where the app's schema is: make adopt SCHEMA=path/to/schema.ts")
        if remove not in ("", "0", "1") or demo_word not in ("", "drop"):
            raise Refused("REMOVE is 1 or not given, and so is DEMO=drop.")
        wanted = read_schema(
            Path(path),
            models=Path(models) if models else None,
            migrations=Path(migrations) if migrations else None,
            export=export or None,
        )
        for line in adopt(ROOT, wanted, remove=remove == "1", drop_demo=demo_word == "drop"):
            print(line)
    except Refused as refusal:
        sys.exit(f"make adopt: {refusal} Nothing was written.")


def adopt(root: Path, wanted: schema.Schema, *, remove: bool, drop_demo: bool) -> list[str]:
    """Bring declarations, migrations and the kept schema up to `wanted`; return the summary's lines.

    Either all of it is written or nothing. Raises `Refused`.
    """
    if not wanted["tables"]:
        raise Refused("The schema has no tables.")
    path = root / APP
    module = declarations.parse(path.read_text() if path.exists() else "")
    references = _references(root)
    of_users = [table for table in wanted["tables"] if table["name"] not in references]
    brought, difference = bring_up(
        module, wanted | {"tables": of_users}, remove=remove, elsewhere=_elsewhere(root)
    )
    demo_tables, stays = _demo(root, brought, drop_demo=drop_demo)
    before = schema.kept(root)
    if before and demo_tables:
        # No app's devices had them.
        tables = [table for table in before["tables"] if table["name"] not in demo_tables]
        before = before | {"tables": tables} if tables else None
    written = Written(root)
    try:
        written.write(path, brought.text)
        if demo_tables:
            written.new(
                demo.write_migration(
                    root, Base.metadata, demo_tables, __version__, drop_rows=drop_demo
                )
            )
            written.remove(root / demo.DEMO)
        if difference.migrates:
            written.migrate(f"adopt version {wanted['version']} of the app's schema", remove=remove)
        declared = [] if remove else difference.gone
        written.write(root / schema.KEPT, schema.text(schema.following(before, wanted, declared)))
    except BaseException:
        written.undo()
        raise
    wanted.setdefault("look", []).extend(schema.doubts(before, wanted))
    return summary.describe(wanted, brought, difference, written, demo_tables, stays, remove=remove)


def _elsewhere(root: Path) -> list[Table]:
    """Return the tables that modules besides the app's and the demo's declare."""
    return [
        table
        for path in sorted((root / APP).parent.glob("*.py"))
        if path not in (root / APP, root / demo.DEMO)
        for table in declarations.parse(path.read_text()).tables
    ]


def _references(root: Path) -> set[str]:
    """Return the names of the reference tables that are declared, which the app has too."""
    modules = (root / APP).parent.glob("*.py")
    return {name for path in modules for name in declarations.reference_names(path.read_text())}


def _demo(root: Path, module: Module, *, drop_demo: bool) -> tuple[list[str], str | None]:
    """Return the demo's tables that go, and otherwise why they stay."""
    path = root / demo.DEMO
    if not path.exists():
        return [], None
    tables = [table.sql for table in declarations.parse(path.read_text()).tables]
    replaced = sorted({table.name for table in module.tables} & set(tables))
    reason = None
    needed = [
        f"{table.name}.{column.name}"
        for table in (*module.tables, *_elsewhere(root))
        for column in table.columns
        if column.kind == "relation"
        and column.arguments[0].strip('"') in set(tables) - set(replaced)
    ]
    if needed:
        reason = f"{needed[0]} names their rows"
    elif not drop_demo and (rows := _rows(root, tables)):
        reason = f"{rows}; DEMO=drop removes them"
    if reason and replaced:
        raise Refused(
            f"The app's table {replaced[0]} would take the place of the demo's, which stays: {reason}."
        )
    return ([], reason) if reason else (tables, None)


def _rows(root: Path, tables: list[str]) -> str | None:
    """Say which of the databases at hand has rows in the demo's tables, or return None."""
    local = root / ".local/embedded.db"
    urls = {"DATABASE_URL": os.environ.get("DATABASE_URL", "")}
    urls[".local/embedded.db"] = f"sqlite:///{local}" if local.exists() else ""
    for name, url in urls.items():
        try:
            found = demo.live_rows(url, tables) if url else {}
        except SQLAlchemyError as error:
            return f"{name} cannot be asked for their rows ({type(error).__name__})"
        for table, rows in found.items():
            if rows:
                return f"{table} has {rows} rows in {name}"
    return None


if __name__ == "__main__":
    main()
