"""A push to one's own space ends the same for a user who is in other spaces, with rules and without."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.models.rules import Change, refuse
from tests.api import Api, Device
from tests.histories import tried
from tests.rules import ruled
from tests.sharing import make_space

PROJECTS, TASKS = ("p0", "p1", "p2"), ("t0", "t1", "t2", "t3")
name = st.sampled_from(["a", "b", "n" * 300, 7, None])
changed = st.sampled_from(["", "name,title", "project_id", None])
AT = {"created_at": 1, "updated_at": 2}


def records(ids: tuple[str, ...], **columns: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Records of some of these ids, each with some of the columns."""
    record = st.fixed_dictionaries({"id": st.sampled_from(ids)}, optional=columns)
    return st.lists(record, max_size=3, unique_by=lambda record: record["id"])


project_records = records(PROJECTS, name=name, _changed=changed)
task_records = records(
    TASKS,
    title=name,
    project_id=st.sampled_from([*PROJECTS, "none", "no id", None, 5]),
    _changed=changed,
)


@st.composite
def pushes(draw: st.DrawFn) -> dict[str, Any]:
    """The changes of a push; each id once in a table."""
    found: dict[str, Any] = {}
    for table, strategy, ids in (
        ("projects", project_records, PROJECTS),
        ("tasks", task_records, TASKS),
    ):
        sent = draw(strategy)
        cut = draw(st.integers(0, len(sent)))
        left = [id_ for id_ in ids if id_ not in {record["id"] for record in sent}]
        found[table] = {
            "created": [AT | record for record in sent[:cut]],
            "updated": sent[cut:],
            "deleted": draw(st.lists(st.sampled_from(left), unique=True)) if left else [],
        }
    return found


def shout(change: Change) -> Any:
    return {"title": change.after["title"].upper()} if change.after else None


def count(change: Change) -> Any:
    return {"description": f"{change.count('projects')} {change.count('tasks')}"}


def adopt(change: Change) -> Any:
    """Change a relation, by what is found."""
    if change.after and change.after["title"] == "B" and change.find("projects", "p0"):
        return {"project_id": "p0"}
    return None


def not_a(change: Change) -> Any:
    return refuse("not_a") if change.after and change.after["name"] == "a" else None


def keep_p2(change: Change) -> Any:
    return refuse("kept") if change.after is None and change.before["id"] == "p2" else None


RULES: dict[str, dict[str, Any]] = {
    "none": {},
    "changing": {"projects": lambda c: count(c) if c.after else None, "tasks": [shout, adopt]},
    "refusing": {"projects": [not_a, keep_p2], "tasks": shout},
}


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, without ticks and the order of ids."""
    return {
        member: {table: sorted(ids) for table, ids in said.items()}
        if member != "upToDate"
        else said
        for member, said in answer.items()
        if member not in ("timestamp", "refusedReasons")
    } | {"refusedReasons": answer["refusedReasons"]}


@pytest.mark.parametrize("rules", RULES)
def test_a_push_to_ones_own_space_ends_the_same_for_who_is_in_others(api: Api, rules: str) -> None:
    @settings(max_examples=tried(25), deadline=None, suppress_health_check=list(HealthCheck))
    @given(history=st.lists(st.tuples(pushes(), st.booleans()), min_size=1, max_size=4))
    def run(history: list[tuple[dict[str, Any], bool]]) -> None:
        alone, member = api.register(), api.register()
        make_space(member)
        devices: tuple[Device, Device] = (alone, member)
        for changes, pulls in history:
            answers = [device.push_raw(changes) for device in devices]
            assert {answer.status_code for answer in answers} == {200}
            assert told(answers[0].json) == told(answers[1].json)
            if pulls:
                for device in devices:
                    device.pull()
        ends = [device.another() for device in devices]
        for device in (*ends, *devices):
            device.pull()
        assert ends[0].rows == ends[1].rows
        for device, end in zip(devices, ends, strict=True):
            assert device.rows == end.rows

    with ruled(**RULES[rules]):
        run()
