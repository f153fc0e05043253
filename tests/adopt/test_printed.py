"""What `make client-schema` prints of an adopted schema is that schema, to the real client too."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from schema.adopt.declarations import parse
from schema.adopt.difference import bring_up
from schema.adopt.schema import Refused, following
from schema.client_schema import TAKEN
from tests.adopt import ADOPTABLE, CORPUS, column, read, reserved, schema
from tests.adopt.declared import printed
from tests.stack.test_client_schema import BINARIES, bundled, node
from tests.watermelon import HERE

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("watermelon_installed")]
PRINTED = Path(__file__).parent / "printed.js"


def declared(wanted: Any) -> str:
    return bring_up(parse(""), wanted, remove=False)[0].text


def client(folder: Path, modules: dict[str, str], *call: Any) -> Any:
    """Call a function of printed.js on modules that were printed."""
    if not modules:
        return json.loads(node("node", PRINTED, "-", json.dumps(call)))
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    entry = "".join(f"export * as {name} from './{name}'\n" for name in modules)
    (folder / "entry.js").write_text(entry)
    bundle = bundled(folder / "entry.js", folder / "bundle.js")
    return json.loads(node("node", PRINTED, bundle, json.dumps(call)))


def corpus() -> dict[str, Any]:
    found = {f"schema{n}": read(path) for n, path in enumerate(ADOPTABLE)}
    models = CORPUS / "with_models/model"
    found["with_models"] = read("with_models/schema.js", models=models)
    # The whole list would take minutes.
    words = reserved()
    found["reserved"] = words | {
        "tables": [t for t in words["tables"] if t["name"].endswith("words")]
    }
    # Without its migrations WatermelonDB starts only at version 1: see the test below.
    return {name: one for name, one in found.items() if one["migrations"] is not None}


def test_an_adopted_schema_is_printed_as_it_was_and_the_real_client_starts_with_it(
    tmp_path: Path,
) -> None:
    schemas = corpus()
    modules = {}
    for name, wanted in schemas.items():
        kept = following(None, wanted, [])
        modules[name], after = printed(declared(wanted), kept)
        assert after == kept
    found = client(tmp_path, modules, "schemas")
    for name, wanted in schemas.items():
        assert found[name] == {key: wanted[key] for key in ("version", "tables", "migrations")}


def test_the_types_of_every_printed_schema_hold(tmp_path: Path) -> None:
    for name, wanted in corpus().items():
        text, _ = printed(declared(wanted), following(None, wanted, []), typed=True)
        (tmp_path / f"{name}.ts").write_text(text)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    options = "--noEmit --strict --experimentalDecorators --skipLibCheck --target es2020"
    modules = "--module esnext --moduleResolution bundler"
    node(BINARIES / "tsc", *options.split(), *modules.split(), *tmp_path.glob("*.ts"))


def test_without_the_apps_migrations_none_are_printed_that_would_reset_a_database() -> None:
    wanted = schema({"tasks": [column("title")]}, version=4, migrations=None)
    text, kept = printed(declared(wanted), following(None, wanted, []))
    assert "schemaMigrations(" not in text.replace("schemaMigrations() with", "")
    assert "export const laterMigrations = []" in text
    newer = schema({"tasks": [column("title"), column("mood")]})
    text, kept = printed(declared(newer), kept)
    assert (kept["version"], kept["migrations"]) == (5, None)
    assert "The app's own migrations, up to version 4, are not known here" in text
    assert "toVersion: 5" in text and "addColumns({" in text


FIRST = schema(
    {
        "tasks": [column("title"), column("mood", isOptional=True), column("stars", "number")],
        "notes": [column("body")],
    }
)
SECOND = schema(
    {
        "tasks": [
            column("title"),
            column("stars"),
            column("is_done", "boolean", isIndexed=True),
            column("due", "number", isOptional=True),
        ],
        "labels": [column("name", isIndexed=True)],
    }
)


def test_a_database_of_the_version_before_is_migrated_with_what_was_not_pushed(
    tmp_path: Path,
) -> None:
    first, kept = printed(declared(FIRST), None)
    assert kept["version"] == 1
    second, kept = printed(declared(SECOND), kept)
    assert kept["version"] == 2
    assert "// tasks.mood is gone: devices keep what they have of it" in second
    assert "// notes is gone" in second and "notes.body" not in second
    assert "// tasks.stars was a number and is a string" in second
    assert printed(declared(SECOND), kept) == (second, kept)
    row = {"id": "t1", "title": "unpushed", "mood": "good", "stars": 3}
    found = client(tmp_path, {"v1": first, "v2": second}, "migrate", "v1", "v2", "tasks", row)
    [migrated] = found["rows"]
    assert migrated["_status"] == "created"
    assert {name: migrated[name] for name in ("id", "title", "is_done", "due")} == {
        "id": "t1",
        "title": "unpushed",
        "is_done": False,
        "due": None,
    }
    assert found["tables"] == ["tasks", "labels"]
    # The same on the devices' SQLite.
    before, steps, fresh = found["sql"]
    old, new = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    old.executescript(before)
    old.execute("INSERT INTO tasks (id, _status, title) VALUES ('t1', 'created', 'unpushed')")
    old.executescript(steps)
    new.executescript(fresh)
    for table in ("tasks", "labels"):
        names = [
            {name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")}
            for database in (old, new)
        ]
        assert names[0] >= names[1]
    assert old.execute("SELECT _status, title, is_done FROM tasks").fetchall() == [
        ("created", "unpushed", 0)
    ]


def test_a_name_that_devices_may_still_have_is_refused() -> None:
    _, kept = printed(declared(FIRST), None)
    _, kept = printed(declared(SECOND), kept)
    for tables in ({"notes": []}, {"tasks": [column("MOOD")]}):
        with pytest.raises(Refused, match=r"Devices may still have .*Choose another name"):
            printed(declared(schema(tables)), kept)


def test_what_only_older_versions_of_the_app_have_is_not_printed() -> None:
    kept = following(following(None, FIRST, []), SECOND | {"version": 2}, ["tasks.mood", "notes"])
    assert kept["retired"] == ["tasks.mood", "notes"]
    both = schema(
        {
            "tasks": [*SECOND["tables"][0]["columns"], column("mood", isOptional=True)],
            "labels": SECOND["tables"][1]["columns"],
            "notes": [column("body")],
        }
    )
    text, after = printed(declared(both), kept)
    assert after == kept
    assert "mood" not in text and "notes" not in text


def test_the_order_of_tables_is_no_new_version() -> None:
    _, kept = printed(declared(FIRST), None)
    _, after = printed(declared(schema(dict(reversed(_columns(FIRST))))), kept)
    assert after["version"] == 1


def _columns(of: Any) -> list[Any]:
    return [(table["name"], table["columns"]) for table in of["tables"]]


def test_the_members_that_watermelondb_has_itself_are_known() -> None:
    own = {name for name in client(Path(), {}, "own") if not name.startswith("_")}
    assert own <= TAKEN


MEMBERS = schema(
    {
        "posts": [
            column("comments", "number"),
            column("collection"),
            column("update"),
            column("author"),
            column("get"),
            column("createdAt"),
            column("updatedAt"),
            column("created_at", "number"),
            column("meta", isOptional=True),
        ],
        "comments": [column("post_id"), column("hidden_in", isOptional=True), column("author")],
        "people": [column("parent_id", isOptional=True)],
        "relations": [column("_x")],
        "maps": [],
    },
    relations=[
        {"table": table, "column": name, "parent": parent, "on_delete": "keep", "why": "models"}
        for table, name, parent in (
            ("posts", "author", "people"),
            ("comments", "post_id", "posts"),
            ("comments", "hidden_in", "posts"),
            ("comments", "author", "people"),
            ("people", "parent_id", "people"),
        )
    ],
    models={"posts": {"columns": {"meta": "json"}}},
)


def test_members_that_would_collide_have_names_of_their_own(tmp_path: Path) -> None:
    text, _ = printed(declared(MEMBERS), following(None, MEMBERS, []))
    assert "class MapRecord extends Model" in text and "class RelationRecord extends Model" in text
    used = client(tmp_path, {"app": text}, "members", "app")
    assert used == {
        "values": [7, "all", "later", "got", "said", {"a": [1]}],
        "isDate": True,
        "author": True,
        "shown": ["shown"],
        "hidden": ["hidden"],
        "people": ["bob"],
        "comments": ["shown"],
        "parent": True,
    }
