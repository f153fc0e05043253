"""What is declared is the schema, formatted as ruff would; what was written by hand stays."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.adopt.declarations import parse
from schema.adopt.difference import bring_up
from schema.adopt.schema import Refused, names_of
from shared.models.declaration import RESERVED
from tests.adopt import ADOPTABLE, CORPUS, column, read, reserved, schema
from tests.adopt.declared import wire_schema
from tests.conftest import ROOT, Backend

pytestmark = pytest.mark.stack

RUFF = Path(sys.executable).parent / "ruff"


def adopted(wanted: Any, text: str = "", *, remove: bool = False) -> str:
    return bring_up(parse(text), wanted, remove=remove)[0].text


def check_format(text: str) -> None:
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [RUFF, *command, "--stdin-filename=shared/models/app.py", "-"],
            cwd=ROOT,
            input=text,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [*ADOPTABLE, "reserved"])
def test_what_is_declared_is_the_schema(path: str) -> None:
    models = CORPUS / "with_models/model" if path.startswith("with_models") else None
    wanted = reserved() if path == "reserved" else read(path, models=models)
    text = adopted(wanted)
    assert wire_schema(text) == wanted["tables"]
    check_format(text)
    again, difference = bring_up(parse(text), wanted, remove=True)
    assert again.text == text
    assert not (difference.migrates or difference.gone or difference.altered or difference.proposed)


def test_every_reserved_word_is_a_table_and_a_column_on_every_engine(backend: Backend) -> None:
    url, _ = backend.new_database("reserved")
    wanted = reserved()
    assert wire_schema(adopted(wanted), url) == wanted["tables"]


wire_names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,70}\Z", fullmatch=True).filter(
    lambda name: not name.startswith("__") and name.lower() not in RESERVED
)
columns = st.lists(
    st.builds(
        column,
        wire_names,
        st.sampled_from(["string", "number", "boolean"]),
        isOptional=st.booleans(),
        isIndexed=st.booleans(),
    ),
    unique_by=lambda one: one["name"].lower(),
    max_size=6,
)
tables = st.lists(
    st.tuples(wire_names, columns), unique_by=lambda one: one[0].lower(), min_size=1, max_size=4
)


@settings(deadline=None, max_examples=30)
@given(tables=tables, later=tables)
def test_any_schema_can_be_declared_and_brought_up_to_any_other(tables: Any, later: Any) -> None:
    first, second = schema(dict(tables)), schema(dict(later))
    text = adopted(first)
    assert wire_schema(text) == first["tables"]
    types = {(name, one["name"]): one["type"] for name, found in tables for one in found}
    if any(
        types.get((name, one["name"]), one["type"]) != one["type"]
        for name, found in later
        for one in found
    ):
        with pytest.raises(Refused, match="give the new column another name"):
            adopted(second, text, remove=True)
        return
    newer = adopted(second, text, remove=True)
    assert wire_schema(newer) == second["tables"]
    assert adopted(second, newer) == newer
    known = {*names_of(first["tables"]), *names_of(second["tables"])}
    if len({name.lower() for name in known}) < len(known):
        # What was kept and what is new may have one name but for case; the server says so.
        return
    both = adopted(second, text)
    assert wire_schema(both)[: len(later)] != [] and adopted(second, both) == both


FIRST = schema(
    {
        "tasks": [column("title"), column("project_id", isIndexed=True), column("stars", "number")],
        "projects": [column("name")],
    },
    relations=[
        {
            "table": "tasks",
            "column": "project_id",
            "parent": "projects",
            "on_delete": "keep",
            "why": "name",
        }
    ],
)


TITLE = "    #: Short.\n    title: Mapped[str] = columns.string(200)  # ours"


def by_hand(text: str) -> str:
    """Everything that somebody may have done to the module since."""
    for old, new in {
        "class Task(": "# What is to be done.\nclass Todo(",
        '"keep")  # confirm: by its name': '"cascade")',
        "    title: Mapped[str] = columns.string()": TITLE,
        "Mapped[float] = columns.number()": "Mapped[int] = columns.integer()",
        "The app's table `projects`.": "What belongs together.",
    }.items():
        assert old in text
        text = text.replace(old, new)
    return text + '\n\ndef helper() -> None:\n    """Help."""\n'


def test_what_was_written_by_hand_stays() -> None:
    text = by_hand(adopted(FIRST))
    assert adopted(FIRST, text) == text
    newer = schema(
        {
            "labels": [],
            "tasks": [
                column("from"),
                *FIRST["tables"][0]["columns"],
                column("notes", isOptional=True),
            ],
            "projects": [column("name", isOptional=True)],
        },
        version=2,
    )
    module, difference = bring_up(parse(text), newer, remove=False)
    assert (difference.tables, difference.columns) == (["labels"], ["tasks.from", "tasks.notes"])
    assert difference.altered == ["projects.name is optional now"]
    assert difference.migrates
    for line in (
        "# What is to be done.\nclass Todo(Synced, Base):\n",
        f'    from_: Mapped[str] = columns.string(name="from")\n{TITLE}\n',
        '    project_id: Mapped[str] = columns.relation("projects", "cascade")\n',
        "    stars: Mapped[int] = columns.integer()\n    notes: Mapped[str | None] = columns.string()\n",
        '"""What belongs together."""\n',
        "    name: Mapped[str | None] = columns.string()\n\n\ndef helper() -> None:\n",
    ):
        assert line in module.text
    check_format(module.text)


def test_an_app_that_shares_a_table_adopts_its_space_id_as_what_it_is() -> None:
    lines = adopted(FIRST).splitlines()
    at = next(number for number, line in enumerate(lines) if "__tablename__" in line)
    text = "\n".join([*lines[: at + 1], "    SHAREABLE = True", *lines[at + 1 :]]) + "\n"
    newer = deepcopy(FIRST)
    newer["tables"][0]["columns"].append(column("space_id", isOptional=True))
    assert adopted(newer, text) == text
    assert wire_schema(text)[0]["columns"][-1] == column("space_id", isOptional=True)


def test_what_the_schema_has_no_more_is_kept_until_told() -> None:
    text = adopted(FIRST)
    newer = schema({"tasks": [column("title"), column("project_id", isIndexed=True)]}, version=2)
    module, difference = bring_up(parse(text), newer, remove=False)
    assert difference.gone == ["tasks.stars", "projects"]
    assert not difference.migrates
    assert wire_schema(module.text) == FIRST["tables"]
    module, difference = bring_up(parse(text), newer, remove=True)
    assert difference.gone == ["tasks.stars", "projects"]
    assert difference.migrates
    assert wire_schema(module.text) == newer["tables"]
    # What named its rows is a plain column now: nothing may refer to a table that is not there.
    assert "relation" not in module.text


def test_only_what_the_database_holds_is_migrated() -> None:
    text = adopted(FIRST)
    tables = FIRST["tables"]
    optional, indexed, both = deepcopy(tables), deepcopy(tables), deepcopy(tables)
    indexed[0]["columns"][0]["isIndexed"] = True
    optional[0]["columns"][0]["isOptional"] = True
    both[0]["columns"][1]["isOptional"] = True
    enforced = text.replace('"keep"', '"cascade"')
    for before, now, migrates in (
        (text, indexed, False),
        (text, optional, True),
        (text, both, True),
        (enforced, both, False),
    ):
        module, difference = bring_up(parse(before), FIRST | {"tables": now}, remove=False)
        assert len(difference.altered) == 1
        assert difference.migrates is migrates
        assert wire_schema(module.text) == now


def test_a_column_of_another_type_is_refused() -> None:
    newer = schema({"tasks": [column("stars", "string")]})
    with pytest.raises(
        Refused, match=r"tasks.stars is declared as a number and a string in the schema"
    ):
        bring_up(parse(adopted(FIRST)), newer, remove=True)


def test_a_table_that_another_module_declares_is_refused() -> None:
    elsewhere = parse(adopted(FIRST)).tables
    with pytest.raises(Refused, match=r"The table tasks is declared outside shared/models/app.py"):
        bring_up(parse(""), FIRST, remove=False, elsewhere=elsewhere)


def test_relations_known_later_are_proposed_and_not_written() -> None:
    text = adopted(schema({"tasks": [column("project_id")], "projects": []}))
    known = FIRST | {"tables": wire_schema(text)}
    module, difference = bring_up(parse(text), known, remove=False)
    assert module.text == text
    assert difference.proposed == ['tasks.project_id: columns.relation("projects", "keep")']
