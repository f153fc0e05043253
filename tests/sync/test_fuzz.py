"""Pushes and pulls of nearly the right shape: never a 5xx, never half applied, never stuck.

Hypothesis makes them; a failing one is printed, with what repeats it.
"""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api import Api, project, task
from tests.watermelon_model import ModelDevice

ids = st.sampled_from(["a", "A", "b", "p", "q", "x.-_", "0"]) | st.text(max_size=40)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(["\ud800", "x" * 300, "\0", "p", "a", "name", "name,title", 2**53, 1.5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ids, inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(
    [
        *("name", "title", "description", "is_completed", "project_id", "created_at", "updated_at"),
        *("_status", "_changed", "user_id", "created_at_ms", "is_deleted", "created_by", "future"),
    ]
)
record = st.builds(
    lambda id_, rest: {"id": id_} | rest, ids, st.dictionaries(names, junk, max_size=6)
)
mostly_records = st.lists(record | record | record | junk, max_size=4)
change = st.fixed_dictionaries(
    {},
    optional={
        "created": mostly_records | mostly_records | junk,
        "updated": mostly_records | mostly_records | junk,
        "deleted": st.lists(ids, max_size=4) | junk,
        "extra": junk,
    },
)
body = st.fixed_dictionaries(
    {}, optional={"projects": change | junk, "tasks": change | junk, "users": change | junk}
)
since = st.sampled_from(["null", "0", "1", "now", "ahead", "", "-1", "x"]) | st.text(max_size=10)


def hostile(settings_: int) -> Any:
    return settings(
        max_examples=settings_,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def test_no_push_does_harm(api: Api) -> None:
    mallory, victim = api.register(), api.register()
    p = project(id="p")
    victim.push(projects={"created": [p]}, tasks={"created": [task("p", id="a")]})
    victim.pull()
    before = dict(victim.rows["projects"]), dict(victim.rows["tasks"])

    @hostile(300)
    @given(body, since, st.booleans(), st.sampled_from([None, "merge", "reject", "x"]))
    def run(changes: Any, last_pulled_at: str, wrapped: bool, conflicts: str | None) -> None:
        reader = ModelDevice(mallory)
        reader.pull()
        known = reader.rows()
        moment = {"now": reader.last_pulled_at, "ahead": reader.last_pulled_at + 10**9}
        query: dict[str, Any] = {"last_pulled_at": moment.get(last_pulled_at, last_pulled_at)}
        if conflicts:
            query["conflicts"] = conflicts
        sent = json.dumps({"changes": changes} if wrapped else changes).encode()
        answer = mallory.push_raw(sent, **query)
        assert answer.status_code in (200, 400, 409, 422), answer.text
        if answer.status_code != 200:
            assert answer.mimetype == "application/problem+json"
        # A device can sync afterwards, knows everything, and no task is without its project.
        complete = reader.last_pulled_at
        reader.sync()
        newcomer = ModelDevice(mallory)
        newcomer.pull()
        assert reader.rows() == newcomer.rows()
        rows = newcomer.rows()
        assert {t["project_id"] for t in rows["tasks"].values()} <= rows["projects"].keys()
        if answer.status_code != 200:
            # All or nothing.
            assert rows == known
            assert reader.last_pulled_at == complete

    run()
    fresh = victim.another()
    fresh.pull()
    assert (fresh.rows["projects"], fresh.rows["tasks"]) == before


def test_no_pull_does_harm(api: Api) -> None:
    device = api.register()
    device.push(projects={"created": [project(id="p")]}, tasks={"created": [task("p")]})
    parameters = st.dictionaries(
        st.sampled_from(
            [
                *("last_pulled_at", "lastPulledAt", "schema_version", "migration", "limit"),
                *("cursor", "sendCreatedAsUpdated", "conflicts", "unknown"),
            ]
        ),
        junk | st.sampled_from(["1", "null", 1, 10, {"tables": ["tasks"]}, {"columns": []}]),
        max_size=5,
    )

    @hostile(200)
    @given(parameters, parameters)
    def run(query: Any, in_body: Any) -> None:
        asked = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in query.items()
        }
        asked = {n: v.encode("utf-8", "replace").decode() for n, v in asked.items()}
        for answer in (
            api.get("/sync", token=device.token, query_string=asked),
            api.post(
                "/sync/pull", json.dumps(in_body).encode(), token=device.token, query_string=asked
            ),
        ):
            assert answer.status_code in (200, 400), answer.text
            assert answer.is_json or answer.mimetype == "application/problem+json"

    run()
