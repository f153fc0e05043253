"""What the tables of a source are declared as: pure rules from its catalog to declarations."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from schema.adopt import declarations, names
from schema.adopt.declarations import quoted
from schema.adopt.schema import Refused
from schema.from_mysql.catalog import Column, ForeignKey, Table
from schema.from_mysql.kinds import KEYS, kind_of
from shared.models.columns import DeclarationError
from shared.models.declaration import check_name

#: What users are usually kept in, if it has an e-mail too.
USERS = ("users", "user", "accounts", "account", "app_users", "customers", "customer", "members")
#: Which of several columns that name users says whose a row is.
OWNERS = ("user_id", "owner_id", "account_id", "customer_id", "member_id", "author_id", "userid")
#: Where other programs note how far they came.
HOUSEKEEPING = {
    *("alembic_version", "schema_migrations", "migrations", "flyway_schema_history"),
    *("ar_internal_metadata", "django_migrations", "knex_migrations", "_prisma_migrations"),
}
RULES = {"CASCADE": "cascade", "SET NULL": "clear"}


@dataclass(frozen=True)
class Users:
    """The source's table of users."""

    table: str
    id: str
    email: str


@dataclass
class Proposed:
    """A table to declare."""

    source: Table
    #: On the wire.
    name: str
    #: How its rows lead to a user (services/sync/existing/mapping.py); "" for those that belong to nobody.
    owner: str = ""
    columns: list[declarations.Column] = field(default_factory=list)
    #: The source's column of each, where it is called otherwise.
    renamed: dict[str, str] = field(default_factory=dict)
    #: Columns that hold a user's id.
    accounts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass
