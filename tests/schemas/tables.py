"""Tables of many shapes, declared beside the project's own for the tests of this directory.

Loaded with `pytest -p tests.schemas.tables`, before anything reads what is declared.
"""

import random
from typing import Any

from sqlalchemy.orm import Mapped

from shared.database.base import Base
from shared.models import columns
from shared.models.synced import Synced
from tests.schemas.records import SEED

#: As long as a name in MySQL, and as one on the wire.
LONG, LONGER = "n" * 64, "w" * 100


class Folder(Synced, Base):
    """A tree."""

    __tablename__ = "folders"

    title: Mapped[str] = columns.string()
    parent_id: Mapped[str | None] = columns.relation("folders", "cascade")


class Shelf(Synced, Base):
    """A tree that is shared."""

    __tablename__ = "shelves"
    SHAREABLE = True

    title: Mapped[str] = columns.string()
    shelf_id: Mapped[str | None] = columns.relation("shelves", "cascade")


class Tag(Synced, Base):
    """One side of a join table, and a tree that is cleared."""

    __tablename__ = "tags"

    label: Mapped[str] = columns.string(40)
    broader_id: Mapped[str | None] = columns.relation("tags", "clear")


class FolderTag(Synced, Base):
    """A join table: nothing but two parents."""

    __tablename__ = "folder_tags"

    folder_id: Mapped[str] = columns.relation("folders", "cascade")
    tag_id: Mapped[str] = columns.relation("tags", "cascade")


class Note(Synced, Base):
    """Every kind of relation."""

    __tablename__ = "notes"

    body: Mapped[str] = columns.string()
    data: Mapped[str | None] = columns.json()
    rating: Mapped[float | None] = columns.number()
    folder_id: Mapped[str | None] = columns.relation("folders", "clear")
    tag_id: Mapped[str | None] = columns.relation("tags", "cascade")
    author_ref: Mapped[str] = columns.relation("users", "keep")
    editor_ref: Mapped[str | None] = columns.relation("folders", "keep")


class Hen(Synced, Base):
    """A cycle of two tables."""

    __tablename__ = "hens"

    egg_id: Mapped[str | None] = columns.relation("eggs", "cascade")


class Egg(Synced, Base):
    """The other half."""

    __tablename__ = "eggs"

    hen_id: Mapped[str | None] = columns.relation("hens", "cascade")


class Mark(Synced, Base):
    """Nothing but an id."""

    __tablename__ = "marks"


class AppUser(Synced, Base):
    """Names that the server has itself."""

    __tablename__ = "app_users"
    WIRE_NAME = "users"

    user_id_: Mapped[str] = columns.string(name="user_id")
    is_deleted_: Mapped[bool] = columns.boolean(name="is_deleted")
    created_by_: Mapped[str | None] = columns.string(name="created_by")
    created_at_ms_: Mapped[int] = columns.date(name="created_at_ms")
    updated_at_ms_: Mapped[float] = columns.number(name="updated_at_ms")
    repeated_at_ms_: Mapped[int | None] = columns.integer(name="repeated_at_ms")
    metadata_: Mapped[str] = columns.json(name="metadata")
    registry_: Mapped[str] = columns.string(name="registry")


class AppSession(Synced, Base):
    """Names that SQL, Python and JavaScript keep for themselves, and ones that look like our own."""

    __tablename__ = "app_sessions"
    WIRE_NAME = "sessions"

    order: Mapped[str] = columns.string()
    group: Mapped[str] = columns.string(20)
    Select: Mapped[int] = columns.integer()
    from_: Mapped[str] = columns.string(name="from")
    class_: Mapped[str | None] = columns.text(name="class")
    None_: Mapped[bool] = columns.boolean(name="None")
    qualify: Mapped[float] = columns.number()
    manual_: Mapped[str] = columns.string(name="manual")
    parallel: Mapped[str | None] = columns.string()
    library_: Mapped[bool] = columns.boolean(name="library")
    tablesample_: Mapped[int | None] = columns.integer(name="tablesample")
    lateral: Mapped[str] = columns.string()
    json_table: Mapped[str] = columns.string()
    sent: Mapped[str] = columns.string()
    rows: Mapped[str] = columns.string()
    tick: Mapped[float] = columns.number()
    user: Mapped[str | None] = columns.string()
    ids: Mapped[str | None] = columns.string()
    values: Mapped[str] = columns.string()
    keys: Mapped[str | None] = columns.string()
    is_deleted_1: Mapped[str | None] = columns.string()
    createdAt: Mapped[int] = columns.date()  # noqa: N815
    id_: Mapped[str] = columns.string()
    private_: Mapped[str] = columns.string(name="_private")
    property_: Mapped[str] = columns.string(name="propertyIsEnumerable")
    users_id: Mapped[str | None] = columns.relation("users", "cascade")
    table_: Mapped[str | None] = columns.relation("table", "clear", name="table")


