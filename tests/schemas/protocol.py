"""Tables of every shape over the API: what docs/api.md says of projects and tasks holds for them too."""

import itertools
import json
from collections import defaultdict
from typing import Any

import orjson
import pytest

from shared.models.tables import tables_by_name
from tests.api import PASSWORD, Device
from tests.conftest import Backend
from tests.schemas.model import Expected
from tests.schemas.records import VALUES, Json, export, record
from tests.schemas.tables import LONG, LONGER
from tests.service import Service
from tests.sharing import make_space
from tests.statements import statements
from tests.sync.feeds import Reader

MANY_IN_ONE = 3_000


def rows(*records: Json) -> Json:
    return {"created": list(records)}


def pages(device: Device, limit: int) -> dict[str, dict[str, Json]]:
    """A first sync by pages."""
    found: dict[str, dict[str, Json]] = defaultdict(dict)
    query: Json = {"limit": limit}
    while True:
        answer = device.pull_raw("null", **query)
        assert answer.status_code == 200, answer.text
        for table, change in answer.json["changes"].items():
            for row in change["created"]:
                assert row["id"] not in found[table]
                found[table][row["id"]] = row
        if "cursor" not in answer.json:
            return {table: rows_ for table, rows_ in found.items() if rows_}
        query["cursor"] = answer.json["cursor"]


class Pusher:
    """A device that has seen everything, and what the server must then have."""

    def __init__(self, device: Device) -> None:
        self.device, self.expected = device, Expected()
        self.device.pull()

    def push(self, **changes: Json) -> Json:
        """Push, and hold the server against the model; return the answer."""
        since = self.device.last_pulled_at
        answer: Json = self.device.push(**changes)
        # As the server reads it: a number beyond 64 bits is a fraction.
        self.expected.push(orjson.loads(json.dumps(changes)))
        assert export(self.device) == (self.expected.live(), self.expected.dead())
        # What is said to be there already need not be pulled, and is not.
        if answer["upToDate"]:
            later = self.device.pull_raw(answer["timestamp"]).json["changes"]
            assert not any(ids for change in later.values() for ids in change.values())
            held = {t: dict(found) for t, found in self.device.rows.items()}
            for table, change in orjson.loads(json.dumps(changes)).items():
                mine = held.setdefault(table, {})
                for sent in change.get("created", []) + change.get("updated", []):
                    own = as_read(table, sent)
                    mine[sent["id"]] = mine.get(sent["id"], {}) | own
                for id_ in change.get("deleted", []):
                    mine.pop(id_, None)
            assert {t: found for t, found in held.items() if found} == self.expected.live()
        # The answer may be lost: the same again, as the device knows no better.
        again = self.device.push_raw(changes_of(changes), last_pulled_at=since or "null")
        assert again.status_code == 200, again.text
        self.device.pull()
        assert self.held() == self.expected.live()
        return answer

    def held(self) -> dict[str, dict[str, Json]]:
        return {table: found for table, found in self.device.rows.items() if found}


def as_read(table: str, sent: Json) -> Json:
    """A pushed record as it is pulled, `''` in the place of an optional parent read as null."""
    parents = [c.name for c in tables_by_name()[table].enforced if c.optional]
    own = {k: v for k, v in sent.items() if k not in ("_status", "_changed")}
    return own | {name: own.get(name) or None for name in parents if name in own}


def changes_of(changes: Json) -> Json:
    return {t: {"created": [], "updated": [], "deleted": []} | c for t, c in changes.items()}


@pytest.fixture
def pusher(device: Device) -> Pusher:
    return Pusher(device)


def test_a_tree_goes_with_its_root_through_every_level(pusher: Pusher) -> None:
    tree = [record("folders", "f0")]
    tree += [record("folders", f"f{n}", parent_id=f"f{(n - 1) // 2}") for n in range(1, 40)]
    # Children before their parents.
    assert pusher.push(folders=rows(*reversed(tree)))["upToDate"]
    assert not pusher.push(folders={"deleted": ["f1"]})["upToDate"]
    assert "f0" in pusher.expected.live()["folders"]
    pusher.push(folders={"deleted": ["f0"]})
    assert pusher.expected.live() == {}


