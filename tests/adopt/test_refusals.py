"""What cannot be adopted is refused in one sentence that says what is wrong."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.adopt.schema import Refused
from tests import watermelon
from tests.adopt import column, read
from tests.conftest import lacking

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing.ts", "There is no "),
        (".", "is a folder: give the module that calls appSchema()"),
        ("broken.ts", "broken.ts cannot be read: Expected identifier"),
        ("throws.js", "throws.js fails when it is loaded: TypeError: half a schema"),
        ("exits.js", "ends the process with process.exit()"),
        ("no_schema.js", "has no result of appSchema(): export it"),
        ("depends_on_name.ts", "The name of a table depends on react-native-config.PREFIX"),
        ("depends_on_spread.ts", "`columns` of 'logs' depends on @acme/columns.base"),
        ("passed_on/schema.ts", "isOptional of 'logs.line' depends on @acme/columns.isOptional"),
        ("depends_on_flag.ts", "The column 'logs.line' depends on ./missing.common"),
    ],
)
def test_what_does_not_load_or_depends_on_what_is_not_here(path: str, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        read(path)
    said = str(refused.value)
    assert sentence in said
    assert said.endswith(".") and "\n" not in said


def test_a_module_that_loops_is_ended() -> None:
    with pytest.raises(Refused, match="was not loaded after 2 seconds: it waits or loops"):
        read("loops.js", time_limit_s=2)


@pytest.mark.parametrize(
    "ending", ["process.kill(process.pid)", "process.abort()", "process.reallyExit(0)"]
)
def test_a_module_that_ends_node_otherwise_is_no_schema(tmp_path: Path, ending: str) -> None:
    (tmp_path / "schema.js").write_text(ending)
    with pytest.raises(Refused, match=r"ends the process with|ended Node \(0\) before"):
        read(tmp_path / "schema.js")


PROMISED = """
import { appSchema, tableSchema } from '@nozbe/watermelondb'
const make = (name) => appSchema({ version: 1, tables: [tableSchema({ name, columns: [] })] })
const wait = () => new Promise((resolve) => setTimeout(resolve, 10))
"""


@pytest.mark.parametrize(
    ("exports", "name"),
    [
        ("export const schema = make('a'); export default (async () => make('b'))()", "default"),
        ("export const schema = make('a'); export const other = wait().then(() => make('b'))", ""),
        ("export const schema = wait().then(() => make('a'))", "schema"),
        ("export const db = { schema: Promise.resolve(make('a')) }", "db.schema"),
        ("export const schema = wait().then(() => ({ default: make('a') }))", "schema"),
    ],
)
def test_a_promise_of_a_schema_is_refused_beside_a_schema_too(
    tmp_path: Path, exports: str, name: str
) -> None:
    (tmp_path / "schema.js").write_text(PROMISED + exports)
    with pytest.raises(Refused, match=f"exports a promise of a schema as '{name}"):
        read(tmp_path / "schema.js")
    if "." not in name:
        with pytest.raises(Refused, match="exports a promise of a schema as"):
            read(tmp_path / "schema.js", export=name or "other")


def test_several_schemas_that_no_export_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "schema.js").write_text(f"{PROMISED} export const all = [make('a'), make('b')]\n")
    with pytest.raises(Refused, match="makes 2 schemas and exports none of them"):
        read(tmp_path / "schema.js")


def test_promises_of_something_else_are_the_apps_own(tmp_path: Path) -> None:
    (tmp_path / "schema.js").write_text(
        f"{PROMISED} export const schema = make('a'); export const never = new Promise(() => {{}})\n"
        "export const fails = Promise.reject(new Error('no')); export const db = wait()"
    )
    assert [one["name"] for one in read(tmp_path / "schema.js")["tables"]] == ["a"]


def table(name: Any, *columns: Any) -> dict[str, Any]:
    return {"name": name, "columns": list(columns)}


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ([table("a", column("b"), column("b"))], "The column of 'a' 'b' is declared twice"),
        ([table("a", column("b"), column("B"))], "'B' and 'b' differ only by case"),
        ([table("a"), table("a")], "The table 'a' is declared twice"),
        ([table("a"), table("A")], "The table 'A' and 'a' differ only by case"),
        ([table("a", column("_deleted"))], "'a._deleted' is a name of the export's own"),
        ([table("a", column("b", "text"))], "'a.b' is of type 'text'; WatermelonDB knows string"),
        ([table("a", {"name": "b"})], "'a.b' is of type undefined;"),
        ([table("a", {"type": "string"})], "The name of a column of 'a' is missing"),
        ([table("a", column("id"))], "'id', the name of a column of 'a', is reserved"),
        ([table("a", column("_Status"))], "is reserved"),
        ([table("local_storage")], "'local_storage', the name of a table, is reserved"),
        ([table("a b")], "'a b', the name of a table, is refused by WatermelonDB"),
        ([table("a", column("created_at"))], "'a.created_at' must be a number and not optional"),
        ([table("a", column("last_modified"))], "'a.last_modified' must be a number"),
        ([{"name": "a"}], "`columns` of 'a' must be a list"),
        ([table("a", None)], "`columns` of 'a' must be a list of objects; one of them is null"),
        ([7], "`tables` of appSchema() must be a list of objects; one of them is 7"),
        ({"a": {"name": "b", "columns": []}}, "The table 'a' calls itself 'b'"),
        ({"a": {"columns": {"b": column("c")}}}, "The column of 'a' 'b' calls itself 'c'"),
        ({"a": {"columns": {"b": "string"}}}, "The column of 'a' 'b' is no object"),
        ({"a": []}, "`columns` of 'a' must be a list"),
        ([table(7)], "The name of a table is missing or no text"),
        ([table("a", column(["b"]))], "The name of a column of 'a' is missing or no text"),
        ([table("a", column("b", ["string"]))], "'a.b' is of type [ 'string' ]; WatermelonDB"),
        ([table("a", column("b", isOptional="yes"))], "isOptional of 'a.b' is 'yes'; it must be"),
        ([table("a", column("b", isOptional="false"))], "is 'false'; it must be true or false"),
        ([table("a", column("b", isIndexed=1))], "isIndexed of 'a.b' is 1; it must be true or"),
        ([table("a", column("b", isIndexed=None))], "isIndexed of 'a.b' is null; it must be"),
        ([table("a", column("b", isIndexed={}))], "isIndexed of 'a.b' is {}; it must be true"),
        ([table("a") | {"unsafeSql": "x"}], "unsafeSql of the table 'a' must be a function"),
        ([table("a") | {"columns": "b"}], "`columns` of 'a' must be a list"),
        (
            [table("a", column("b")) | {"columnArray": []}],
            "`columns` and `columnArray` of 'a' differ: leave one of them out",
        ),
    ],
)
def test_schemas_that_no_device_could_have(tmp_path: Path, tables: Any, sentence: str) -> None:
    (tmp_path / "schema.json").write_text(json.dumps({"version": 1, "tables": tables}))
    with pytest.raises(Refused) as refused:
        read(tmp_path / "schema.json")
    assert sentence in str(refused.value)


JSON = ['{"tables": []}', "[]", '{"version": 1}', "7", "null", '{"version": 1, "tables": null}']


@pytest.mark.parametrize("text", [*JSON, '{"version": 1, "tables": "a"}'])
def test_json_that_is_no_schema_is_told_what_one_has(tmp_path: Path, text: str) -> None:
    (tmp_path / "schema.json").write_text(text)
    with pytest.raises(Refused, match="must be an object with `version` and `tables`"):
        read(tmp_path / "schema.json")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ("appSchema()", "appSchema() is called with undefined; it must be an object"),
        ("tableSchema('a')", "tableSchema() is called with 'a'; it must be an object"),
        ("addColumns(null)", "addColumns() is called with null; it must be an object"),
        ("schemaMigrations(7)", "schemaMigrations() is called with 7; it must be an object"),
        (
            "tableSchema({ name: 'a', columns: [, { name: 'b', type: 'string' }] })",
            "`columns` of 'a' must be a list of objects; one of them is undefined",
        ),
    ],
)
def test_calls_that_watermelondb_could_not_read(tmp_path: Path, made: str, sentence: str) -> None:
    (tmp_path / "schema.js").write_text(
        f"""
        import {{ appSchema, tableSchema }} from '@nozbe/watermelondb'
        import {{ addColumns, schemaMigrations }} from '@nozbe/watermelondb/Schema/migrations'
        export const made = {made}
        export const schema = appSchema({{ version: 1, tables: [] }})
        """
    )
    with pytest.raises(Refused) as refused:
        read(tmp_path / "schema.js")
    assert sentence in str(refused.value)


def test_json_with_a_table_twice_is_refused_before_one_of_them_is_lost(tmp_path: Path) -> None:
    text = '{"version": 1, "tables": {"a": {"columns": []}, "a": {"columns": []}}}'
    (tmp_path / "schema.json").write_text(text)
    with pytest.raises(Refused, match='cannot be read: SyntaxError: Duplicate key "a"'):
        read(tmp_path / "schema.json")


@pytest.mark.parametrize("version", [0, -1, 1.5, "1", None, [1], True])
def test_versions_that_watermelondb_does_not_count(tmp_path: Path, version: Any) -> None:
    (tmp_path / "schema.json").write_text(json.dumps({"version": version, "tables": []}))
    with pytest.raises(Refused, match=r"The schema's version is .*; it must be 1, 2, 3"):
        read(tmp_path / "schema.json")


@pytest.mark.parametrize(
    ("migrations", "sentence"),
    [
        ("[]", "is version 3 and its migrations end at 1: WatermelonDB would not start"),
        ("[{ toVersion: 3, steps: [] }, { toVersion: 5, steps: [] }]", "4 is to follow, not 5"),
        ("[{ toVersion: 1, steps: [] }]", "A migration is to version 1; the first is to 2"),
        ("[{ toVersion: 3, steps: [{}] }]", "has a step that is none of createTable"),
        ("[{ toVersion: 3, steps: [unsafeExecuteSql('x')] }]", "ends with a semicolon"),
        (
            "[{ toVersion: 3, steps: [addColumns({ table: 'a' })] }]",
            "`columns` of 'a' must be a list",
        ),
        ("[{ toVersion: '3', steps: [] }]", "A migration is to version '3'; the first is to 2"),
        ("[{ toVersion: 3 }]", "`steps` of the migration to version 3 must be a list"),
        ("[{ toVersion: 3, steps: [{ type: 'create_table' }] }]", "creates a table without a"),
        (
            "[{ toVersion: 3, steps: [{ type: 'add_columns', table: 'a', columns: [{}] }] }]",
            "The name of a column of 'a' is missing or no text",
        ),
        ("[{ toVersion: 3, steps: [{ type: 'sql', sql: 7 }] }]", "must be a text that ends with"),
    ],
)
def test_migrations_with_which_watermelondb_would_not_start(
    tmp_path: Path, migrations: str, sentence: str
) -> None:
    (tmp_path / "schema.js").write_text(
        f"""
        import {{ appSchema }} from '@nozbe/watermelondb'
        import * as migrating from '@nozbe/watermelondb/Schema/migrations'
        const {{ addColumns, schemaMigrations, unsafeExecuteSql }} = migrating
        export const schema = appSchema({{ version: 3, tables: [] }})
        export const migrations = schemaMigrations({{ migrations: {migrations} }})
        """
    )
    with pytest.raises(Refused) as refused:
        read(tmp_path / "schema.js")
    assert sentence in str(refused.value)


ORACLE = """
const { tableSchema } = require('@nozbe/watermelondb/Schema')
console.error = () => {}
const passes = (make) => { try { make(); return true } catch { return false } }
const names = JSON.parse(process.argv[1])
console.log(JSON.stringify(names.map(([table, column, type, isOptional]) =>
  passes(() => tableSchema({ name: table, columns: [{ name: column, type, isOptional }] })))))
"""
STAND_IN = ORACLE.replace("@nozbe/watermelondb/Schema", "./watermelondb.cjs")

ODD = (
    "id ID _status local_storage rowid oid sqlite_stat1 __x constructor $loki toString created_at"
    " updated_at last_modified _ _rowid_ sqlite_master valueOf"
)
odd = st.sampled_from(ODD.split())
names = st.one_of(odd, st.text(max_size=8), st.from_regex(r"\A[A-Za-z_]\w{0,8}\Z"))
tries = st.lists(
    st.tuples(
        names, names, st.sampled_from(["string", "number", "boolean", "date", ""]), st.booleans()
    ),
    min_size=50,
    max_size=50,
)


@settings(
    deadline=None, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tries=tries)
def test_names_and_types_are_refused_where_watermelondb_refuses_them(tries: list[Any]) -> None:
    if missing := watermelon.prepare():
        lacking(missing)

    def passed(code: str, folder: Path) -> Any:
        command = [str(shutil.which("node")), "-e", code, json.dumps(tries)]
        return json.loads(
            subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
        )

    reader = Path(__file__).parent.parent.parent / "schema/adopt/reader"
    assert passed(STAND_IN, reader) == passed(ORACLE, watermelon.HERE)
