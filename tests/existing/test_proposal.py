"""What the tables of a source are declared as, by what its catalog says."""

import re
from dataclasses import replace
from typing import Any

import pytest

from schema.adopt.schema import Refused
from schema.from_mysql.catalog import Column, ForeignKey, Table, source_url
from schema.from_mysql.printing import copy_map, module
from schema.from_mysql.proposal import Proposal, propose
from services.sync.existing.mapping import MapRefused, read_map
from tests.adopt.declared import wire_schema


def column(name: str, full: str = "int", **flags: Any) -> Column:
    return Column(name, re.split(r"[ (]", full)[0], full, **flags)


def table(name: str, *columns: Column, key: tuple[str, ...] = ("id",), **links: str) -> Table:
    """A table; `links` are its foreign keys: `column="parent.id CASCADE"`."""
    found = Table(name, columns=[column("id", "bigint"), *columns], key=key)
    for one, says in links.items():
        target, _, rule = says.partition(" ")
        parent, _, parent_column = target.partition(".")
        found.foreign_keys.append(ForeignKey((one,), parent, (parent_column,), rule))
    return found


USERS = table("users", column("email", "varchar(190)"))


def proposed(*tables: Table, user_column: str = "") -> Proposal:
    catalog = {one.name: one for one in (USERS, *tables)}
    return propose(catalog, [], "", user_column)


def declared(*tables: Table, **options: Any) -> dict[str, dict[str, Any]]:
    """The columns that devices have of each table."""
    text = module(proposed(*tables, **options), "shop", [])
    return {
        one["name"]: {column["name"]: column for column in one["columns"]}
        for one in wire_schema(text)
    }


@pytest.mark.parametrize(
    ("full", "written"),
    [
        ("tinyint(1)", "Mapped[bool] = columns.boolean()"),
        ("bit(1)", "Mapped[bool] = columns.boolean()"),
        ("bit(8)", "Mapped[int] = columns.integer()"),
        ("tinyint unsigned", "Mapped[int] = columns.integer()"),
        ("tinyint(4)", "Mapped[int] = columns.integer()"),
        ("year", "Mapped[int] = columns.integer()"),
        ("double", "Mapped[float] = columns.number()"),
        ("datetime(3)", "Mapped[int] = columns.date()"),
        ("timestamp", "Mapped[int] = columns.date()"),
        ("date", "Mapped[str] = columns.string()"),
        ("time", "Mapped[str] = columns.string()"),
        ("longtext", "Mapped[str] = columns.string()"),
        ("enum('a','b')", "Mapped[str] = columns.string()"),
        ("json", "Mapped[str] = columns.json()"),
        ("uuid", "Mapped[str] = columns.string()"),
    ],
)
def test_a_column_is_declared_by_its_type(full: str, written: str) -> None:
    assert f"    it: {written}" in module(proposed(table("t", column("it", full))), "shop", [])


def test_a_decimal_is_a_double_while_it_fits() -> None:
    def written(precision: int, scale: int) -> str:
        full = f"decimal({precision},{scale})"
        it = replace(column("it", full), precision=precision, scale=scale)
        return module(proposed(table("t", it)), "shop", [])

    assert "For money" in written(10, 2) and "columns.number()" in written(10, 2)
    assert "columns.string()" in written(16, 2)
    assert "columns.integer()" in written(15, 0)


@pytest.mark.parametrize("full", ["mediumblob", "varbinary(16)", "geometry", "point", "vector"])
def test_what_has_no_column_is_left_out_with_a_sentence(full: str) -> None:
    text = module(proposed(table("t", column("it", full))), "shop", [])
    assert "# it is left out: " in text and "Mapped" not in text


def test_whose_a_row_is_is_said_by_the_shortest_way_to_a_user() -> None:
    tables = (
        table("lists", column("user_id"), user_id="users.id CASCADE"),
        table("items", column("list_id"), list_id="lists.id CASCADE"),
        table("notes", column("item_id"), item_id="items.id CASCADE"),
        table("prices", column("amount", "double")),
    )
    owners = {one.name: one.owner for one in proposed(*tables).tables}
    assert owners == {
        "lists": "user_id",
        "items": "list_id = lists.id, user_id",
        "notes": "item_id = items.id, list_id = lists.id, user_id",
        "prices": "",
    }
    assert "user_id" not in declared(*tables)["lists"]


def test_without_foreign_keys_a_column_says_it() -> None:
    tables = (table("lists", column("owner")), table("items", column("owner"), column("list_id")))
    found = proposed(*tables, user_column="owner")
    assert {one.owner for one in found.tables} == {"owner"}


