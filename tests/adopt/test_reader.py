"""The reader gets out of an app's schema module what WatermelonDB would, whatever else the module does."""

import json
from pathlib import Path
from typing import Any

import pytest

from schema.adopt.reader import read_schema
from schema.adopt.schema import Refused
from tests.adopt import ADOPTABLE, CORPUS, column, read

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("path", ADOPTABLE)
def test_every_table_column_and_flag_is_read_in_order(path: str) -> None:
    found = read(path)
    names = [table["name"] for table in found["tables"]]
    assert len(set(names)) == len(names) > 0
    for table in found["tables"]:
        for one in table["columns"]:
            assert list(one) == ["name", "type", "isOptional", "isIndexed"]
            assert one["type"] in ("string", "number", "boolean")
    # Another process finds the same.
    assert read_schema(CORPUS / path) == found


def test_what_the_apps_bundler_resolves_is_resolved() -> None:
    notebooks, notes = read("enums/src/db/schema.ts")["tables"]
    touched = [column("created_at", "number"), column("updated_at", "number")]
    assert notebooks == {"name": "notebooks", "columns": touched}
    flags = [column(f"is_{name}", "boolean") for name in ("pinned", "archived", "locked")]
    assert notes["columns"] == [
        column("notebook_id", isIndexed=True),
        column("body"),
        *flags,
        column("haptic", "number"),
        *touched,
    ]


def test_aliases_of_babel_are_resolved_too() -> None:
    found = read("aliased/app/schema.js")
    assert found["tables"] == [{"name": "ports", "columns": [column("is_open", "boolean")]}]
    assert found["replaced"] == {}


@pytest.mark.parametrize("start", ["\ufeff", "\ufeff// CRLF\r\n", "#!/usr/bin/env node\n"])
def test_files_as_other_systems_write_them(tmp_path: Path, start: str) -> None:
    odd = tmp_path / 'it\'s "ours" ü'
    odd.mkdir()
    (odd / "schema.js").write_text(start + (CORPUS / "commonjs/schema.js").read_text(), newline="")
    assert read(odd / "schema.js")["tables"] == read("commonjs/schema.js")["tables"]


def test_json_is_read_in_both_forms() -> None:
    assert read("as_returned.json")["tables"][1]["columns"] == [
        column("album_id", isIndexed=True),
        column("seconds", "number", isOptional=True),
    ]
    assert [table["name"] for table in read("as_list.json")["tables"]] == ["albums", "songs"]


def test_what_cannot_be_resolved_is_replaced_and_named() -> None:
    found = read("half_the_app/schema.ts")
    assert found["tables"] == [
        {"name": "pictures", "columns": [column("uri"), column("caption", isOptional=True)]}
    ]
    assert found["replaced"]["src/native.js"] == "throws Error: no camera"
    assert {"react-native", "./generated/at-build-time", "uuid"} <= found["replaced"].keys()


def test_what_the_module_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    found = read_schema(CORPUS / "prints.js")
    assert [table["name"] for table in found["tables"]] == ["logs"]
    out, err = capfd.readouterr()
    assert out == ""
    assert 'not this"}\nnor this\n' in err


def test_packages_that_are_installed_are_used_whatever_they_are_written_in(tmp_path: Path) -> None:
    def package(name: str, files: dict[str, str], **members: Any) -> None:
        folder = tmp_path / "node_modules" / name
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"name": name} | members))
        for file, text in files.items():
            (folder / file).write_text(text)

    package("plain", {"index.js": "exports.one = { name: 'one', type: 'string' }"})
    package(
        "modern",
        {"a.js": "export * from './b'", "b.js": "export const two = 'two'"},
        type="module",
        main="a.js",
    )
    package("native", {"index.js": "module.exports = (x: any) => <View>{x}"})
    package(
        "ours",
        {
            "index.js": "const { tableSchema } = require('@nozbe/watermelondb')\n"
            "exports.made = tableSchema({ name: 'made', columns: [] })"
        },
    )
    (tmp_path / "schema.ts").write_text(
        """
        import { appSchema, tableSchema } from '@nozbe/watermelondb'
        import { one } from 'plain'
        import { two } from 'modern'
        import View from 'native'
        import { made } from 'ours'
        export const view = View(1)
        export default appSchema({ version: 1, tables: [made, tableSchema({ name: two, columns: [one] })] })
        """
    )
    found = read(tmp_path / "schema.ts")
    assert found["tables"] == [
        {"name": "made", "columns": []},
        {"name": "two", "columns": [column("one")]},
    ]
    assert list(found["replaced"]) == ["native"]


