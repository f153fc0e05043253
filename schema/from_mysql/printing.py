"""A proposal as text: the module of declarations, or the map for copying the rows."""

import json
from collections.abc import Iterable
from dataclasses import replace

from schema.adopt import names
from schema.adopt.declarations import Module, Table
from schema.adopt.rendering import imports, opening, rendered
from schema.from_mysql.proposal import Proposal, Proposed, comment

DOCSTRING = '''"""The tables of the MySQL database `{database}`.

Written by `make from-mysql`, and yours to edit (docs/existing-database.md).
"""
'''
MAP = """# From the tables of {database} to the declared ones, for make copy-from (docs/existing-database.md).
# Written by make from-mysql, and yours to edit.

# Where DATETIME columns are at home; TIMESTAMP columns know it themselves.
zone = "UTC"
"""


def module(proposal: Proposal, database: str, taken: Iterable[Table]) -> str:
    """Return a module for shared/models; `taken` are the tables that others declare."""
    others = {table.name: table.sql for table in taken}
    sql = names.sql_tables([table.name for table in proposal.tables], others)
    classes = {table.class_name for table in taken}
    tables = []
    for proposed in proposal.tables:
        name = names.class_name(proposed.name, None, classes)
        classes.add(name)
        table = Table(name, sql[proposed.name], proposed.name, (), ())
        base = base_of(proposed)
        tables.append(
            replace(
                table,
                before=(*_above(proposed), *opening(table, "The source's", base)),
                columns=tuple(rendered(column) for column in proposed.columns),
            )
        )
    head = imports(
        DOCSTRING.format(database=database),
        has_columns=any(table.columns for table in tables),
        bases={base_of(proposed) for proposed in proposal.tables},
    )
    return Module(head, tuple(tables)).text


def base_of(proposed: Proposed) -> str:
    """Return what a class is derived from."""
    return "Synced" if proposed.owner else "Reference"


def _above(proposed: Proposed) -> list[str]:
    remarks = list(proposed.remarks)
    if proposed.owner:
        whose = proposed.owner
        remarks.insert(0, f"Belongs to the user in {whose}.")
    else:
        remarks.insert(0, "Belongs to nobody: EVERY device has all of it, and none writes it.")
    return [line for remark in remarks for line in comment(remark)]


def copy_map(proposal: Proposal, database: str) -> str:
    """Return the map, in TOML."""
    parts = [MAP.format(database=database), _users(proposal)]
    parts += [_table(proposed) for proposed in proposal.tables]
    return "\n".join(parts)


def _users(proposal: Proposal) -> str:
    users = proposal.users
    if users is None:
        return (
            "# The source's users, which was not found: its table, its key, and how each is one of our\n"
            "# users: email, or account for a column that has the account's id.\n"
            '[users]\ntable = ""\nid = "id"\nemail = "email"\n'
        )
    lines = [
        "# How the source's users are ours: by e-mail, or by a column with the account's id (account)."
    ]
    lines += ["[users]", f"table = {_text(users.table)}", f"id = {_text(users.id)}"]
    lines.append(f"email = {_text(users.email)}" if users.email else '# account = "account_id"')
    return "\n".join(lines) + "\n"


def _table(proposed: Proposed) -> str:
    lines = [f"[tables.{_key(proposed.name)}]"]
    if proposed.source.name != proposed.name:
        lines.append(f"from = {_text(proposed.source.name)}")
    if proposed.owner:
        lines.append(f"user = {_text(proposed.owner)}")
    if proposed.accounts:
        lines.append(f"accounts = [{', '.join(map(_text, proposed.accounts))}]")
    if proposed.renamed:
        pairs = ", ".join(
            f"{_key(ours)} = {_text(theirs)}" for ours, theirs in proposed.renamed.items()
        )
        lines.append(f"columns = {{ {pairs} }}")
    if not proposed.owner:
        lines.insert(0, "# Belongs to nobody.")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "a").isalnum() else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
