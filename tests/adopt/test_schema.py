"""What is kept of a schema follows from what was kept before."""

import json

from schema.adopt.schema import doubts, following, text
from tests.adopt import column, schema

FIRST = schema(
    {"tasks": [column("title"), column("mood")], "notes": []},
    version=2,
    migrations=[{"toVersion": 2, "steps": [{"type": "sql", "sql": "select '{ \n  }';"}]}],
    models={"tasks": {"class": "Todo"}, "notes": {"class": "Note"}},
)


def test_the_file_has_a_line_for_each_column_and_reads_as_it_was() -> None:
    kept = following(None, FIRST, [])
    assert json.loads(text(kept)) == kept
    line = '{ "name": "mood", "type": "string", "isOptional": false, "isIndexed": false }'
    assert f"        {line}\n" in text(kept)
    assert text(following(kept, FIRST, [])) == text(kept)


def test_what_the_app_had_and_has_no_more_is_retired_until_it_is_back_or_removed() -> None:
    kept = following(None, FIRST, [])
    newer = schema({"tasks": [column("title")]}, version=3, migrations=None)
    declared = ["tasks.mood", "notes", "by_hand"]
    retired = following(kept, newer, declared)
    assert retired["retired"] == ["tasks.mood", "notes"]
    assert following(retired, newer, declared)["retired"] == ["tasks.mood", "notes"]
    assert following(retired, FIRST, ["by_hand"])["retired"] == []
    assert following(retired, newer, [])["retired"] == []


def test_what_was_not_read_this_time_is_remembered() -> None:
    kept = following(None, FIRST, [])
    again = FIRST | {"migrations": None, "models": {"tasks": {"class": "Task"}}}
    assert following(kept, again, [])["migrations"] == FIRST["migrations"]
    assert following(kept, again, [])["models"] == {
        "notes": {"class": "Note"},
        "tasks": {"class": "Task"},
    }
    newer = schema({"tasks": []}, version=3, migrations=None)
    assert following(kept, newer, [])["migrations"] is None
    assert following(kept, newer, [])["models"] == {"tasks": {"class": "Todo"}}


def test_a_version_that_does_not_follow_is_named() -> None:
    kept = following(None, FIRST, [])
    assert doubts(None, FIRST) == doubts(kept, FIRST) == []
    assert doubts(kept, schema({"a": []}, version=3)) == []
    [older] = doubts(kept, schema({"a": []}, version=1))
    assert older == "The schema is version 1; the one that client/schema.json had was 2."
    [same] = doubts(kept, schema({"a": []}, version=2))
    assert same.startswith(
        "The schema changed and is still version 2: devices that are out do not get"
    )
