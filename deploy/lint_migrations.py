"""Refuse migrations that the running release would not survive: `python -m deploy.lint_migrations`.

A release migrates first and replaces its processes afterwards, so for a while old code works on new
tables. Growing is safe; what takes something away waits for the release after the one whose code no
longer uses it (docs/migrations.md). Such a migration says so: `unused_since = "0.2.0"`, the release
that stopped using it, which must be older than its own `release`.
"""

import ast
import sys
from pathlib import Path

#: Operations of Alembic that old code may miss what they take away, or trip over.
DESTRUCTIVE = {"drop_table", "drop_column", "drop_constraint", "rename_table", "alter_column"}
#: SQL that may be any of them.
WORDS = ("drop ", "rename ", "modify ", "change ", "truncate ", "delete ")


def version(text: object) -> tuple[int, ...]:
    """`"0.10.0"` as numbers, which compare as versions do."""
    return tuple(int(part) for part in str(text).split("."))


def faults(path: Path) -> list[str]:
    """What is wrong with one migration."""
    module = ast.parse(path.read_text())
    said = {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if "release" not in said:
        return [f'{path.name}: says no release, as in release = "0.2.0"']
    unused_since = said.get("unused_since")
    if unused_since and version(unused_since) < version(said["release"]):
        return []
    [upgrade] = [n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == "upgrade"]
    return [
        f"{path.name}:{call.lineno}: {what} in the release that still uses it. Let a later one do it, "
        "and say unused_since (docs/migrations.md)"
        for call in ast.walk(upgrade)
        if isinstance(call, ast.Call) and (what := destructive(call))
    ]


def destructive(call: ast.Call) -> str | None:
    """What a call takes away, if it does."""
    if not isinstance(call.func, ast.Attribute):
        return None
    name = call.func.attr
    if name == "alter_column" and makes_optional(call):
        return None
    if name in DESTRUCTIVE:
        return name
    if name == "add_column" and is_required(call):
        return "add_column of a column that is NOT NULL and has no server_default"
    if name == "add_column" and has_constraint(call):
        return "add_column with a constraint or an index, which is to be a step of its own"
    if name == "execute":
        sql = ast.unparse(call).lower()
        return next((f"execute({word.strip().upper()} …)" for word in WORDS if word in sql), None)
    return None


def has_constraint(call: ast.Call) -> bool:
    """Whether a column brings more than itself: cut off in between, it could not be told later."""
    parts = list(ast.walk(call))
    names = {part.attr for part in parts if isinstance(part, ast.Attribute)}
    said = {part.arg for part in parts if isinstance(part, ast.keyword)}
    return bool(names & {"ForeignKey", "CheckConstraint"} or said & {"index", "unique"})


def makes_optional(call: ast.Call) -> bool:
    """Whether a column only comes to take NULL, which old code sends to devices as it is."""
    changed = {
        keyword.arg: keyword.value
        for keyword in call.keywords
        if not (keyword.arg or "").startswith("existing_")
    }
    nullable = changed.pop("nullable", None)
    return not changed and isinstance(nullable, ast.Constant) and nullable.value is True


def is_required(call: ast.Call) -> bool:
    """Whether old code, which does not know the new column, could insert no row any more."""
    settings = {
        keyword.arg: keyword.value
        for column in ast.walk(call)
        if isinstance(column, ast.Call)
        for keyword in column.keywords
    }
    nullable = settings.get("nullable")
    refused = isinstance(nullable, ast.Constant) and nullable.value is False
    return refused and "server_default" not in settings


if __name__ == "__main__":
    found = [
        fault for path in sorted(Path("migrations/versions").glob("*.py")) for fault in faults(path)
    ]
    print("\n".join(found) or "Migrations: nothing is taken away from the running release")
    sys.exit(bool(found))