def test_a_row_may_be_its_own_parent_or_one_of_a_circle(pusher: Pusher) -> None:
    assert pusher.push(
        folders=rows(
            record("folders", "own", parent_id="own"),
            record("folders", "a", parent_id="b"),
            record("folders", "b", parent_id="c"),
            record("folders", "c", parent_id="a"),
        ),
        hens=rows(record("hens", "h", egg_id="e"), record("hens", "h2", egg_id="e2")),
        eggs=rows(record("eggs", "e", hen_id="h"), record("eggs", "e2", hen_id="h2")),
    )["upToDate"]
    pusher.push(folders={"deleted": ["own", "b"]}, hens={"deleted": ["h"]})
    assert pusher.expected.live().keys() == {"hens", "eggs"}
    pusher.push(eggs={"deleted": ["e2"]})
    assert pusher.expected.live() == {}


def test_a_join_row_goes_with_either_parent(pusher: Pusher) -> None:
    folders = [record("folders", f"f{n}") for n in range(3)]
    tags = [record("tags", f"t{n}") for n in range(3)]
    joins = [
        record("folder_tags", f"{f['id']}{t['id']}", folder_id=f["id"], tag_id=t["id"])
        for f, t in itertools.product(folders, tags)
    ]
    assert pusher.push(folder_tags=rows(*joins), tags=rows(*tags), folders=rows(*folders))[
        "upToDate"
    ]
    pusher.push(tags={"deleted": ["t0"]})
    pusher.push(folders={"deleted": ["f1"]}, tags={"deleted": ["t1"]})
    assert pusher.expected.live()["folder_tags"].keys() == {"f0t2", "f2t2"}
    pusher.push(
        folder_tags=rows(
            record("folder_tags", "j1", folder_id="f0", tag_id="nowhere"),
            record("folder_tags", "j2", folder_id="nowhere", tag_id="nowhere-either"),
            record("folder_tags", "j3", folder_id="f1", tag_id="t2"),
            record("folder_tags", "j4", folder_id=None, tag_id="t2"),
            record("folder_tags", "j5", folder_id="f0", tag_id=""),
        )
    )


def test_a_row_of_another_table_is_no_parent_though_it_has_the_id(pusher: Pusher) -> None:
    pusher.push(folders=rows(record("folders", "x")))
    pusher.push(folder_tags=rows(record("folder_tags", "j", folder_id="x", tag_id="x")))
    assert pusher.expected.live().keys() == {"folders"}


NAMED = [None, "", "gone", "never", "no id!", 7, [], "x" * 129, "é"]
NAMING = ("folder_id", "tag_id", "author_ref", "editor_ref")


def test_what_a_relation_may_be_sent(pusher: Pusher) -> None:
    pusher.push(folders=rows(record("folders", "gone")), tags=rows(record("tags", "gone")))
    pusher.push(folders={"deleted": ["gone"]}, tags={"deleted": ["gone"]})
    sent = {
        f"{column}.{at}": {column: value} for column in NAMING for at, value in enumerate(NAMED)
    }
    pusher.push(notes=rows(*(record("notes", id_, **values) for id_, values in sent.items())))
    # Where a relation keeps, each text came back; alone, nothing about such rows need be told.
    kept = {
        id_: values
        for id_, values in sent.items()
        for column, value in values.items()
        if column.endswith("_ref") and isinstance(value, str)
    }
    for id_, values in kept.items():
        assert pusher.expected.live()["notes"][id_].items() >= values.items()
    pusher.push(notes=rows(*(record("notes", f"edited.{id_}") for id_ in sent)))
    edits = [record("notes", f"edited.{id_}", **values) for id_, values in sent.items()]
    pusher.push(notes={"updated": edits})
    again = [record("notes", f"again.{id_}", **values) for id_, values in kept.items()]
    assert pusher.push(notes=rows(*again))["upToDate"]


