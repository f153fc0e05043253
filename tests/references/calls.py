"""Loads: by a service key, by command, one after the other, and broken off. Run by tests/own_table."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

import services.sync
from services.sync.door import push_as_server
from services.sync.reference import loading
from services.sync.reference.loading import find_table, load
from shared.auth import revocations
from shared.database.errors import DeadlineExceeded
from tests.api import Api, Device, assert_problem, new_id, project
from tests.conftest import Backend, on_servers
from tests.references.conftest import Load, exercise, other_device
from tests.servers.leases import Leases
from tests.service import Service, new_key

PATH = "/reference/exercises"
HEADER = "id,name,order,price,is_hard,notes,since,data,muscle_id\n"


def put(service: Service, body: str, kind: str = "text/csv", path: str = PATH, **query: str) -> Any:
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": kind}
    return service.api.client.put(
        f"/v1/service{path}", data=body.encode(), headers=headers, query_string=query
    )


def test_a_load_by_a_service_key_reaches_every_device(service: Service, device: Device) -> None:
    device.pull()
    row = exercise(new_id())
    answer = put(service, json.dumps(row) + "\n", "application/x-ndjson")
    assert answer.status_code == 200, answer.text
    loaded = answer.json
    assert (loaded["inserted"], loaded["updated"], loaded["deleted"]) == (1, 0, 0)
    assert loaded["timestamp"] <= device.pull()["timestamp"]
    assert device.rows["exercises"][row["id"]] == row
    again = put(service, f"{HEADER}{row['id']},squat,1,2.5,1,,,{{}},\n")
    assert again.json == {"inserted": 0, "updated": 0, "deleted": 0, **time_of(loaded)}
    # A header alone empties the table.
    emptied = put(service, HEADER, mode="replace").json
    assert emptied["deleted"] >= 1
    device.pull()
    assert device.rows["exercises"] == {}


def time_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": answer["timestamp"]}


def test_what_is_wrong_is_named_by_line_and_nothing_is_applied(
    service: Service, device: Device, load_rows: Load
) -> None:
    row = exercise(new_id())
    load_rows("exercises", [row])
    text = f"id,price,is_hard\n{row['id']},7,true\n{new_id()},cheap,true\n{new_id()},1,maybe\n"
    problem = assert_problem(put(service, text, mode="replace"), 422, "invalid_request")
    assert problem["errorCodes"] == {"3.price": ["invalid"], "4.is_hard": ["invalid"]}
    assert_problem(put(service, ""), 422, "invalid_request")
    assert_problem(put(service, HEADER, mode="upsert"), 400, "invalid_parameter")
    device.pull()
    assert device.rows["exercises"][row["id"]] == row


def test_what_is_no_reference_table_is_404_and_other_scopes_are_403(
    service: Service, sync_service: Flask, device: Device
) -> None:
    for table in ("projects", "reference_clock", "app_exercises", "nothing"):
        answer = put(service, "id\na\n", path=f"/reference/{table}")
        assert_problem(answer, 404, "not_found")
    other = Service(service.api, new_key(sync_service, "sync:read", "sync:write"))
    assert_problem(put(other, "id\na\n"), 403, "forbidden")
    assert_problem(put(Service(service.api, device.token), "id\na\n"), 401, "unauthorized")


def test_a_service_push_of_one_is_refused(service: Service, device: Device) -> None:
    row = exercise(new_id())
    with services.sync.create_app().app_context():
        changes: Any = {"exercises": {"created": [row], "updated": [], "deleted": []}}
        answer = push_as_server(device.user_id, changes, "server")
    assert answer.refused == {"exercises": {row["id"]: "read_only"}}


def test_the_command_says_what_it_did(
    sync_service: Flask, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.sync.cli.TELL_S", -1)
    file, id_ = tmp_path / "exercises.csv", new_id()

    def run(text: str, *options: str) -> Any:
        file.write_text(text)
        arguments = ["load", "exercises", str(file), *options]
        return sync_service.test_cli_runner().invoke(args=arguments)

    done = run(f"id,name\n{id_},press\n")
    assert done.exit_code == 0, done.output
    assert "Loaded exercises: 1 new, 0 changed, 0 deleted." in done.output
    assert "Compared 1 of 1 rows" in done.output
    assert "Nothing was changed." in run(f"id,name\n{id_},press\n").output
    refused = run(f"id,name\n{id_},{'x' * 41}\n")
    assert refused.exit_code == 1
    assert "Nothing was changed.\n  2.name: Longer than 40 characters." in refused.output
    assert "deleted" in run("id\nother\n", "--mode", "replace").output
    unknown = sync_service.test_cli_runner().invoke(args=["load", "projects", str(file)])
    assert unknown.exit_code == 1
    assert "projects is no reference table (there are: muscles, exercises)" in unknown.output
    device.pull()
    assert "other" in device.rows["exercises"] and id_ not in device.rows["exercises"]


def test_loads_at_once_go_one_after_the_other(load_rows: Load, device: Device) -> None:
    prefix = new_id()

    def run(number: int) -> int:
        rows = [exercise(f"{prefix}-{n}", order=number) for n in range(500)]
        return load_rows("exercises", rows).timestamp

    with ThreadPoolExecutor(3) as pool:
        ticks = list(pool.map(run, range(1, 4)))
    assert len(set(ticks)) == 3
    device.pull()
    orders = {row["order"] for row in device.rows["exercises"].values() if prefix in row["id"]}
    assert orders == {1 + ticks.index(max(ticks))}


@on_servers
def test_nobody_waits_for_a_load(device: Device, loader: Flask) -> None:
    """Devices push and pull while one writes; what they are answered lies before it."""
    device.pull()
    rows = [exercise(f"{new_id()}-{n}") for n in range(1500)]
    ticks: list[int] = []

    def meanwhile(said: str) -> None:
        if said.startswith("Compared"):
            answer = device.push(projects={"created": [project()]})
            assert answer["upToDate"]
            device.last_pulled_at = answer["timestamp"]
            assert not device.pull()["changes"]["exercises"]["created"]
            ticks.append(device.api.register().pull_raw().json["timestamp"])
            ticks.append(answer["timestamp"])

    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    with loader.app_context():
        counts = load(find_table("exercises"), BytesIO(body), "ndjson", "merge", tell=meanwhile)
    assert len(ticks) == 4
    assert max(ticks) < counts.timestamp
    device.pull()
    assert {row["id"] for row in rows} <= device.rows["exercises"].keys()


# In a cluster no lock reaches from node to node: the one that ends later is run again.
@pytest.mark.backends("native", "mysql")
def test_a_load_waits_for_its_turn_or_gives_up_in_time(
    load_rows: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds, goes = Event(), Event()
    end = loading._Attempt._end

    def slow(*arguments: Any) -> None:
        end(*arguments)
        if not holds.is_set():
            holds.set()
            goes.wait(30)

    monkeypatch.setattr(loading._Attempt, "_end", slow)
    monkeypatch.setattr("shared.database.engines.LOCK_WAIT_S", 1)
    impatient = services.sync.create_app()
    said: list[str] = []
    table, row = find_table("exercises"), exercise(new_id())
    body = BytesIO(json.dumps(row).encode())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(load_rows, "exercises", [exercise(new_id())])
        assert holds.wait(10)
        with impatient.app_context(), pytest.raises(DeadlineExceeded):
            load(table, body, "ndjson", "merge", within_s=2, tell=said.append)
        goes.set()
        assert first.result().inserted == 1
    assert said[-1] == "Waiting for another load to end"
    assert load_rows("exercises", [row]).inserted == 1


@pytest.mark.backends("cluster")
def test_a_large_load_on_one_node_is_not_undone_by_pushes_on_the_others(
    backend: Backend, device: Device, loader: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend.database
    # As many raise the mark as in a hundred processes.
    monkeypatch.setattr("shared.reference_clock.AHEAD_MS", 20)
    urls = [node.url("service", "app") for node in (backend.database, *backend.others)]
    devices = []
    for url in urls:
        user = device.api.register()
        api = Api(services.sync.create_app(DATABASE_URL=url))
        devices.append(Device(api, user.email, user.tokens))
    attempts: list[int] = []
    end = loading._Attempt._end

    def count(*arguments: Any) -> None:
        attempts.append(1)
        end(*arguments)

    monkeypatch.setattr(loading._Attempt, "_end", count)
    done = Event()

    def push(one: Device) -> None:
        while not done.is_set():
            one.push(projects={"created": [project()]})

    prefix = new_id()
    rows = (exercise(f"{prefix}-{n:06}", notes="x" * 200) for n in range(30_000))
    body = BytesIO(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    with ThreadPoolExecutor(len(devices)) as pool:
        pushing = [pool.submit(push, one) for one in devices]
        try:
            with loader.app_context():
                counts = load(find_table("exercises"), body, "ndjson", "merge")
        finally:
            done.set()
        for one in pushing:
            one.result()
    assert counts.inserted == 30_000
    assert len(attempts) == 1


def test_a_load_that_the_database_gives_up_is_run_again_whole(
    load_rows: Load, device: Device, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    end = loading._Attempt._end
    attempts: list[int] = []

    def fail_twice(self: Any, *arguments: Any) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            deadlock: Exception = Exception(1213, "Deadlock found")
            if backend.database is None:
                deadlock = sqlite3.OperationalError("database is locked")
                deadlock.sqlite_errorname = "SQLITE_BUSY"  # type: ignore[attr-defined]
            raise OperationalError("", {}, deadlock)
        end(self, *arguments)

    monkeypatch.setattr(loading._Attempt, "_end", fail_twice)
    rows = [exercise(new_id()) for _ in range(3)]
    assert load_rows("exercises", rows).inserted == 3
    assert len(attempts) == 3
    device.pull()
    assert {row["id"] for row in rows} <= device.rows["exercises"].keys()


def test_a_load_that_breaks_off_has_changed_nothing(
    load_rows: Load, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = exercise(new_id())
    load_rows("exercises", [row])
    device.pull()
    before = device.last_pulled_at

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading._Attempt, "_end", die)
    with pytest.raises(KeyboardInterrupt):
        load_rows("exercises", [row | {"order": 2}, exercise(new_id())], "replace")
    monkeypatch.undo()
    assert device.pull()["timestamp"] == before
    fresh = other_device(device)
    fresh.pull()
    assert fresh.rows["exercises"] == device.rows["exercises"]


@pytest.mark.backends("native", "mysql")
def test_with_redis_a_pull_with_nothing_new_asks_no_database_and_a_load_is_known_at_once(
    backend: Backend, device: Device, load_rows: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "LEASE_MS", 600_000)
    leases = Leases(backend.new_place())
    try:
        load_rows("exercises", [exercise(new_id())])
        since = device.pull()["timestamp"]
        assert leases.round()
        leases.trust()

        def pull(at: int) -> tuple[int, Any]:
            query = {"last_pulled_at": at}
            with leases.sync.statements() as seen:
                answer = leases.sync.api.get("/sync", token=device.token, query_string=query)
            return len(seen), answer.json

        # Once, for the clock; then Redis has it.
        assert pull(since)[0] == 1
        assert pull(since)[0] == 0
        row = exercise(new_id())
        body = BytesIO(json.dumps(row).encode())
        with leases.sync.app.app_context():
            tick = load(find_table("exercises"), body, "ndjson", "merge").timestamp
        answer = pull(since)[1]
        assert [r["id"] for r in answer["changes"]["exercises"]["created"]] == [row["id"]]
        assert answer["timestamp"] >= tick
        assert pull(answer["timestamp"])[0] == 0
        # Of a load of which Redis was not told it hears in the next round, and forgets none.
        row = exercise(new_id())
        load_rows("exercises", [row])
        for _ in range(2):
            assert leases.round()
        assert pull(answer["timestamp"])[1]["changes"]["exercises"]["created"]
    finally:
        leases.close()
