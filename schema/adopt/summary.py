"""Say what was adopted and what to look at."""

from schema.adopt import schema
from schema.adopt.declarations import APP, Column, Module, Table
from schema.adopt.difference import Difference
from schema.adopt.files import Written


def describe(
    wanted: schema.Schema,
    module: Module,
    difference: Difference,
    written: Written,
    demo_tables: list[str],
    demo_stays: str | None,
    *,
    remove: bool,
) -> list[str]:
    """Return the lines of the summary, removals first."""
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
    lines.append(
        f"The schema's version: {wanted['version']}, tables: {len(names)}, columns: {count}."
    )
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
    look = _to_look_at(wanted, tables, columns, difference)
    if remove and difference.gone:
        look.append(
            "The migration takes away what the running release uses: make lint says when that may be "
            "(docs/migrations.md)."
        )
    lines += ["Look at:", *_listed(look)] if look else []
    for path in sorted(written.migrations):
        lines.append(f"Wrote {path.relative_to(written.root)}")
    if written.migrations:
        lines.append("Next: read it. make run and make up-native apply it.")
    return lines


def _to_look_at(
    wanted: schema.Schema,
    tables: list[Table],
    columns: list[Column],
    difference: Difference,
) -> list[str]:
    look = list(wanted.get("look", []))
    if confirm := sum(column.comment.startswith("# confirm") for column in columns):
        look.append(
            f"Relations marked confirm in {APP}: {confirm}. Say what becomes of a row when the one that it "
            "names is deleted (keep, clear or cascade), take the mark away, and run make migration if one "
            "changed."
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
    return look


def _listed(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
