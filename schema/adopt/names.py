"""Names for Python and SQL in the place of those that somebody else owns there.

A wire name stays what it is wherever it can. SQL names are in lower case, so that they mean the same on
file systems and engines that know no case.
"""

import keyword
import re
from collections.abc import Callable, Iterable
from hashlib import sha256

from shared.models.declaration import UNQUOTED
from shared.models.declared import server_tables
from shared.models.reference import Reference
from shared.models.synced import SERVER_COLUMNS

#: Columns that every synced table has or will have, and those of reference tables.
OWNED_COLUMNS = {*SERVER_COLUMNS, *Reference.__annotations__, "space_id"}
#: Attributes that a declaration has from SQLAlchemy, and names that its body uses.
OWN_ATTRIBUTES = {
    "metadata",
    "registry",
    "query",
    "query_class",
    "columns",
    "str",
    "int",
    "float",
} | {"bool"}
#: Tables that the server will have, or may well.
PLANNED_TABLES = {
    "attempts",
    "audit_log",
    "credentials",
    "devices",
    "email_tokens",
    "files",
    "identities",
    "invitations",
    "jobs",
    "keys",
    "limits",
    "locks",
    "members",
    "memberships",
    "metrics",
    "migrations",
    "oauth_states",
    "outbox",
    "providers",
    "purges",
    "quotas",
    "reports",
    "revocations",
    "roles",
    "rules",
    "settings",
    "spaces",
    "ticks",
    "tokens",
    "versions",
    "webhooks",
}
#: So long that the names of its indexes fit into MySQL's 64 characters too.
TABLE_LENGTH = 48
#: So long that a declaration fits into a line.
COLUMN_LENGTH = 56

IRREGULAR = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "data": "data",
}
IRREGULAR |= {"media": "media", "news": "news", "series": "series", "status": "status"}


def sql_tables(wire: Iterable[str], taken: dict[str, str]) -> dict[str, str]:
    """Return the SQL name of each table; `taken` are those that have one already."""
    return _assign(wire, taken, _table, TABLE_LENGTH)


def attributes(wire: Iterable[str], taken: dict[str, str]) -> dict[str, str]:
    """Return the attribute, which is the SQL name too, of each column of a table."""
    return _assign(wire, taken, _attribute, COLUMN_LENGTH)


def _assign(
    wire: Iterable[str], taken: dict[str, str], natural: Callable[[str], str], length: int
) -> dict[str, str]:
    wire = list(wire)
    names = {name: taken[name] for name in wire if name in taken}
    used = set(taken.values())
    # Who can keep a name has it, whoever else would come to be called like that.
    for name in sorted(wire, key=lambda name: shorten(natural(name), name, length) != name):
        if name in names:
            continue
        candidate = shorten(natural(name), name, length)
        if candidate in used:
            candidate = shorten(candidate, name, length, always=True)
        names[name] = candidate
        used.add(candidate)
    return {name: names[name] for name in wire}


def _table(wire: str) -> str:
    name = snake(wire)
    owned = (
        name in server_tables()
        or name in PLANNED_TABLES
        or name in UNQUOTED
        or name.startswith("sqlite_")
    )
    return f"app_{name}" if owned or not name[0].isalpha() else name


def _attribute(wire: str) -> str:
    name = snake(wire)
    if not name[0].isalpha():
        return f"column_{name}"
    owned = (
        name in OWNED_COLUMNS
        or name in OWN_ATTRIBUTES
        or name in UNQUOTED
        or keyword.iskeyword(name)
        or keyword.issoftkeyword(name)
    )
    return f"{name}_" if owned else name


def shorten(name: str, wire: str, length: int, *, always: bool = False) -> str:
    """Return `name` with a hash of the wire name at its end where it is too long, or taken."""
    if len(name) <= length and not always:
        return name
    return f"{name[: length - 9].rstrip('_')}_{sha256(wire.encode()).hexdigest()[:8]}"


def snake(name: str) -> str:
    """Return `createdAt` as `created_at`, `HTMLBody` as `html_body`, `_x` as `x`."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return name.lower().strip("_") or "_"


def class_name(wire: str, model: str | None, taken: set[str]) -> str:
    """Return a class for a table: the app's own name for it, or the table's in the singular."""
    words = snake(wire).split("_")
    singular = [*words[:-1], _singular(words[-1])]
    pascal = ["".join(word.capitalize() for word in one) for one in (singular, words)]
    candidates = [name for name in (model, *pascal) if name and _is_class(name)]
    candidates = [name[:COLUMN_LENGTH] for name in candidates] or ["Table"]
    for name in candidates:
        if name not in taken:
            return name
    return next(name for n in range(2, 9999) if (name := f"{candidates[0]}{n}") not in taken)


def _is_class(name: str) -> bool:
    owned = keyword.iskeyword(name) or name in ("Base", "Synced", "Reference", "Mapped")
    return re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) is not None and not owned


def _singular(word: str) -> str:
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
