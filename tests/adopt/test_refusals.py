"""What cannot be adopted is refused in one sentence that says what is wrong."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.adopt.schema import Refused
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


def table(name: str, *columns: Any) -> dict[str, Any]:
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
        ([table("a", {"name": "b"})], "'a.b' is of type 'undefined'"),
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
    ],
)
def test_schemas_that_no_device_could_have(tmp_path: Path, tables: Any, sentence: str) -> None:
    (tmp_path / "schema.json").write_text(json.dumps({"version": 1, "tables": tables}))
    with pytest.raises(Refused) as refused:
        read(tmp_path / "schema.json")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("version", [0, -1, 1.5, "1", None])
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

    reader = Path(__file__).parent.parent.parent / "deploy/adopt/reader"
    assert passed(STAND_IN, reader) == passed(ORACLE, watermelon.HERE)