class Proposal:
    """All tables to declare, and a line for what is not."""

    users: Users | None
    tables: list[Proposed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def propose(
    catalog: dict[str, Table], wanted: Iterable[str], users_table: str, user_column: str
) -> Proposal:
    """Return what to declare; all tables where none are `wanted`. Raises `Refused`."""
    wanted = list(wanted)
    if missing := [name for name in wanted if name not in catalog]:
        raise Refused(f"The database has no table {missing[0]}.")
    users = find_users(catalog, users_table)
    proposal = Proposal(users)
    chosen = [catalog[name] for name in wanted] if wanted else list(catalog.values())
    kept: dict[str, Proposed] = {}
    for table in chosen:
        if why := _why_not(table, users):
            proposal.left_out.append(f"{table.name}: {why}")
        else:
            kept[table.name] = Proposed(table, _wire_name(table.name, kept))
    if not kept:
        raise Refused("There is no table to declare.")
    paths = owners(catalog, users, user_column)
    for proposed in kept.values():
        proposed.owner = paths.get(proposed.source.name, "")
    for proposed in kept.values():
        _columns(proposed, kept, users)
    proposal.tables = list(kept.values())
    return proposal


def find_users(catalog: dict[str, Table], given: str) -> Users | None:
    """Return the table that has the users; None where there is none. Raises `Refused`."""
    if given and given not in catalog:
        raise Refused(f"The database has no table {given}.")
    for name in [given] if given else [name for name in USERS if name in catalog]:
        table = catalog[name]
        mails = [column for column in table.names if "mail" in column.lower()]
        mails.sort(key=lambda column: column.lower() not in ("email", "e_mail", "mail"))
        if len(table.key) == 1 and (mails or given):
            return Users(name, table.key[0], mails[0] if mails else "")
    if given:
        raise Refused(f"{given} is keyed by {len(catalog[given].key)} columns; users need one.")
    return None


def _why_not(table: Table, users: Users | None) -> str | None:
    if users and table.name == users.table:
        return "its rows are accounts here"
    if "VIEW" in table.kind or table.kind == "SEQUENCE":
        return f"a {table.kind.lower()}"
    if table.name in HOUSEKEEPING:
        return "some other program's notes"
    if not table.key:
        return "without a primary key nothing says which row is meant"
    types = {column.name: column.type for column in table.columns}
    if bad := [name for name in table.key if types[name] not in KEYS]:
        return f"its key has {bad[0]}, a {types[bad[0]].upper()}, which makes no id"
    return None


def owners(catalog: dict[str, Table], users: Users | None, user_column: str) -> dict[str, str]:
    """Return how the rows of each table lead to a user, by the fewest steps."""
    paths: dict[str, str] = {}
    for table in catalog.values():
        if column := _user_column(table, users, user_column):
            paths[table.name] = column
    grows = True
    while grows:
        found = {
            table.name: f"{link.columns[0]} = {link.parent}.{link.parent_columns[0]}, {paths[link.parent]}"
            for table in catalog.values()
            if table.name not in paths
            and not (users and table.name == users.table)
            and (link := _way_up(table, paths))
        }
        paths |= found
        grows = bool(found)
    return paths


def _user_column(table: Table, users: Users | None, user_column: str) -> str | None:
    if users and table.name == users.table:
        return None
    if user_column and user_column in table.names:
        return user_column
    found = [
        link.columns[0]
        for link in table.foreign_keys
        if users and link.parent == users.table and link.parent_columns == (users.id,)
    ]
    required = {column.name for column in table.columns if not column.is_nullable}
    order = {name: place for place, name in enumerate(OWNERS)}
    found.sort(key=lambda name: (order.get(name.lower(), len(order)), name not in required))
    return found[0] if found else None


def _way_up(table: Table, paths: dict[str, str]) -> ForeignKey | None:
    """Return the foreign key to a table that leads to a user: one that cascades before others."""
    required = {column.name for column in table.columns if not column.is_nullable}
    links = [link for link in table.foreign_keys if len(link.columns) == 1 and link.parent in paths]
    links.sort(key=lambda link: (link.on_delete != "CASCADE", link.columns[0] not in required))
    return next((link for link in links if link.parent != table.name), None)


def _columns(proposed: Proposed, kept: dict[str, Proposed], users: Users | None) -> None:
    """Declare the columns of a table."""
    table = proposed.source
    links = {link.columns[0]: link for link in table.foreign_keys if len(link.columns) == 1}
    for column in table.columns:
        link = links.get(column.name)
        if why := _why_no_column(proposed, column, link):
            if column.name != "id":
                proposed.remarks.append(f"{column.name} is left out: {why}.")
            continue
        declared = _related(proposed, column, link, kept, users) if link else None
        if declared is None:
            kind, remark = kind_of(column)
            if kind is None:
                proposed.remarks.append(f"{column.name} is left out: {remark}.")
                continue
            declared = _declaration(column, kind, remark)
        name = _wire_name(column.name, [one.name for one in proposed.columns])
        if name != column.name:
            proposed.renamed[name] = column.name
        proposed.columns.append(replace(declared, name=name))
    attributes = names.attributes([column.name for column in proposed.columns], {})
    proposed.columns = [
        replace(column, attribute=attributes[column.name]) for column in proposed.columns
    ]
    for link in table.foreign_keys:
        if len(link.columns) > 1:
            listed = ", ".join(link.columns)
            proposed.remarks.append(
                f"{listed} name a row of {link.parent} together, which is no relation here: a relation "
                "is one column."
            )
    _tell_of_key(proposed)


def _why_no_column(proposed: Proposed, column: Column, link: ForeignKey | None) -> str | None:
    if column.is_generated:
        return "the database computes it"
    if column.name == proposed.owner:
        return "whose a row is, is said by the space that it is in"
    if proposed.source.key == (column.name,) and link is None:
        return "it is the id"
    return None


def _related(
    proposed: Proposed,
    column: Column,
    link: ForeignKey,
    kept: dict[str, Proposed],
    users: Users | None,
) -> declarations.Column | None:
    """Declare a column that names a row; None where it is one like any other."""
    if users and link.parent == users.table and link.parent_columns == (users.id,):
        proposed.accounts.append(column.name)
        return _declaration(column, "string", "Names a user: the id of an account here.")
    parent = kept.get(link.parent)
    if parent is None:
        if kind_of(column)[0] == "integer":
            return _declaration(
                column, "integer", f"Names a row of {link.parent}, which is not here."
            )
        return None
    if link.parent_columns != parent.source.key:
        return None
    rule, remark = RULES.get(link.on_delete, "keep"), ""
    if rule == "keep":
        remark = f"ON DELETE {link.on_delete}: nothing refuses to delete what it names here."
    if not parent.owner and rule != "keep":
        rule, remark = "keep", f"ON DELETE {link.on_delete}: what names reference rows keeps."
    arguments = (quoted(parent.name), quoted(rule))
    return replace(_declaration(column, "relation", remark), arguments=arguments)


def _declaration(column: Column, kind: str, remark: str) -> declarations.Column:
    return declarations.Column(
        attribute=column.name,
        name=column.name,
        kind=kind,
        optional=column.is_nullable,
        indexed=declarations.INDEXED.get(kind, False),
        lines=tuple(comment(remark, "    ")),
    )


def _tell_of_key(proposed: Proposed) -> None:
    table = proposed.source
    columns = {column.name: column for column in table.columns}
    if len(table.key) > 1:
        proposed.remarks.append(f"Its id is made of {' and '.join(table.key)}, with - between.")
    if any(columns[name].type == "binary" for name in table.key):
        proposed.remarks.append("Its key has bytes: ids are their hexadecimal digits.")
    if any(columns[name].is_case_blind for name in table.key):
        proposed.remarks.append(
            "Its key is a text that the source compares without case; ids differ by case here, so "
            "what names a row must be spelled as its key."
        )
    if any(columns[name].type in ("char", "varchar", "enum") for name in table.key):
        proposed.remarks.append(
            "An id is letters, digits, '_', '.' and '-'; a key with others becomes a digest of it."
        )


def _wire_name(name: str, taken: Iterable[str]) -> str:
    """Return a name as WatermelonDB takes it, and as no other is called but for case."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    plain = plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"
    try:
        check_name("", plain)
    except DeclarationError:
        plain = f"source{plain if plain.startswith('_') else f'_{plain}'}"
    used = {one.lower() for one in taken}
    candidate, number = plain, 2
    while candidate.lower() in used:
        candidate, number = f"{plain}_{number}", number + 1
    return candidate


def comment(text: str, indent: str = "") -> list[str]:
    """Return a text as lines of comment."""
    words, lines = text.split(), [""]
    for word in words:
        if lines[-1] and len(indent) + len(lines[-1]) + len(word) + 3 > 100:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return [f"{indent}# {line}" for line in lines if line]