def test_a_folder_of_the_apps_own_is_no_builtin_of_node(tmp_path: Path) -> None:
    (tmp_path / "constants.ts").write_text("export const NAME = 'mine'")
    (tmp_path / "tsconfig.json").write_text('{"compilerOptions": {"baseUrl": "."}}')
    (tmp_path / "schema.ts").write_text(
        "import { NAME } from 'constants'; import { appSchema, tableSchema } from '@nozbe/watermelondb'\n"
        "export default appSchema({ version: 1, tables: [tableSchema({ name: NAME, columns: [] })] })"
    )
    assert read(tmp_path / "schema.ts")["tables"] == [{"name": "mine", "columns": []}]


def test_migrations_are_found_beside_the_schema_and_put_in_order() -> None:
    found = read("migrated/schema.ts")
    assert found["migrations"] == [
        {
            "toVersion": 2,
            "steps": [
                {
                    "type": "create_table",
                    "name": "items",
                    "columns": [column("list_id", isIndexed=True)],
                }
            ],
        },
        {
            "toVersion": 3,
            "steps": [
                {
                    "type": "add_columns",
                    "table": "lists",
                    "columns": [column("color", isOptional=True)],
                },
                {"type": "sql", "sql": "update lists set color = 'red';"},
            ],
        },
    ]
    given = read("migrated/schema.ts", migrations=CORPUS / "migrated/migrations.ts")
    assert given["migrations"] == found["migrations"]
    assert read("as_returned.json")["migrations"] is None
    assert read("tree.ts")["migrations"] == []


def test_relations_are_proposed_by_name_and_are_kept_until_told_otherwise() -> None:
    assert read("two_parents.ts")["relations"] == [
        {"table": "comments", "column": name, "parent": parent, "on_delete": "keep", "why": "name"}
        for name, parent in (
            ("recipe_id", "recipes"),
            ("person_id", "people"),
            ("answered_comment_id", "comments"),
        )
    ]
    [tree] = read("tree.ts")["relations"]
    assert (tree["column"], tree["parent"]) == ("parent_id", "folders")
    assert len(read("cycles.ts")["relations"]) == 6


def test_relations_and_kinds_are_proposed_from_the_models() -> None:
    found = read("with_models/schema.js", models=CORPUS / "with_models/model")
    assert [
        (one["table"], one["column"], one["parent"], one["why"]) for one in found["relations"]
    ] == [
        ("posts", "author", "members", "models"),
        ("comments", "on", "posts", "models"),
        ("comments", "post_id", "posts", "name"),
    ]
    assert {name: model["class"] for name, model in found["models"].items()} == {
        "posts": "Article",
        "comments": "Remark",
        "members": "Member",
    }
    assert found["models"]["members"] == {
        "class": "Member",
        "associations": [],
        "relations": [],
        "columns": {"name": "json"},
    }
    assert found["models"]["posts"]["columns"] == {
        "meta": "json",
        "written_on": "date",
        "author": "text",
    }
    assert found["look"] == [
        "The models relate comments.gone_id to gone: the schema has no such column."
    ]
    one = read("with_models/schema.js", models=CORPUS / "with_models/model/Remark.js")
    assert one["models"]["comments"] == found["models"]["comments"]


def test_one_of_several_schemas_is_chosen_by_its_export() -> None:
    assert read("several.ts", export="cache")["tables"] == [{"name": "entries", "columns": []}]
    assert read("enums/src/db/schema.ts", export="default.app")["version"] == 1
    with pytest.raises(Refused, match=r"2 schemas \(cache, main\): choose one with EXPORT=name"):
        read("several.ts")
    with pytest.raises(Refused, match="exports no schema as 'other'"):
        read("several.ts", export="other")
