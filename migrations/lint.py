"""Refuse migrations that the running release would not survive: `python -m migrations.lint`.

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
    """Return `"0.10.0"` as numbers, which compare as versions do."""
    return tuple(int(part) for part in str(text).split("."))


def faults(path: Path) -> list[str]:
    """Return what is wrong with one migration."""
    module = ast.parse(path.read_text())
    said = {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if "release" not in said:
        return [f'{path.name}: names no release. Add one, as in release = "0.2.0"']
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
    """Return what a call takes away, if it does."""
    if not isinstance(call.func, ast.Attribute):
        return None
    name, text = call.func.attr, ast.unparse(call)
    changed = [ast.unparse(k) for k in call.keywords if not (k.arg or "").startswith("existing_")]
    if name == "alter_column" and changed == ["nullable=True"]:
        # Old code sends NULL to devices as it is.
        return None
    if name in DESTRUCTIVE:
        return name
    if name == "add_column":
        keywords = [part for part in ast.walk(call) if isinstance(part, ast.keyword)]
        said = {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}
        if said.get("nullable") == "False" and "server_default" not in said:
            return "add_column of a column that is NOT NULL and has no server_default"
        if said.keys() & {"index", "unique"} or "ForeignKey" in text or "CheckConstraint" in text:
            # Cut off in between, what is there could not be told later.
            return "add_column with a constraint or an index, which is to be a step of its own"
    if name == "execute":
        found = (word.strip().upper() for word in WORDS if word in text.lower())
        return next((f"execute({word} …)" for word in found), None)
    return None


if __name__ == "__main__":
    found = [
        fault for path in sorted(Path("migrations/versions").glob("*.py")) for fault in faults(path)
    ]
    print("\n".join(found) or "Migrations: nothing is taken away from the running release")
    sys.exit(bool(found))
