"""Pushes and pulls of nearly the right shape: never a 5xx, never half applied, never stuck.

Hypothesis makes them; a failing one is printed, with what repeats it.
"""

import json
from pathlib import Path
from typing import Any

import jwt
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api import Api, project, task
from tests.histories import tried
from tests.service import Service
from tests.sharing import join, make_space
from tests.watermelon_model import ModelDevice

#: Marks a text that is sent as it is: numbers that Python would not write.
RAW = "\u2063"
NUMBERS = ("1e400", "-1e400", "-0", "-0.0", "1E5", "9" * 400, "0." + "9" * 400, "1e-400")


def encode(value: Any) -> bytes:
    return json.dumps(value).replace(f'"{RAW}', "").replace(f'{RAW}"', "").encode()


def check(answer: Any, *expected: int) -> None:
    """The answer is a success or an error of the expected kinds, in JSON that strict parsers take."""
    assert answer.status_code in expected, answer.text
    assert (
        answer.mimetype == f"application/{'json' if answer.status_code == 200 else 'problem+json'}"
    )
    orjson.loads(answer.get_data())


ids = st.sampled_from(["a", "A", "b", "p", "q", "x.-_", "0"]) | st.text(max_size=40)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(["\ud800", "x" * 300, "\0", "p", "a", "name", "name,title", 2**53, 1.5])
    | st.sampled_from([f"{RAW}{number}{RAW}" for number in NUMBERS]),
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


def hostile(examples: int) -> Any:
    return settings(
        max_examples=tried(examples),
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
        sent = encode({"changes": changes} if wrapped else changes)
        answer = mallory.push_raw(sent, **query)
        check(answer, 200, 400, 409, 422)
        # Never longer than the question by more than what every answer has.
        assert len(answer.get_data()) < 3 * len(sent) + 12_000
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


def test_no_push_to_spaces_does_harm_whoever_sends_it(api: Api, service: Service) -> None:
    """By a member's device, and by the app's own server, which may write everywhere."""
    mallory, owner, stranger = (api.register() for _ in range(3))
    space, others = make_space(owner), make_space(stranger)
    join(owner, space, mallory)
    stranger.push(projects={"created": [project(id="p", space_id=others)]})
    # What may be in more than one place.
    owner.push(projects={"created": [project(id="p", space_id=space), project(id="q")]})
    owner.push(tasks={"created": [task("p", id="a"), task("q", id="b")]})
    places = st.sampled_from([space, space, others, mallory.user_id, owner.user_id, None, ""])
    parents = st.sampled_from(["p", "q", "a"])
    safe = st.sampled_from([*"abpqxyz"])

    def table(column: str, values: Any) -> Any:
        """Changes in which no id comes twice, which would be refused whole."""
        rest = st.dictionaries(names, junk, max_size=3) | st.just({})
        row = st.builds(lambda rest, value: {**rest, column: value}, rest, values | values | junk)
        return st.dictionaries(
            safe, st.tuples(st.sampled_from(["created", "updated", "deleted"]), row), max_size=5
        ).map(
            lambda rows: {
                word: [id_ if word == "deleted" else {**row, "id": id_} for id_, row in some]
                for word in ("created", "updated", "deleted")
                for some in [[(id_, row) for id_, (own, row) in rows.items() if own == word]]
            }
        )

    @hostile(150)
    @given(
        table("space_id", places),
        table("project_id", parents),
        st.sampled_from(["device", space, mallory.user_id]),
    )
    def run(projects: Any, tasks: Any, who: str) -> None:
        reader = ModelDevice(mallory)
        reader.pull()
        sent = {"changes": {"projects": projects, "tasks": tasks}}
        if who == "device":
            answer = mallory.push_raw(encode(sent), last_pulled_at=str(reader.last_pulled_at))
        else:
            answer = service.call("POST", "/push", encode(sent), space=who)
        check(answer, 200)
        reader.sync()
        newcomer = ModelDevice(mallory)
        newcomer.pull()
        rows = newcomer.rows()
        assert reader.rows() == rows
        assert {t["project_id"] for t in rows["tasks"].values()} <= rows["projects"].keys()

    run()
    for device in (owner, stranger):
        reader = ModelDevice(device.another())
        reader.pull()
        reader.sync()


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
            name: value if isinstance(value, str) else encode(value).decode()
            for name, value in query.items()
        }
        asked = {n: v.encode("utf-8", "replace").decode() for n, v in asked.items()}
        for answer in (
            api.get("/sync", token=device.token, query_string=asked),
            api.post("/sync/pull", encode(in_body), token=device.token, query_string=asked),
        ):
            check(answer, 200, 400)

    run()


def test_no_migration_of_any_shape_does_harm(api: Api) -> None:
    """By pages too, where it goes into the cursor."""
    device = api.register()
    device.push(projects={"created": [project(id="p"), project(id="q")]})
    names = st.sampled_from(["tasks", "projects", "title", "name", "id", "\ud800", "", "x" * 999])
    lists = st.lists(names | junk, max_size=3) | junk
    migrations = st.fixed_dictionaries(
        {},
        optional={
            "from": junk,
            "tables": lists,
            "columns": st.lists(
                st.fixed_dictionaries({}, optional={"table": names | junk, "columns": lists})
                | junk,
                max_size=3,
            )
            | junk,
            "extra": junk,
        },
    )

    @hostile(150)
    @given(migrations | junk, st.sampled_from([None, 1, 2]), st.booleans())
    def run(migration: Any, limit: int | None, as_text: bool) -> None:
        text = encode(migration).decode()
        body = {"last_pulled_at": 1, "limit": limit, "migration": text if as_text else migration}
        answer = api.post("/sync/pull", encode(body), token=device.token)
        check(answer, 200, 400)
        while cursor := answer.json.get("cursor"):
            answer = api.post("/sync/pull", encode(body | {"cursor": cursor}), token=device.token)
            check(answer, 200)

    run()


def test_no_depth_of_nesting_does_harm(api: Api) -> None:
    device = api.register()
    for depth in (10, 500, 1023, 1024, 5_000, 100_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            deep = opening * depth + "1" + closing * depth
            pushed = f'{{"projects":{{"created":[{{"id":"p","name":{deep},"_changed":{deep}}}]}}}}'
            check(device.push_raw(pushed.encode()), 200, 400)
            check(device.push_raw(f'{{"changes":{deep}}}'.encode()), 200, 400, 422)
            for name in ("migration", "cursor", "last_pulled_at", "limit"):
                body = f'{{"{name}":{deep}}}'.encode()
                check(api.post("/sync/pull", body, token=device.token), 400, 413)


def test_no_signed_token_does_harm(api: Api, environ: dict[str, str]) -> None:
    """Whatever the claims of a token are that only we could have signed."""
    device = api.register()
    key = Path(environ["JWT_PRIVATE_KEY_FILE"]).read_bytes()
    header = jwt.get_unverified_header(device.token)
    claims = jwt.decode(device.token, options={"verify_signature": False})
    odd = st.dictionaries(
        st.sampled_from([*claims, "extra"]), junk | st.just(device.user_id), min_size=1, max_size=3
    )

    @hostile(150)
    @given(odd, st.sets(st.sampled_from(sorted(claims)), max_size=2))
    def run(changed: Any, missing: set[str]) -> None:
        forged = {n: v for n, v in (claims | changed).items() if n not in missing}
        token = jwt.api_jws.encode(encode(forged), key, header["alg"], header)
        check(api.get("/sync", token=token), 200, 401)
        check(api.post("/sync", {}, token=token), 200, 401)

    run()