def test_a_cleared_relation_is_null_with_the_tick_and_the_rest_stays(pusher: Pusher) -> None:
    other = pusher.device.another()
    other.rows = defaultdict(dict)
    pusher.push(
        notes=rows(*(record("notes", f"n{n}", folder_id=f"f{n % 2}") for n in range(6))),
        folders=rows(record("folders", "f0"), record("folders", "f1", parent_id="f0")),
        tags=rows(record("tags", "t0"), record("tags", "t1", broader_id="t0")),
    )
    other.pull()
    pusher.push(folders={"deleted": ["f0"]}, tags={"deleted": ["t0"]})
    change = other.pull()["changes"]
    assert [row["folder_id"] for row in change["notes"]["updated"]] == [None] * 6
    assert change["tags"]["updated"] == [record_of("tags", "t1")]


def record_of(table: str, id_: str, /, **values: Any) -> Json:
    sent = record(table, id_, **values)
    return {name: value for name, value in sent.items() if name not in ("_status", "_changed")}


def test_what_moves_out_of_a_deleted_parent_in_the_same_push_lives_on(pusher: Pusher) -> None:
    pusher.push(
        folders=rows(
            record("folders", "old"),
            record("folders", "new"),
            record("folders", "in", parent_id="old"),
            record("folders", "deep", parent_id="in"),
            record("folders", "left", parent_id="old"),
        )
    )
    pusher.push(folders={"updated": [record("folders", "in", parent_id="new")], "deleted": ["old"]})
    assert pusher.expected.live()["folders"].keys() == {"new", "in", "deep"}
    # Back to life, and its children with it when they are sent.
    pusher.push(
        folders={
            "updated": [
                record("folders", "left", parent_id="old", title="revived"),
                record("folders", "old"),
            ]
        }
    )
    assert pusher.expected.live()["folders"]["left"]["title"] == "revived"


def test_a_revived_child_of_a_dead_parent_stays_dead(pusher: Pusher) -> None:
    pusher.push(
        hens=rows(record("hens", "h")),
        eggs=rows(record("eggs", "e", hen_id="h"), record("eggs", "free")),
    )
    pusher.push(hens={"deleted": ["h"]})
    pusher.push(eggs={"updated": [record("eggs", "e", hen_id="h")]})
    pusher.push(eggs={"updated": [record("eggs", "e")]})
    assert pusher.expected.live()["eggs"].keys() == {"e", "free"}


def test_every_table_and_column_travels_under_its_own_name(pusher: Pusher) -> None:
    tables = [t for t in tables_by_name().values() if t.name != "wide"]
    # Rows of every table that name each other, in one push.
    sent = {}
    for table in tables:
        values = {c.name: "x" for c in table.columns if c.relation}
        sent[table.name] = rows(record(table.name, "x", **values), record(table.name, "x" * 128))
    pusher.push(**sent)
    other = pusher.device.another()
    assert pages(other, 20) == pusher.expected.live()
    # Each column is migrated by itself.
    for table in tables:
        asked = {"table": table.name, "columns": list(table.names)}
        body = {
            "lastPulledAt": pusher.device.last_pulled_at,
            "migration": {"from": 1, "tables": [], "columns": [asked]},
        }
        answer = pusher.device.api.post("/sync/pull", body, token=pusher.device.token)
        assert answer.status_code == 200, answer.text
        change = answer.json["changes"][table.name]
        if "x" in pusher.expected.live().get(table.name, {}) and table.names:
            assert "x" in {row["id"] for row in change["updated"]}
    # And each is the app's own: what is the server's stays as it is.
    users = {"user_id": "somebody", "is_deleted": True, "created_by": "me", "created_at_ms": 1}
    pusher.push(users={"updated": [record("users", "x", **users)]})
    assert pusher.expected.live()["users"]["x"]["is_deleted"] is True
    pusher.push(**{name: {"deleted": ["x", "x" * 128]} for name in sent})
    assert pusher.expected.live() == {}
    deleted = pusher.device.api.delete(
        "/users/me", {"password": PASSWORD}, token=pusher.device.token
    )
    assert deleted.status_code == 204


