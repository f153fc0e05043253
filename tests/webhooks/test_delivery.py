"""Receivers are told everything, in order, at least once, whatever they do (docs/webhooks.md)."""

import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from services.sync.webhooks import app, batches, deliverer
from services.sync.webhooks.deliverer import Deliverer
from shared import outbox
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import WebhookBatch, WebhookReceiver
from tests.api import Device, changes, project, task, wire
from tests.clock import Clock
from tests.servers.receiver import Receiver, respond
from tests.sharing import make_space
from tests.stack.load import eventually
from tests.webhooks.conftest import Tell, Telling

DAY = 86400


def push(device: Device, count: int = 1) -> tuple[int, list[str]]:
    """Push new projects; return the tick and their ids in order."""
    new = [project() for _ in range(count)]
    tick = device.push(projects={"created": new})["timestamp"]
    return tick, sorted(one["id"] for one in new)


def kept(telling: Telling, receiver: int = 0) -> list[Any]:
    """The batches of a receiver that are not delivered."""
    query = select(WebhookBatch).where(WebhookBatch.receiver == telling.names[receiver])
    with telling.sync.app_context(), db.session.begin():
        return list(db.session.scalars(query.order_by(WebhookBatch.made_at)))


def state(telling: Telling) -> Any:
    with telling.sync.app_context(), db.session.begin():
        return db.session.get(WebhookReceiver, telling.names[0])


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("webhook_deliveries_total", {"outcome": outcome}) or 0


def gauge(telling: Telling, name: str) -> float | None:
    return REGISTRY.get_sample_value(f"webhook_{name}", {"receiver": telling.names[0]})


def test_a_change_is_told_once_in_the_form_of_the_contract(
    telling: Telling, device: Device, receiver: Receiver
) -> None:
    delivered = counted("delivered")
    tick, [id_] = push(device)
    for _ in range(2):
        telling.go()
    [told] = receiver.told
    assert told.changes == [
        {
            "space": device.user_id,
            "table": "projects",
            "id": id_,
            "kind": "created",
            "tick": tick,
        }
    ]
    assert b'"timestamp":"20' in told.body and b'Z"' in told.body
    assert (telling.outbox(), kept(telling), counted("delivered")) == ([], [], delivered + 1)


def test_what_has_no_space_or_no_row_is_told_with_null(
    telling: Telling, device: Device, receiver: Receiver
) -> None:
    space = make_space(device)
    device.api.delete(f"/spaces/{space}", token=device.token)
    with telling.sync.app_context():
        transaction(lambda: outbox.note_load(db.session.connection(), "projects", 1))()
    telling.go()
    load, gone = receiver.changes
    assert load == {"space": None, "table": "projects", "id": None, "kind": "updated", "tick": 1}
    assert gone == {
        "space": space,
        "table": None,
        "id": None,
        "kind": "gone",
        "tick": gone["tick"],
    }


def test_many_changes_are_told_in_batches_in_the_order_of_ticks(
    telling: Telling, device: Device, receiver: Receiver
) -> None:
    expected = []
    for count in (300, 1, 800, 150):
        tick, ids = push(device, count)
        expected += [(tick, id_) for id_ in ids]
    telling.go()
    assert [len(told.changes) for told in receiver.told] == [500, 500, 251]
    assert [(change["tick"], change["id"]) for change in receiver.changes] == expected
    assert len({told.id for told in receiver.told}) == 3


@pytest.mark.parametrize("status", [302, 400, 404, 410, 500])
def test_an_answer_that_is_no_success_brings_the_same_batch_again(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock, status: int
) -> None:
    receiver.answers = [respond(status, Location=receiver.url)] * 2
    push(device)
    failed = counted("failed")
    telling.go()
    # Newer changes do not come first, and are not added.
    push(device)
    telling.go()
    assert len(receiver.told) == 1
    for _ in range(2):
        clock.advance(seconds=10)
        telling.go()
    first, second, third, last = receiver.told
    assert first.id == second.id == third.id != last.id
    assert first.body == second.body == third.body
    assert first.timestamp < second.timestamp < third.timestamp
    assert [told.id for told in receiver.taken] == [third.id, last.id]
    assert counted("failed") == failed + 2


