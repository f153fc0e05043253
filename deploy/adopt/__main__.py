"""`make adopt`: read, compare, say, write the declarations and their migration."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click

from deploy.adopt import declarations, demo, schema
from deploy.adopt.declarations import APP, Difference, Module, Table
from deploy.adopt.reader import ROOT, Refused, read_schema
from shared.db import Base


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
    old = path.read_text() if path.exists() else ""
    module = declarations.parse(old)
    brought, difference = declarations.bring_up(
        module, wanted, remove=remove, elsewhere=_elsewhere(root)
    )
    demo_tables, stays = _demo(root, brought, drop_demo=drop_demo)
    written = _Written(root)
    try:
        written.write(path, brought.text)
        if demo_tables:
            written.new(
                demo.write_migration(
                    root, Base.metadata, demo_tables, _release(root), drop_rows=drop_demo
                )
            )
            written.remove(root / demo.DEMO)
        if difference.migrates:
            written.migrate(f"adopt version {wanted['version']} of the app's schema")
        written.keep(wanted, [] if remove else difference.gone)
    except BaseException:
        written.undo()
        raise
    return _summary(wanted, brought, difference, written, demo_tables, stays, remove=remove)


def _elsewhere(root: Path) -> list[Table]:
    """Return the tables that modules besides the app's and the demo's declare."""
    return [
        table
        for path in sorted((root / APP).parent.glob("*.py"))
        if path not in (root / APP, root / demo.DEMO)
        for table in declarations.parse(path.read_text()).tables
    ]


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
        for table, rows in (demo.live_rows(url, tables) if url else {}).items():
            if rows:
                return f"{table} has {rows} rows in {name}"
    return None


def _release(root: Path) -> str:
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


class _Written:
    """Files that were changed, so that a step that fails leaves none of them changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.before: dict[Path, bytes | None] = {}
        self.migrations: list[Path] = []

    def _remember(self, path: Path) -> None:
        self.before.setdefault(path, path.read_bytes() if path.exists() else None)

    def write(self, path: Path, text: str) -> None:
        self._remember(path)
        if self.before[path] != text.encode():
            path.write_text(text)

    def new(self, path: Path) -> None:
        self.before[path] = None
        self.migrations.append(path)

    def remove(self, path: Path) -> None:
        self._remember(path)
        path.unlink()

    def keep(self, wanted: schema.Schema, declared: list[str]) -> None:
        self._remember(self.root / schema.KEPT)
        schema.keep(self.root, wanted, declared)

    def migrate(self, message: str) -> None:
        """Let `make migration` write what the declarations have and the migrations have not."""
        before = set((self.root / demo.VERSIONS).glob("*.py"))
        done = subprocess.run(
            ["deploy/migration.sh", message],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        for path in set((self.root / demo.VERSIONS).glob("*.py")) - before:
            self.new(path)
        if done.returncode:
            if refusals := re.findall(r"DeclarationError: (.*)", done.stdout):
                raise Refused(refusals[-1])
            print(done.stdout, file=sys.stderr)
            raise Refused("The migration could not be written: see above.")

    def undo(self) -> None:
        for path, content in self.before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)


def _summary(
    wanted: schema.Schema,
    module: Module,
    difference: Difference,
    written: _Written,
    demo_tables: list[str],
    demo_stays: str | None,
    *,
    remove: bool,
) -> list[str]:
    names = {table["name"] for table in wanted["tables"]}
    tables = [table for table in module.tables if table.name in names]
    columns = [column for table in tables for column in table.columns]
    lines = []
    if difference.gone:
        lines += [
            "Removed, with the data in them:"
            if remove
            else "Not in the schema, and kept (REMOVE=1 takes them and their data away):",
            *_listed(difference.gone),
        ]
    count = sum(len(table["columns"]) for table in wanted["tables"])
    lines.append(f"The schema, version {wanted['version']}: {len(names)} tables, {count} columns.")
    for title, found in (
        ("New tables", difference.tables),
        ("New columns", difference.columns),
        ("Changed", difference.altered),
    ):
        if found:
            lines += [f"{title}:", *_listed(found)]
    if not (difference.tables or difference.columns or difference.altered or difference.gone):
        lines.append("Nothing is new.")
    if demo_tables:
        lines.append(f"The demo's tables are gone: {', '.join(demo_tables)}.")
    if demo_stays:
        lines.append(f"The demo's tables stay: {demo_stays}.")
    lines += _to_look_at(wanted, tables, columns, difference)
    for path in sorted(written.migrations):
        lines.append(f"Wrote {path.relative_to(written.root)}")
    if written.migrations:
        lines.append("Next: read it. make run and make up-native apply it.")
    return lines


def _to_look_at(
    wanted: schema.Schema,
    tables: list[Table],
    columns: list[declarations.Column],
    difference: Difference,
) -> list[str]:
    look = list(wanted.get("look", []))
    if confirm := sum(column.comment.startswith("# confirm") for column in columns):
        look.append(
            f"{confirm} relations in {APP} are marked confirm: say what becomes of a row when the one that "
            "it names is deleted: keep, clear or cascade."
        )
    look += [f"{one} is proposed, and declared otherwise." for one in difference.proposed]
    if renamed := [f"{table.name} as {table.sql}" for table in tables if table.name != table.sql]:
        look.append(f"Called otherwise in the database: {', '.join(renamed)}.")
    if wanted["migrations"] is None:
        look.append(
            f"The schema is version {wanted['version']} and its migrations were not found: give them with "
            "MIGRATIONS=path, or make client-schema prints steps to be appended to them."
        )
    if replaced := wanted.get("replaced"):
        found = ", ".join(f"{name} ({why})" for name, why in replaced.items())
        look.append(f"Read without: {found}.")
    return ["Look at:", *_listed(look)] if look else []


def _listed(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


if __name__ == "__main__":
    main()