def test_the_bare_and_the_wrapped_form_of_a_table_called_changes(device: Device) -> None:
    pushed = {"changes": rows(record("changes", "c"))}
    assert device.push_raw(pushed).status_code == 200
    wrapped = {"changes": {"changes": rows(record("changes", "d"))}}
    assert device.push_raw(wrapped).status_code == 200
    assert device.pull()["changes"]["changes"]["created"] == [
        record_of("changes", "c"),
        record_of("changes", "d"),
    ]


def test_long_names_of_tables_and_columns(pusher: Pusher) -> None:
    assert len(LONG) == 64
    root = record(LONGER, "root")
    child = record(LONGER, "child", **{f"{LONGER}2": "root"})
    assert pusher.push(**{LONGER: rows(child, root)})["upToDate"]
    pusher.push(**{LONGER: {"deleted": ["root"]}})
    assert pusher.expected.live() == {}


def test_a_wide_table(pusher: Pusher) -> None:
    full = [record("wide", f"w{n}") for n in range(5)]
    columns = tables_by_name()["wide"].columns
    for column in columns:
        full[0][column.name] = column.empty
        full[1][column.name] = VALUES[column.kind]
    assert pusher.push(wide=rows(*full))["upToDate"]
    pusher.push(wide={"updated": [record("wide", "w0", t3="\0 🍉 e\u0301 ' \\ \" %s :x")]})
    assert pages(pusher.device.another(), 2) == pusher.expected.live()


def test_a_page_takes_few_statements_however_many_tables_there_are(
    pusher: Pusher, backend: Backend
) -> None:
    tree = [record("folders", "f1"), record("folders", "f2", parent_id="f1")]
    pusher.push(folders=rows(*tree))
    tables = len(tables_by_name())
    other = pusher.device.another()
    with statements() as counted:
        assert other.pull_raw("null", limit=3).status_code == 200
    # By groups of one table, two, four, and so on.
    assert counted["SELECT"] <= 1 + (tables.bit_length() if backend.database else 2 * tables)


@pytest.mark.parametrize("limit", [7, 1000])
def test_a_server_reads_the_changes_of_every_table(
    pusher: Pusher, service: Service, backend: Backend, limit: int
) -> None:
    tables = list(tables_by_name().values())
    for _ in range(2):
        sent = {}
        for table in tables:
            values = {c.name: "x" for c in table.columns if c.relation}
            sent[table.name] = rows(record(table.name, "x", **values), record(table.name, "y"))
        pusher.push(**sent)
        pusher.push(folders={"deleted": ["y"]})
    pusher.push(**{LONGER: {"deleted": ["y"]}})
    reader = Reader(service, pusher.device.user_id, limit)
    with statements() as counted:
        page = reader.page()
    # The key, the clock, the keys of rows in turns, and the rows; SQLite is asked for each table.
    if backend.database:
        assert counted["SELECT"] <= 7, counted
    assert len(page["changes"]) == limit or reader.cursor is None
    while reader.cursor:
        reader.page()
    found: dict[str, dict[str, Json]] = defaultdict(dict)
    for (name, id_), row in reader.rows.items():
        found[name][id_] = row
    assert found == pusher.expected.live()


TEXTS = [
    "a" * 1_500_000,
    "🍉é\0" * 100_000,
    '"\\\n' * 200_000,
    '{"a": [1, "\\u0000"]}',
    "  ",
    "\0",
    "\x0b\\u000B",
    "\ufeff\u2028",
    "\x7f\x85",
]


def test_a_text_comes_back_as_it_was(pusher: Pusher) -> None:
    notes = [
        record("notes", f"n{at}", body=text, data=text[:999], author_ref=text[:999])
        for at, text in enumerate(TEXTS)
    ]
    assert pusher.push(notes=rows(*notes))["upToDate"]
    assert pages(pusher.device.another(), 2) == pusher.expected.live()
    pusher.push(notes={"updated": [note | {"rating": 1} for note in notes]})
    # A new column that holds these is sent.
    body = {
        "lastPulledAt": pusher.device.last_pulled_at,
        "migration": {"from": 1, "columns": [{"table": "notes", "columns": ["body"]}]},
    }
    answer = pusher.device.api.post("/sync/pull", body, token=pusher.device.token)
    sent = {row["id"]: row["body"] for row in answer.json["changes"]["notes"]["updated"]}
    assert sent == {f"n{at}": text for at, text in enumerate(TEXTS)}


