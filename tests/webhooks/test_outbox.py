"""What changes is written down for receivers with the change itself (docs/webhooks.md)."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from services.sync.door import push_as_server, writing
from shared import outbox
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import WebhookChange
from tests.api import PASSWORD, Api, Device, changes, new_id, project, task
from tests.servers.receiver import Receiver
from tests.sharing import join, leave, make_space
from tests.statements import sent
from tests.webhooks.conftest import Tell, Telling

Row = tuple[str, str, str, str, int]


def kinds(rows: list[Row]) -> list[tuple[str, str, str]]:
    """What became of which row, without the order within a tick."""
    return sorted((table, id_, kind) for _, table, id_, kind, _ in rows)


def delete_account(device: Device) -> None:
    answer = device.api.delete("/users/me", {"password": PASSWORD}, token=device.token)
    assert answer.status_code == 204, answer.text


def test_without_a_receiver_nothing_is_written_and_nothing_is_asked(
    api: Api, users_service: Flask
) -> None:
    device, p = api.register(), project()
    with sent() as texts:
        device.push(projects={"created": [p]}, tasks={"created": [task(p["id"])]})
        space = make_space(device)
        device.push(projects={"created": [project(space_id=space)]})
        api.delete(f"/spaces/{space}", token=device.token)
        delete_account(device)
    assert [text for text in texts if "webhook" in text] == []
    with users_service.app_context(), db.session.begin():
        own = WebhookChange.space_id.in_([device.user_id, space])
        assert db.session.scalar(select(func.count()).where(own)) == 0


def test_a_push_is_noted_once_for_each_row_with_its_tick(telling: Telling, device: Device) -> None:
    p, t = project(), task("")
    t["project_id"] = p["id"]
    first = device.push(projects={"created": [p]}, tasks={"created": [t]})["timestamp"]
    assert telling.outbox() == [
        (device.user_id, "projects", p["id"], "created", first),
        (device.user_id, "tasks", t["id"], "created", first),
    ]
    device.pull()
    second = device.push(tasks={"updated": [t | {"title": "Other"}]})["timestamp"]
    third = device.push(tasks={"deleted": [t["id"]]})["timestamp"]
    assert [row[2:] for row in telling.outbox()[2:]] == [
        (t["id"], "updated", second),
        (t["id"], "deleted", third),
    ]


def test_each_receiver_is_told_all(tell: Tell, receiver: Receiver) -> None:
    telling = tell(receiver, receiver)
    telling.api.register().push(projects={"created": [project()]})
    assert telling.outbox(0) == telling.outbox(1) != []


def test_a_push_that_changes_nothing_is_not_noted(telling: Telling, device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    before = telling.outbox()
    device.pull()
    device.push(projects={"updated": [p]})
    device.push(projects={"deleted": [new_id()]})
    assert telling.outbox() == before


def test_a_push_that_is_refused_as_a_whole_leaves_nothing(telling: Telling, device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    before = telling.outbox()
    answer = device.push_raw(
        changes(projects={"updated": [p | {"name": "Other"}], "created": [project()]}),
        last_pulled_at=1,
        conflicts="reject",
    )
    assert answer.status_code == 409
    assert telling.outbox() == before


def test_what_follows_from_a_push_is_noted_with_its_tick(telling: Telling, device: Device) -> None:
    p, unknown = project(), new_id()
    tasks = [task(p["id"]) for _ in range(3)]
    device.push(projects={"created": [p]}, tasks={"created": tasks})
    device.pull()
    orphan = task(unknown)
    tick = device.push(projects={"deleted": [p["id"]]}, tasks={"created": [orphan]})["timestamp"]
    told = [row for row in telling.outbox() if row[4] == tick]
    assert kinds(told) == sorted(
        [
            ("projects", p["id"], "deleted"),
            # Its devices hear of it as well.
            ("projects", unknown, "deleted"),
            *(("tasks", t["id"], "deleted") for t in (*tasks, orphan)),
        ]
    )


def test_a_row_that_lives_again_is_created(telling: Telling, device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    device.push(projects={"deleted": [p["id"]]})
    device.pull()
    device.push(projects={"created": [p]})
    assert [row[3] for row in telling.outbox()] == ["created", "deleted", "created"]


def test_a_move_is_a_deletion_there_and_a_creation_here(telling: Telling, device: Device) -> None:
    space = make_space(device)
    p = project()
    t = task(p["id"])
    device.push(projects={"created": [p]}, tasks={"created": [t]})
    device.pull()
    tick = device.push(projects={"updated": [p | {"space_id": space}]})["timestamp"]
    left = [row for row in telling.outbox(space=device.user_id) if row[4] == tick]
    came = telling.outbox(space=space)
    assert kinds(left) == [("projects", p["id"], "deleted"), ("tasks", t["id"], "deleted")]
    assert kinds(came) == [("projects", p["id"], "created"), ("tasks", t["id"], "created")]
    assert {row[4] for row in came} == {tick}


def test_what_is_refused_is_not_noted(telling: Telling, device: Device) -> None:
    reader = telling.api.register()
    space = make_space(device)
    join(device, space, reader, "reader")
    mine, refused = project(), project(space_id=space)
    reader.push(projects={"created": [mine, refused]})
    assert telling.outbox(space=space) == []
    assert kinds(telling.outbox(space=reader.user_id)) == [("projects", mine["id"], "created")]


def test_a_space_that_is_deleted_is_gone_after_all_that_was_told_of_it(
    telling: Telling, device: Device
) -> None:
    member, p = telling.api.register(), project()
    space = make_space(device)
    join(device, space, member)
    member.push(projects={"created": [p | {"space_id": space}]})
    device.api.delete(f"/spaces/{space}", token=device.token)
    [(*_, first), gone] = telling.outbox(space=space)
    assert gone[:4] == (space, "", "", "gone")
    assert gone[4] > first


def test_leaving_a_space_ends_none(telling: Telling, device: Device) -> None:
    member = telling.api.register()
    space = make_space(device)
    join(device, space, member)
    leave(space, member)
    assert telling.outbox() == []


def test_an_account_that_is_deleted_is_gone_and_so_is_a_space_that_nobody_takes_over(
    telling: Telling, device: Device
) -> None:
    reader, writer = telling.api.register(), telling.api.register()
    ends, goes_on = make_space(device), make_space(device)
    join(device, ends, reader, "reader")
    join(device, goes_on, writer, "writer")
    device.push(projects={"created": [project(), project(space_id=goes_on)]})
    last = device.pull()["timestamp"]
    delete_account(device)
    gone = [row for row in telling.outbox() if row[3] == "gone"]
    assert sorted(row[:3] for row in gone) == sorted([(device.user_id, "", ""), (ends, "", "")])
    assert all(row[4] > last for row in gone)


@pytest.mark.parametrize("records", [1, 2500])
def test_a_receiver_costs_a_push_two_statements_however_long_it_is(
    telling: Telling, api: Api, records: int
) -> None:
    counts = []
    for one in (api, telling.api):
        device = one.register()
        with sent() as texts:
            device.push(projects={"created": [project() for _ in range(records)]})
        counts.append(len(texts))
    assert counts[1] == counts[0] + 2


def test_what_the_server_itself_writes_is_noted_too(telling: Telling, device: Device) -> None:
    first, second = project(), project()
    space = make_space(device)
    with telling.sync.app_context():
        pushed = push_as_server(
            space, {"projects": {"created": [first], "updated": [], "deleted": []}}, "server"
        )
        with writing(device.user_id) as job:
            job.create("projects", {"id": second["id"], "name": "Second"})
    assert telling.outbox(space=space) == [
        (space, "projects", first["id"], "created", pushed.timestamp)
    ]
    assert kinds(telling.outbox(space=device.user_id)) == [("projects", second["id"], "created")]


def test_a_load_of_a_reference_table_is_one_change_of_no_space(telling: Telling) -> None:
    with telling.sync.app_context():
        for tick in (17, 18):
            transaction(
                lambda tick=tick: outbox.note_load(db.session.connection(), "prices", tick)
            )()
    assert telling.outbox() == [("", "prices", "", "updated", tick) for tick in (17, 18)]


def test_a_transaction_that_is_given_up_has_noted_nothing(telling: Telling) -> None:
    def work() -> None:
        outbox.note_load(db.session.connection(), "prices", 17)
        raise KeyError

    with telling.sync.app_context(), pytest.raises(KeyError):
        transaction(work)()
    assert telling.outbox() == []


def test_the_purge_removes_after_thirty_days_what_nobody_told(
    telling: Telling, device: Device, clock: Any
) -> None:
    device.push(projects={"created": [project() for _ in range(3)]})
    clock.advance(seconds=20 * 86400)
    recent = telling.api.register()
    recent.push(projects={"created": [project()]})
    clock.advance(seconds=20 * 86400)
    result = telling.sync.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output
    assert {row[0] for row in telling.outbox()} == {recent.user_id}