class Table(Synced, Base):
    """A table that is called one, and what else asks for quotes."""

    __tablename__ = "table"

    column: Mapped[str] = columns.string()
    index: Mapped[str | None] = columns.relation("Group", "cascade")


class Group(Synced, Base):
    """A name with a capital letter, and with a word of SQL."""

    __tablename__ = "Group"

    Order: Mapped[str] = columns.string()
    changes: Mapped[str | None] = columns.relation("changes", "clear")


class Changes(Synced, Base):
    """The name that a push's own wrapping has."""

    __tablename__ = "changes"

    created: Mapped[str] = columns.string()
    updated: Mapped[str | None] = columns.string()
    deleted: Mapped[bool] = columns.boolean()
    lastPulledAt: Mapped[float] = columns.number()  # noqa: N815


class Qualify(Synced, Base):
    """A word that newer releases of MySQL keep for themselves."""

    __tablename__ = "qualify"

    manual_: Mapped[str | None] = columns.relation("qualify", "cascade", name="manual")


Long = type(
    "Long",
    (Synced, Base),
    {
        "__tablename__": LONG,
        "WIRE_NAME": LONGER,
        "__annotations__": {LONG: Mapped[str], f"{LONG[:-1]}2": Mapped[str | None]},
        LONG: columns.string(name=LONGER),
        f"{LONG[:-1]}2": columns.relation(LONGER, "cascade", name=f"{LONGER}2"),
    },
)


def wide() -> type[Any]:
    """As many columns of every kind as go into a row."""
    made = [
        *((f"t{n}", str, columns.string()) for n in range(60)),
        *((f"o{n}", str | None, columns.string()) for n in range(40)),
        *((f"s{n}", str, columns.string(20)) for n in range(40)),
        *((f"b{n}", bool, columns.boolean()) for n in range(150)),
        *((f"f{n}", float | None, columns.number()) for n in range(150)),
        *((f"i{n}", int, columns.integer()) for n in range(60)),
    ]
    return type(
        "Wide",
        (Synced, Base),
        {"__tablename__": "wide"}
        | {"__annotations__": {name: Mapped[kind] for name, kind, _ in made}}
        | {name: column for name, _, column in made},
    )


Wide = wide()

#: The names of the tables of each random schema.
GROUPS: list[list[str]] = []
MODELS: list[type[Any]] = []
KINDS = ("cascade", "cascade?", "clear?", "keep", "keep?")


def declare_random(draw: random.Random, number: int) -> None:
    """Declare a schema of some tables, each with any relations to any of them."""
    names = [f"r{number}_{letter}" for letter in "abcd"[: draw.randint(1, 4)]]
    for name in names:
        members: dict[str, Any] = {"__tablename__": name}
        annotations: dict[str, Any] = {"v": Mapped[str], "w": Mapped[float | None]}
        members |= {"v": columns.string(), "w": columns.number()}
        for at in range(draw.randint(0, 3)):
            kind = draw.choice(KINDS)
            members[f"p{at}"] = columns.relation(draw.choice(names), kind.rstrip("?"))  # type: ignore[arg-type]
            annotations[f"p{at}"] = Mapped[str | None] if kind.endswith("?") else Mapped[str]
        # Kept, or it would be declared no longer once it is collected as garbage.
        MODELS.append(type(name, (Synced, Base), members | {"__annotations__": annotations}))
    GROUPS.append(names)


_draw = random.Random(SEED)
for _number in range(10):
    declare_random(_draw, _number)