NUMBERS = [
    0,
    -1,
    0.1,
    1e-7,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    2**53,
    2**53 + 2,
    # As JavaScript writes 2 ** 63 and 2 ** 64.
    9223372036854775808,
    18446744073709552000,
    -9223372036854775808,
    123456789012345680000,
    1e21,
]


def test_a_number_comes_back_as_it_was(pusher: Pusher) -> None:
    notes = [record("notes", f"n{at}", rating=number) for at, number in enumerate(NUMBERS)]
    answer = pusher.push(notes=rows(*notes))
    assert answer["repaired"] == {}
    assert answer["upToDate"]
    held = pusher.held()["notes"]
    assert [float(held[f"n{at}"]["rating"]) for at in range(len(NUMBERS))] == list(
        map(float, NUMBERS)
    )


@pytest.mark.parametrize("number", ["1e400", "-1e999", str(10**400), "NaN", '"7"', "[]", "true"])
def test_what_is_no_number_is_repaired(pusher: Pusher, number: str) -> None:
    before = pusher.device.last_pulled_at
    note = f'{{"id":"n","body":"","author_ref":"","rating":{number}}}'
    user = f'{{"id":"u","updated_at_ms":{number},"created_at_ms":{number}}}'
    body = f'{{"notes":{{"created":[{note}]}},"users":{{"created":[{user}]}}}}'
    answer = pusher.device.api.post(
        "/sync",
        body.encode(),
        token=pusher.device.token,
        query_string={"last_pulled_at": before},
    )
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        pusher.device.pull()
        assert pusher.held()["notes"]["n"]["rating"] is None
        assert pusher.held()["users"]["u"]["updated_at_ms"] == 0


def test_conflicts_are_merged_by_column_or_refused(pusher: Pusher) -> None:
    device = pusher.device
    pusher.push(
        folders=rows(record("folders", "f"), record("folders", "g")),
        notes=rows(record("notes", "n", folder_id="f")),
    )
    other = device.another()
    other.rows = defaultdict(dict)
    other.pull()
    edit = record("notes", "n", folder_id="g", _changed="folder_id")
    device.push(notes={"updated": [edit]})
    stale = record("notes", "n", folder_id="f", body="new", _changed="body")
    refused = other.push_raw({"notes": {"updated": [stale]}}, conflicts="reject")
    assert refused.status_code == 409
    other.push(notes={"updated": [stale]})
    # It was moved before the folder that the other device knows it in goes.
    device.pull()
    other.push(folders={"deleted": ["f"]})
    device.pull()
    assert device.rows["notes"]["n"] == record_of("notes", "n", folder_id="g", body="new")


def test_a_parent_with_thousands_of_children(pusher: Pusher) -> None:
    children = [record("folders", f"c{n}", parent_id="root") for n in range(MANY_IN_ONE)]
    pusher.push(folders=rows(*children, record("folders", "root")))
    pusher.push(folders={"deleted": ["root"]})
    assert pusher.expected.live() == {}


def test_a_long_chain_goes_with_its_first(pusher: Pusher) -> None:
    chain = [record("folders", f"c{n}", parent_id=f"c{n - 1}") for n in range(1, 400)]
    pusher.push(folders=rows(*chain, record("folders", "c0")))
    pusher.push(folders={"deleted": ["c0"]})
    assert pusher.expected.live() == {}


def test_a_shared_tree_moves_whole(device: Device) -> None:
    spaces = [make_space(device) for _ in range(2)]
    device.pull()
    ids = ["root", "branch", "leaf"]
    root, *others = (
        {"id": id_, "title": id_, "shelf_id": above, "space_id": spaces[0]}
        for id_, above in zip(ids, [None, *ids], strict=False)
    )
    device.push(shelves=rows(root, *others))
    device.pull()
    answer = device.push(shelves={"updated": [root | {"space_id": spaces[1]}]})
    assert answer["upToDate"] is False
    device.pull()
    moved = {row["id"]: row | {"space_id": spaces[1]} for row in (root, *others)}
    assert device.rows["shelves"] == moved