def test_another_column_that_names_a_user_has_an_account() -> None:
    tasks = table(
        "tasks",
        *(column("assignee_id", is_nullable=True), column("user_id")),
        assignee_id="users.id SET NULL",
        user_id="users.id CASCADE",
    )
    (found,) = proposed(tasks).tables
    assert (found.owner, found.accounts) == ("user_id", ["assignee_id"])
    assert declared(tasks)["tasks"]["assignee_id"]["type"] == "string"


def test_a_foreign_key_is_a_relation_by_its_rule() -> None:
    rules = {"a": "CASCADE", "b": "SET NULL", "c": "RESTRICT", "d": "NO ACTION"}
    links = {one: f"lists.id {rule}" for one, rule in rules.items()}
    items = table("items", *(column(one, is_nullable=True) for one in rules), **links)
    lists = table("lists", column("user_id"), user_id="users.id CASCADE")
    text = module(proposed(lists, items), "shop", [])
    for one, on_delete in {"a": "cascade", "b": "clear", "c": "keep", "d": "keep"}.items():
        assert f'{one}: Mapped[str | None] = columns.relation("lists", "{on_delete}")' in text


def test_a_key_of_two_columns_keeps_them() -> None:
    tags = table("tags", column("user_id"), user_id="users.id CASCADE")
    join = table(
        "item_tags",
        *(column("item_id"), column("tag_id")),
        key=("item_id", "tag_id"),
        tag_id="tags.id CASCADE",
    )
    join.columns.pop(0)
    assert set(declared(tags, join)["item_tags"]) == {"item_id", "tag_id"}
    assert "item_id and tag_id, with - between" in module(proposed(tags, join), "shop", [])


def test_names_that_devices_or_the_server_own_are_others() -> None:
    odd = table(
        "sessions",
        *(
            column("user_id"),
            column("Id2"),
            column("_status"),
            column("größe"),
            column("is deleted"),
        ),
        *(column("from"), column("metadata"), column("updated_at_ms"), column("2fa")),
        user_id="users.id CASCADE",
    )
    odd.columns.insert(0, column("order"))
    found = proposed(odd, table("Größen"))
    assert [one.name for one in found.tables] == ["sessions", "Gr__en"]
    assert found.tables[0].renamed == {
        "source_status": "_status",
        "gr__e": "größe",
        "is_deleted": "is deleted",
        "_2fa": "2fa",
    }
    columns = declared(odd)["sessions"]
    assert {"order", "from", "metadata", "updated_at_ms", "is_deleted"} < set(columns)


def test_a_column_of_a_reference_table_may_be_called_like_the_servers_own() -> None:
    prices = table("prices", *(column(name) for name in ("created_load", "is_deleted", "user_id")))
    assert {"created_load", "is_deleted", "user_id"} <= set(declared(prices)["prices"])


def test_a_table_of_any_name_is_a_class_of_another() -> None:
    named = [
        table(name) for name in ("references", "bases", "synceds", "mappeds", "columns", "str")
    ]
    assert len(declared(*named)) == 6


def test_tables_that_cannot_be_meant_are_left_out_with_a_line() -> None:
    view = Table("totals", "VIEW", [column("n")])
    notes = table("schema_migrations")
    keyless = table("visits", key=())
    by_date = table("days", column("at", "datetime"), key=("at",))
    found = proposed(view, notes, keyless, by_date, table("lists"))
    assert [one.name for one in found.tables] == ["lists"]
    assert len(found.left_out) == 5


def test_the_printed_map_is_one_that_the_copy_reads_but_for_its_tables() -> None:
    lists = table("Listen: alle", column("größe"), column("user_id"), user_id="users.id CASCADE")
    text = copy_map(proposed(lists), "shop")
    with pytest.raises(MapRefused, match="no table of this name is declared"):
        read_map(text)
    assert 'from = "Listen: alle"' in text and 'columns = { gr__e = "größe" }' in text


@pytest.mark.parametrize(
    "url", ["", "nonsense", "postgresql://x/y", "mysql://host", "mysql://a:b@h:x/y"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="URL is"):
        source_url(url)


def test_a_database_without_users_says_so() -> None:
    found = propose({"lists": table("lists")}, [], "", "")
    assert found.users is None and found.tables[0].owner == ""
    assert 'table = ""' in copy_map(found, "shop")
    with pytest.raises(Refused, match="no table people"):
        propose({"lists": table("lists")}, [], "people", "")
    with pytest.raises(Refused, match="no table nothing"):
        propose({"lists": table("lists")}, ["nothing"], "", "")