def test_retries_come_within_five_seconds_then_ever_later_up_to_an_hour(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    receiver.always = respond(500)
    push(device)
    waits = []
    for _ in range(14):
        telling.go()
        waits.append(state(telling).next_at - batches.now_ms())
        clock.advance(seconds=waits[-1] / 1000 + 0.001)
    assert 0 < waits[0] + deliverer.ROUND_S * 1000 <= 5000
    for number, wait in enumerate(waits):
        most = min(4000 * 2**number, 3_600_000)
        assert most / 2 - 1000 <= wait <= most
    assert len({told.id for told in receiver.told}) == 1
    receiver.always = None
    telling.go()
    assert state(telling).failures == 0
    # All is as if it had never failed.
    receiver.always = respond(500)
    push(device)
    telling.go()
    assert state(telling).next_at <= batches.now_ms() + 4000


def test_after_three_days_a_batch_is_given_up_and_the_next_goes_on(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    receiver.always = respond(500)
    push(device, 500)
    telling.go()
    clock.advance(seconds=2 * DAY)
    push(telling.api.login(device.email))
    given_up = counted("given_up")
    telling.go()
    clock.advance(seconds=1 * DAY + 1)
    telling.go()
    # The one that is younger has had an attempt at once, and has its own three days.
    old, young = kept(telling)
    assert (old.failed_at is None, young.failed_at, young.attempts) == (False, None, 1)
    assert counted("given_up") == given_up + 1
    telling.couriers[0].measure_at = 0
    clock.advance(seconds=60)
    telling.go()
    assert (gauge(telling, "failed_batches"), gauge(telling, "pending_changes")) == (1, 1)
    receiver.always = None
    clock.advance(seconds=3600)
    telling.go()
    assert [len(told.changes) for told in receiver.taken] == [1]
    assert [one.failed_at is None for one in kept(telling)] == [False]


def test_what_nobody_tried_to_tell_for_days_has_its_three_days_all_the_same(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    push(device)
    clock.advance(seconds=4 * DAY)
    receiver.answers = [respond(500)]
    telling.go()
    [batch] = kept(telling)
    assert (batch.attempts, batch.failed_at) == (1, None)


def test_what_was_given_up_is_told_again_by_command(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    receiver.always = respond(500)
    push(device, 700)
    telling.go()
    clock.advance(seconds=3 * DAY + 1)
    telling.go()
    assert [one.failed_at is not None for one in kept(telling)] == [True, True]
    first, second = (one.id for one in kept(telling))
    receiver.always = None
    device = telling.api.login(device.email)
    push(device)
    telling.go()
    # What is new waits for none of it.
    assert [len(told.changes) for told in receiver.taken] == [1]
    runner = app.create_app().test_cli_runner()
    said = runner.invoke(args=["webhook-replay", telling.names[0]])
    assert (said.exit_code, said.output) == (0, "2 batches are sent again.\n")
    telling.go()
    assert [told.id for told in receiver.taken][1:] == [first, second]
    assert len(receiver.changes) == 701
    said = runner.invoke(args=["webhook-replay", "unknown"])
    assert said.exit_code == 1
    assert said.output.startswith("Error: There is no receiver 'unknown'. WEBHOOKS_FILE names: ")


def test_what_waits_for_the_next_attempt_is_sent_at_once_by_the_same_command(
    telling: Telling, device: Device, receiver: Receiver
) -> None:
    receiver.always = respond(500)
    push(device)
    telling.go()
    receiver.always = None
    telling.go()
    assert receiver.taken == [], "the next attempt is a while away"
    runner = app.create_app().test_cli_runner()
    said = runner.invoke(args=["webhook-replay", telling.names[0]])
    assert (said.exit_code, said.output) == (0, "Nothing was given up. What waits is sent now.\n")
    telling.go()
    assert [len(told.changes) for told in receiver.taken] == [1]


def test_one_that_was_sent_again_has_three_days_again(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    receiver.always = respond(500)
    push(device)
    telling.go()
    clock.advance(seconds=3 * DAY + 1)
    telling.go()
    app.create_app().test_cli_runner().invoke(args=["webhook-replay", telling.names[0]])
    for _ in range(3):
        telling.go()
        clock.advance(seconds=DAY * 0.9)
    assert kept(telling)[0].failed_at is None


def test_several_processes_tell_a_receiver_one_after_the_other(
    telling: Telling, device: Device, receiver: Receiver
) -> None:
    ticks = [push(device, 120)[0] for _ in range(12)]
    processes = [telling.new_couriers()[0] for _ in range(4)]
    threads = [threading.Thread(target=telling.go, args=[one]) for one in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert receiver.most_at_once == 1
    assert [change["tick"] for change in receiver.changes] == [t for t in ticks for _ in range(120)]


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Callable[[Telling, Any, str], None]:
    """Let a process end where it calls something."""

    def end(*_: Any, **__: Any) -> None:
        raise SystemExit

    def run(telling: Telling, what: Any, name: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(what, name, end)
            with pytest.raises(SystemExit):
                telling.go(*telling.new_couriers())

    return run


@pytest.mark.parametrize(
    ("what", "name", "sent"),
    [
        (deliverer, "post", 1),
        (batches, "settle", 2),
        (batches, "forget_changes", 1),
    ],
)
def test_a_process_that_dies_loses_nothing_and_the_next_sends_the_same_batch(
    telling: Telling,
    device: Device,
    receiver: Receiver,
    clock: Clock,
    die: Callable[[Telling, Any, str], None],
    what: Any,
    name: str,
    sent: int,
) -> None:
    _, ids = push(device, 3)
    die(telling, what, name)
    push(device)
    if name != "forget_changes":
        # That one has left nothing.
        telling.go()
        assert len(receiver.told) == sent - 1
        clock.advance(seconds=31)
    telling.go()
    if name == "settle":
        assert receiver.told[0].id == receiver.told[1].id
        assert receiver.told[0].body == receiver.told[1].body
    assert {change["id"] for change in receiver.changes} >= {*ids}
    assert (telling.outbox(), kept(telling)) == ([], [])


def test_a_process_that_was_stopped_for_long_settles_nothing(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    push(device)
    slow, fast = telling.new_couriers()[0], telling.new_couriers()[0]
    receiver.answers = [respond(500)]
    with telling.sync.app_context():
        batches.enter(telling.names[0])
        batch = batches.take(telling.names[0], slow.deliverer.id)
        assert batch
    clock.advance(seconds=31)
    telling.go(fast)
    with telling.sync.app_context():
        settled = batches.settle(telling.names[0], slow.deliverer.id, batch, is_delivered=True)
    assert settled is None
    assert [one.id for one in kept(telling)] == [batch.id]


def test_an_attempt_that_would_outlast_its_hold_is_not_begun(
    telling: Telling,
    device: Device,
    receiver: Receiver,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(device)
    waits = [20, 20, 0]
    take = batches.take

    def slow(name: str, holder: str) -> Any:
        batch = take(name, holder)
        if waits:
            assert receiver.told == []
            clock.advance(seconds=waits.pop(0))
        return batch

    monkeypatch.setattr(batches, "take", slow)
    telling.go()
    assert (waits, len(receiver.taken)) == ([], 1)


def test_a_hold_by_a_clock_that_was_wrong_does_not_last(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    clock.advance(seconds=DAY)
    receiver.answers = [respond(500)]
    push(device)
    telling.go(*telling.new_couriers())
    clock.reset()
    telling.go()
    assert len(receiver.taken) == 1


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Telling], Deliverer]]:
    """Let a process deliver in the background."""
    started = []
    monkeypatch.setattr(deliverer, "ROUND_S", 0.01)

    def run(telling: Telling) -> Deliverer:
        one = Deliverer(telling.sync)
        started.append(one)
        one.start()
        return one

    yield run
    for one in started:
        one.stop()


def test_a_receiver_that_hangs_holds_up_no_other(
    tell: Tell, receiver: Receiver, running: Callable[[Telling], Deliverer]
) -> None:
    is_over = threading.Event()

    def hang(_request: BaseHTTPRequestHandler) -> None:
        is_over.wait(30)

    with Receiver() as hanging:
        hanging.always = hang
        telling = tell(hanging, receiver)
        running(telling)
        device = telling.api.register()
        for _ in range(3):
            push(device)
            eventually(lambda: not telling.outbox(1) and not kept(telling, 1))
        assert len(receiver.changes) == 3
        assert len(hanging.told) == 1
        is_over.set()
        assert hanging.faults == []


def test_one_that_ends_finishes_its_attempt_and_leaves_the_receiver_to_others(
    telling: Telling,
    device: Device,
    receiver: Receiver,
    running: Callable[[Telling], Deliverer],
) -> None:
    may_end = threading.Event()

    def wait(request: BaseHTTPRequestHandler) -> None:
        may_end.wait(10)
        respond(204)(request)

    receiver.always = wait
    push(device)
    first = running(telling)
    assert receiver.was_asked.wait(10)
    push(device)
    ending = threading.Thread(target=first.stop)
    ending.start()
    assert first.stopped.wait(10)
    may_end.set()
    ending.join(20)
    receiver.always = None
    # The first batch is done, the second is not begun, and nobody has to wait for it.
    assert (len(receiver.told), kept(telling), len(telling.outbox())) == (1, [], 1)
    telling.go(*telling.new_couriers())
    assert len(receiver.told) == 2


def test_a_database_that_is_away_is_waited_for_and_told_of_once(
    telling: Telling,
    device: Device,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    push(device)
    [courier] = telling.couriers

    def away(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    pauses = []
    with monkeypatch.context() as patch, telling.sync.app_context():
        patch.setattr(batches, "has_due", away)
        for _ in range(8):
            courier.round_or_wait()
            pauses.append(courier.pause_s)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert [record.message for record in caplog.records].count("outbox_unreadable") == 1
    with telling.sync.app_context():
        courier.round_or_wait()
    assert (len(receiver.taken), courier.pause_s) == (1, deliverer.ROUND_S)


def test_a_receiver_that_is_away_is_told_of_once(
    telling: Telling,
    device: Device,
    receiver: Receiver,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.always = respond(500)
    push(device)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            telling.go()
            clock.advance(seconds=3600)
        receiver.always = None
        telling.go()
    said = [r.message for r in caplog.records if r.message.startswith("webhook_")]
    assert said == ["webhook_failed", "webhook_delivered"]
    assert receiver.secret not in caplog.text


def test_what_waits_is_measured(
    telling: Telling, device: Device, receiver: Receiver, clock: Clock
) -> None:
    receiver.always = respond(500)
    push(device, 501)
    telling.go()
    clock.advance(seconds=100)
    telling.couriers[0].measure_at = 0
    telling.go()
    assert gauge(telling, "pending_changes") == 501
    assert 100 <= (gauge(telling, "oldest_pending_seconds") or 0) < 110
    receiver.always = None
    clock.advance(seconds=100)
    telling.go()
    telling.couriers[0].measure_at = 0
    telling.go()
    assert gauge(telling, "pending_changes") == gauge(telling, "oldest_pending_seconds") == 0


def test_pushes_from_everywhere_are_told_once_and_in_order_while_they_come(
    telling: Telling, receiver: Receiver, running: Callable[[Telling], Deliverer]
) -> None:
    devices = [telling.api.register() for _ in range(4)]
    for _ in range(2):
        running(telling)

    def work(device: Device) -> None:
        for _ in range(8):
            p = project()
            answer = device.push_raw(
                changes(projects={"created": [wire(p)]}, tasks={"created": [wire(task(p["id"]))]})
            )
            assert answer.status_code == 200

    threads = [threading.Thread(target=work, args=[device]) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: not telling.outbox() and not kept(telling))
    assert receiver.most_at_once == 1
    for device in devices:
        told = [one for one in receiver.changes if one["space"] == device.user_id]
        ticks = [one["tick"] for one in told]
        assert ticks == sorted(ticks)
        assert len(told) == len({(one["tick"], one["id"]) for one in told}) == 16
