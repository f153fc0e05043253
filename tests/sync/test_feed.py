"""The changes of a space, read by an app's own server (docs/api.md, "Changes")."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from flask import Flask
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from services.sync.purge import purge
from services.sync.service import feed
from shared.now import DAY_MS, now_ms
from tests.api import Device, assert_problem, changes, project, task, wire
from tests.conftest import Backend, on_servers
from tests.histories import run_histories
from tests.service import Service, new_key
from tests.sharing import join, make_space
from tests.statements import sent
from tests.sync.feeds import Reader
from tests.sync.restoring import Backup, forget_restores


def purge_all(sync_service: Flask) -> None:
    """Remove every tombstone that there is, however young."""
    with sync_service.app_context():
        purge(-1)


def rows_of(device: Device) -> dict[tuple[str, str], dict[str, Any]]:
    """What a fresh device of the same user pulls."""
    fresh = device.another()
    fresh.pull()
    return {(table, id_): row for table, rows in fresh.rows.items() for id_, row in rows.items()}


def test_a_change_is_the_row_as_pulls_send_it_or_a_tombstone(
    service: Service, device: Device
) -> None:
    p, t = project(name='Ü"\n\\', description="\x0b\U0001f349"), task("nobody")
    t["project_id"] = p["id"]
    answer = device.push(projects={"created": [p]}, tasks={"created": [t]})
    reader = Reader(service, device.user_id)
    assert reader.page() == {
        "changes": [
            {
                "table": table,
                "id": record["id"],
                "tick": answer["timestamp"],
                "deleted": False,
                "record": wire(record),
            }
            for table, record in (("projects", p), ("tasks", t))
        ],
        "timestamp": answer["timestamp"],
    }
    assert reader.rows == rows_of(device)
    device.pull()
    gone = device.push(tasks={"deleted": [t["id"]]})["timestamp"]
    assert reader.page()["changes"] == [
        {"table": "tasks", "id": t["id"], "tick": gone, "deleted": True, "record": None}
    ]
    assert reader.page() == {"changes": [], "timestamp": gone}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10_000, None])
def test_pages_are_the_whole_in_the_order_of_ticks_tables_and_ids(
    service: Service, device: Device, limit: int | None
) -> None:
    for size in (3, 1, 4):
        projects = [project() for _ in range(size)]
        tasks = [task(p["id"]) for p in projects for _ in range(2)]
        device.push(projects={"created": projects}, tasks={"created": tasks})
        device.pull()
        device.push(tasks={"deleted": [tasks[0]["id"]]}, projects={"deleted": [projects[0]["id"]]})
        device.pull()
    reader = Reader(service, device.user_id, limit)
    assert len(reader.read()) == 24
    assert reader.rows == rows_of(device)
    assert reader.read() == []


def test_what_changes_between_two_pages_is_on_none_of_them_and_in_the_next_reading(
    service: Service, device: Device
) -> None:
    first, later, dead = (project() for _ in range(3))
    for p in (first, later, dead):
        device.push(projects={"created": [p]})
        device.pull()
    reader = Reader(service, device.user_id, limit=1)
    reader.page()
    new = project()
    device.push(
        projects={
            "created": [new],
            "updated": [later | {"name": "newer"}, first | {"name": "newest"}],
            "deleted": [dead["id"]],
        }
    )
    assert reader.read() == []
    assert {c["id"] for c in reader.read()} == {new["id"], later["id"], first["id"], dead["id"]}
    assert reader.rows == rows_of(device)


def test_a_row_that_is_moved_is_a_tombstone_here_and_live_there(
    service: Service, device: Device
) -> None:
    space = make_space(device)
    p = project()
    t = task(p["id"])
    device.push(projects={"created": [p]}, tasks={"created": [t]})
    own, shared = Reader(service, device.user_id), Reader(service, space)
    own.read()
    assert shared.read() == []
    device.pull()
    tick = device.push(projects={"updated": [p | {"space_id": space}]})["timestamp"]
    gone, there = own.read(), shared.read()
    assert [(c["table"], c["tick"], c["deleted"]) for c in gone] == [
        ("projects", tick, True),
        ("tasks", tick, True),
    ]
    assert [(c["table"], c["tick"], c["deleted"]) for c in there] == [
        ("projects", tick, False),
        ("tasks", tick, False),
    ]
    assert there[0]["record"]["space_id"] == space
    assert "space_id" not in there[1]["record"]
    device.pull()
    device.push(projects={"updated": [p | {"space_id": None}]})
    assert [c["deleted"] for c in shared.read()] == [True, True]
    assert own.read()[0]["record"]["space_id"] is None


def test_spaces_are_read_apart(service: Service, device: Device) -> None:
    other = device.api.register()
    space = make_space(device)
    device.push(projects={"created": [project(id="same")]})
    device.push(projects={"created": [project(id="shared", space_id=space)]})
    other.push(projects={"created": [project(id="same")]})
    found = {
        name: [c["id"] for c in Reader(service, name).read()]
        for name in (device.user_id, space, other.user_id)
    }
    assert found == {device.user_id: ["same"], space: ["shared"], other.user_id: ["same"]}


def test_a_reading_older_than_what_was_purged_replaces_everything(
    service: Service, device: Device, sync_service: Flask
) -> None:
    kept, gone = project(), project()
    device.push(projects={"created": [kept, gone]})
    reader, ahead = Reader(service, device.user_id, limit=1), Reader(service, device.user_id)
    reader.read()
    device.pull()
    device.push(projects={"deleted": [gone["id"]]})
    ahead.read()
    purge_all(sync_service)
    device.pull()
    device.push(projects={"created": [project()]})
    answers = [reader.page()]
    while reader.cursor:
        answers.append(reader.page())
    assert len(answers) == 2 and all(answer["replacement"] is True for answer in answers)
    assert reader.rows == rows_of(device)
    # Whoever knew of the deletion goes on.
    assert len(ahead.read()) == 1 and not ahead.replaced
    assert ahead.rows == reader.rows
    assert reader.read() == [] and reader.replaced == 1


def test_a_cursor_whose_deletions_were_purged_meanwhile_is_400_and_the_reading_begins_again(
    service: Service, device: Device, sync_service: Flask
) -> None:
    early, late = project(), project()
    device.push(projects={"created": [early]})
    device.push(projects={"created": [late]})
    reader = Reader(service, device.user_id, limit=1)
    reader.read()
    device.pull()
    device.push(projects={"updated": [early | {"name": "newer"}]})
    device.pull()
    device.push(projects={"deleted": [late["id"]]})
    reader.page()
    assert reader.cursor
    purge_all(sync_service)
    query = {"space": reader.space, "since": reader.since, "limit": 1, "cursor": reader.cursor}
    assert_problem(service.call("GET", "/changes", **query), 400, "invalid_cursor")
    reader.cursor = None
    reader.read()
    assert reader.rows == rows_of(device)


def test_so_is_one_in_the_midst_of_deletions_of_one_tick(
    service: Service, device: Device, sync_service: Flask
) -> None:
    projects = [project() for _ in range(2)]
    device.push(projects={"created": projects})
    reader = Reader(service, device.user_id, limit=1)
    reader.read()
    device.pull()
    device.push(projects={"deleted": [p["id"] for p in projects]})
    reader.page()
    purge_all(sync_service)
    query = {"space": reader.space, "since": reader.since, "limit": 1, "cursor": reader.cursor}
    assert_problem(service.call("GET", "/changes", **query), 400, "invalid_cursor")


def test_a_purge_of_what_was_sent_already_ends_no_reading(
    service: Service, device: Device, sync_service: Flask
) -> None:
    dead = project()
    device.push(projects={"created": [dead]})
    device.pull()
    device.push(projects={"deleted": [dead["id"]]})
    for _ in range(3):
        device.push(projects={"created": [project()]})
    reader = Reader(service, device.user_id, limit=1)
    reader.page()
    reader.page()
    purge_all(sync_service)
    assert len(reader.read()) == 2
    assert reader.rows == rows_of(device)


def test_a_since_ahead_of_the_clock_replaces_everything(service: Service, device: Device) -> None:
    device.push(projects={"created": [project()]})
    reader = Reader(service, device.user_id, since=now_ms() + DAY_MS)
    assert len(reader.read()) == 1 and reader.replaced
    assert reader.read() == [] and reader.replaced == 1
    far = service.get("/changes", space=device.user_id, since="9" * 500)
    assert far["replacement"] is True


def test_a_since_that_a_restore_took_back_replaces_everything(
    service: Service, device: Device, sync_service: Flask
) -> None:
    kept, lost = project(), project()
    device.push(projects={"created": [kept]})
    reader, early = Reader(service, device.user_id), Reader(service, device.user_id)
    early.read()
    with sync_service.app_context():
        backup = Backup.of(device.user_id)
    device.pull()
    device.push(projects={"created": [lost], "deleted": [kept["id"]]})
    reader.read()
    with sync_service.app_context():
        lost_after = backup.restore()
    try:
        device.push(projects={"created": [project()]})
        reader.read()
        assert reader.replaced == 1
        assert reader.rows == rows_of(device)
        # What was known at the backup stands.
        assert len(early.read()) == 1 and not early.replaced
        assert early.rows == reader.rows
    finally:
        with sync_service.app_context():
            forget_restores([lost_after])


def test_a_cursor_is_good_for_its_parameters_alone(
    service: Service, device: Device, sync_service: Flask
) -> None:
    other = device.api.register()
    for user in (device, other):
        user.push(projects={"created": [project() for _ in range(3)]})
    right = {"space": device.user_id, "since": 0, "limit": 1}
    cursor = service.get("/changes", **right)["cursor"]
    for wrong in ({"space": other.user_id}, {"since": 1}, {"limit": 2}, {"limit": None}):
        query = {**right, **wrong, "cursor": cursor}
        assert_problem(service.call("GET", "/changes", **query), 400, "invalid_cursor")
    for nonsense in ("x", cursor[:-4], cursor + "AAAA", "é", "W10=", "bnVsbA==", "\0", "9" * 3000):
        query = {**right, "cursor": nonsense}
        assert_problem(service.call("GET", "/changes", **query), 400, "invalid_cursor")
    # One of the pull is none of these, nor the other way round.
    theirs = device.another().pull_raw(limit=1).json["cursor"]
    assert_problem(service.call("GET", "/changes", **right, cursor=theirs), 400, "invalid_cursor")
    assert_problem(device.another().pull_raw(limit=1, cursor=cursor), 400, "invalid_cursor")
    # A key that takes another's place goes on where that was.
    successor = Service(service.api, new_key(sync_service, "sync:read"))
    assert len(successor.get("/changes", **right, cursor=cursor)["changes"]) == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"space": None}, 400),
        ({"space": ""}, 400),
        ({"space": "nobody"}, 404),
        ({"space": "é"}, 404),
        ({"space": "\0"}, 404),
        ({"space": "a\n"}, 404),
        ({"space": "x" * 5000}, 404),
        ({"since": "-1"}, 400),
        ({"since": "1.5"}, 400),
        ({"since": "soon"}, 400),
        ({"limit": "0"}, 400),
        ({"limit": "10001"}, 400),
        ({"limit": "many"}, 400),
        ({"limit": "9" * 5000}, 400),
        ({"limit": ""}, 200),
        ({"since": "null"}, 200),
        ({"cursor": ""}, 200),
        ({"unknown": "1"}, 200),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_parameter_that_has_no_meaning_is_400_and_an_unknown_space_404(
    service: Service, device: Device, query: dict[str, str | None], status: int
) -> None:
    answer = service.call("GET", "/changes", **{"space": device.user_id, **query})
    if status == 200:
        assert answer.status_code == 200
        return
    problem = assert_problem(answer, status, "invalid_parameter" if status == 400 else "not_found")
    assert status == 404 or list(problem["errors"]) == list(query)


def test_what_is_deleted_is_404(service: Service, device: Device, admin: Device) -> None:
    user = device.api.register()
    space = make_space(user)
    user.push(projects={"created": [project(), project(space_id=space)]})
    assert len(Reader(service, space).read()) == 1
    user.api.delete(f"/spaces/{space}", token=user.token)
    assert_problem(service.call("GET", "/changes", space=space), 404, "not_found")
    # A deactivated account's rows are there; with the account they go.
    path = f"/users/{user.user_id}"
    admin.api.patch(path, {"isActive": False}, token=admin.token)
    assert len(Reader(service, user.user_id).read()) == 1
    admin.api.delete(path, token=admin.token)
    assert_problem(service.call("GET", "/changes", space=user.user_id), 404, "not_found")


def statements_of(service: Service, **query: Any) -> int:
    with sent() as texts:
        service.get("/changes", **query)
    return len([text for text in texts if text.lstrip("(").startswith("SELECT")])


def test_a_page_takes_four_statements_however_much_there_is(
    service: Service, device: Device, backend: Backend
) -> None:
    # The key, the clock, what comes next, and its rows; SQLite is asked for each table.
    most = 4 if backend.database else 6
    for size in (1, 400):
        projects = [project() for _ in range(size)]
        tasks = [task(projects[0]["id"]) for _ in range(size)]
        device.push(projects={"created": projects}, tasks={"created": tasks})
        device.pull()
        for limit in (1, 10, 1000):
            assert statements_of(service, space=device.user_id, limit=limit) <= most
    # Nothing new: the key and the clock.
    assert statements_of(service, space=device.user_id, since=device.last_pulled_at) == 2


@on_servers
def test_a_page_looks_at_no_more_rows_than_it_sends_times_eight(
    service: Service, device: Device, backend: Backend
) -> None:
    """Also in the midst of one tick, and with tables whose rows come at other times."""
    p = project()
    device.push(projects={"created": [p]}, tasks={"created": [task(p["id"]) for _ in range(3000)]})
    device.push(projects={"created": [project() for _ in range(1000)]})
    reader = Reader(service, device.user_id, limit=100)

    def looked_at() -> int:
        assert backend.database
        with backend.database.root() as root, root.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Handler_read%'")
            return sum(int(value) for _, value in cursor.fetchall())

    most = []
    while True:
        before = looked_at()
        reader.page()
        most.append(looked_at() - before)
        if reader.cursor is None:
            break
    assert len(most) > 40
    # The reconciler asks now and then.
    assert sorted(most)[-5] < 8 * 101 + 2 * 100 + 100, most
    assert reader.rows == rows_of(device)


@pytest.mark.parametrize("overread", [1, 2, 8])
def test_tables_that_take_turns_are_put_in_order_whatever_is_looked_at(
    service: Service, device: Device, monkeypatch: pytest.MonkeyPatch, overread: int
) -> None:
    monkeypatch.setattr(feed, "OVERREAD", overread)
    p = project()
    device.push(projects={"created": [p]})
    for turn in range(12):
        some = [task(p["id"]) for _ in range(turn % 3 * 2)]
        device.push(projects={"created": [project()]}, tasks={"created": some})
    for limit in (1, 2, 5, 9, 1000):
        reader = Reader(service, device.user_id, limit)
        assert len(reader.read()) == 1 + 12 + 24
        assert reader.rows == rows_of(device)


DEVICES = 50


def test_a_reader_that_polls_while_fifty_devices_push_misses_nothing_and_sees_no_state_twice(
    service: Service, device: Device
) -> None:
    space = make_space(device)
    users = [device.api.register() for _ in range(DEVICES // 2 - 1)]
    for user in users:
        join(device, space, user)
    devices = [d for user in (device, *users) for d in (user, user.another())]
    poll_while_they_push(service, space, devices, DEVICES)


def poll_while_they_push(service: Service, space: str, devices: list[Device], at_once: int) -> None:
    """Let members of a space write to it, so many at a time, while two readers poll without pause."""
    assert len(devices) == DEVICES
    done = Event()
    readers = [Reader(service, space, limit) for limit in (3, None)]

    def push(writer: Device, **tables: Any) -> None:
        # As an app does, when the server is busy.
        while (answer := writer.push_raw(changes(**tables))).status_code == 503:
            pass
        assert answer.status_code == 200, answer.text

    def write(writer: Device) -> list[str]:
        shared, mine = project(space_id=space), project(space_id=space)
        tasks = [task(shared["id"]) for _ in range(3)]
        push(writer, projects={"created": [shared, mine]}, tasks={"created": tasks})
        push(writer, projects={"updated": [shared | {"name": "newer"}]})
        push(writer, tasks={"deleted": [tasks[0]["id"]]})
        # Out of the space, and back.
        push(writer, projects={"updated": [mine | {"space_id": None}]})
        push(writer, projects={"updated": [mine | {"space_id": space, "name": "back"}]})
        return [shared["id"], mine["id"], *(t["id"] for t in tasks[1:])]

    def poll(reader: Reader) -> int:
        pages = 0
        while not done.is_set():
            reader.page()
            pages += 1
        while reader.cursor:
            reader.page()
        reader.read()
        return pages

    with ThreadPoolExecutor(at_once + 2) as pool:
        polling = [pool.submit(poll, reader) for reader in readers]
        try:
            alive = {id_ for ids in pool.map(write, devices) for id_ in ids}
        finally:
            done.set()
        assert min(future.result() for future in polling) > 2
    fresh = Reader(service, space)
    fresh.read()
    assert {id_ for _, id_ in fresh.rows} == alive
    for reader in readers:
        assert reader.rows == fresh.rows
        assert not reader.replaced


pick = st.integers(0, 1000)


class Feeds(RuleBasedStateMachine):
    """One user with two spaces, and a reader of each by small pages, who is interrupted all the time."""

    first: Device
    service: Service
    sync_service: Flask

    @initialize(limit=st.integers(1, 3))
    def begin(self, limit: int) -> None:
        self.device = self.first.api.register()
        self.spaces: list[str | None] = [None, make_space(self.device)]
        self.readers = [
            Reader(self.service, space or self.device.user_id, limit) for space in self.spaces
        ]
        self.device.pull()

    def any_of(self, table: str, seed: int) -> dict[str, Any] | None:
        rows = sorted(self.device.rows[table])
        return self.device.rows[table][rows[seed % len(rows)]] if rows else None

    def push(self, **tables: Any) -> None:
        self.device.push(**tables)
        self.device.pull()

    @rule(number=st.integers(0, 1), tasks=st.integers(0, 3))
    def create(self, number: int, tasks: int) -> None:
        p = project(space_id=self.spaces[number])
        created = [task(p["id"]) for _ in range(tasks)]
        self.push(projects={"created": [p]}, tasks={"created": created})

    @rule(table=st.sampled_from(["projects", "tasks"]), seed=pick, text=st.text(max_size=3))
    def edit(self, table: str, seed: int, text: str) -> None:
        if row := self.any_of(table, seed):
            self.push(**{table: {"updated": [row | {"description": text}]}})

    @rule(table=st.sampled_from(["projects", "tasks"]), seed=pick)
    def delete(self, table: str, seed: int) -> None:
        if row := self.any_of(table, seed):
            self.push(**{table: {"deleted": [row["id"]]}})

    @rule(number=st.integers(0, 1), seed=pick)
    def move(self, number: int, seed: int) -> None:
        if row := self.any_of("projects", seed):
            self.push(projects={"updated": [row | {"space_id": self.spaces[number]}]})

    @rule(seed=pick, parent=pick)
    def move_a_task(self, seed: int, parent: int) -> None:
        row, p = self.any_of("tasks", seed), self.any_of("projects", parent)
        if row and p:
            self.push(tasks={"updated": [row | {"project_id": p["id"]}]})

    @rule()
    def purge(self) -> None:
        purge_all(self.sync_service)

    @rule(number=st.integers(0, 1), pages=st.integers(1, 3))
    def read(self, number: int, pages: int) -> None:
        for _ in range(pages):
            self.page(self.readers[number])

    def page(self, reader: Reader) -> None:
        query = {"space": reader.space, "since": reader.since, "limit": reader.limit}
        if reader.cursor:
            answer = self.service.call("GET", "/changes", **query, cursor=reader.cursor)
            if answer.status_code == 400:
                assert answer.json["code"] == "invalid_cursor"
                reader.cursor = None
                # What came of the reading comes again.
                reader.seen = {state for state in reader.seen if state[2] <= reader.since}
        reader.page()

    def teardown(self) -> None:
        if not hasattr(self, "readers"):
            return
        pulled = {
            (table, id_): row
            for table, rows in self.device.rows.items()
            for id_, row in rows.items()
        }
        space_of = {
            id_: row["space_id"] for (table, id_), row in pulled.items() if table == "projects"
        }
        for reader, space in zip(self.readers, self.spaces, strict=True):
            self.page(reader)
            while reader.cursor:
                self.page(reader)
            reader.read()
            assert reader.rows == {
                key: row
                for key, row in pulled.items()
                if space_of[row["project_id"] if key[0] == "tasks" else key[1]] == space
            }


def test_readers_of_any_history_know_in_the_end_what_is_there(
    service: Service, device: Device, sync_service: Flask
) -> None:
    class Machine(Feeds):
        pass

    Machine.first, Machine.service, Machine.sync_service = device, service, sync_service
    run_histories(Machine, examples=25, steps=30)


def test_a_long_page_is_sent_as_it_is_read(service: Service, device: Device) -> None:
    """No more than some rows are in memory at a time."""
    device.push(projects={"created": [project(description="x" * 2000) for _ in range(3000)]})
    answer = service.api.client.open(
        "/v1/service/changes",
        query_string={"space": device.user_id, "limit": 10_000},
        headers={"Authorization": f"Bearer {service.key}"},
    )
    assert answer.is_streamed
    pieces = list(answer.response)
    answer.close()
    assert max(map(len, pieces)) < 2_500_000
    assert len(json.loads(b"".join(pieces))["changes"]) == 3000
    assert re.match(rb'{"changes":\[{"table":"projects","id":"', b"".join(pieces[:2]))
