"""Real processes that deliver, while they are killed (docs/webhooks.md)."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

import services.sync
from deploy.grants import grant
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import WebhookBatch, WebhookChange, WebhookReceiver
from tests.api import Device, changes, project, task, wire
from tests.conftest import ROOT, Backend, NewPlace
from tests.servers import processes
from tests.servers.receiver import Receiver, respond
from tests.servers.stacks import NO_PROXY, fetch
from tests.sharing import join, make_space
from tests.stack.load import eventually
from tests.webhooks.conftest import Tell, Telling, dispose
from tests.webhooks.test_outbox import delete_account

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(backend: Backend, environ: dict[str, str]) -> dict[str, str]:
    """What the deliverer starts with: on a server, as a user who may do what it must and no more."""
    if backend.database is None:
        return environ
    grant(backend.database.url("migrate", "app"))
    return environ | {"DATABASE_URL": backend.database.url("webhooks", "app")}


@pytest.fixture
def telling(tell: Tell, receiver: Receiver, backend: Backend, settings: dict[str, str]) -> Telling:
    """Services with the rights that they have."""
    if backend.database is None:
        return tell(receiver)
    urls = {name: backend.database.url(name, "app") for name in ("sync", "users")}
    return tell(receiver, urls=urls)


@pytest.fixture
def deliverers(
    telling: Telling, settings: dict[str, str], new_place: NewPlace
) -> Iterator[list[processes.Webhooks]]:
    """Two processes, which are not started yet."""
    place = new_place()
    own = settings | {"WEBHOOKS_FILE": telling.file, "REDIS_URL": ""}
    both = [
        processes.Webhooks(place, port, own, place / f"{port}.log")
        for port in (processes.free_port(), processes.free_port())
    ]
    yield both
    for one in both:
        one.stop()


def waits(telling: Telling, app: Flask) -> int:
    """How many changes and batches are not delivered."""
    with app.app_context(), db.session.begin():
        return sum(
            db.session.scalar(select(func.count()).where(model.receiver == telling.names[0]))
            for model in (WebhookChange, WebhookBatch)
        )


@pytest.fixture
def superuser(application: Any) -> Iterator[Flask]:
    """An application that sees everything."""
    app = services.sync.create_app()
    yield app
    dispose(app)


def kill(telling: Telling, app: Flask, one: processes.Webhooks) -> None:
    """Kill a process, and let what it held be free, as it is after half a minute."""
    assert one.process
    os.killpg(one.process.pid, signal.SIGKILL)
    one.process.wait()
    free = update(WebhookReceiver).where(WebhookReceiver.name == telling.names[0])
    with app.app_context():
        transaction(lambda: db.session.execute(free.values(held_until=0, next_at=0)))()


def test_kills_lose_nothing_and_keep_the_order_in_every_space(
    telling: Telling,
    superuser: Flask,
    receiver: Receiver,
    deliverers: list[processes.Webhooks],
) -> None:
    devices = [telling.api.register() for _ in range(4)]
    space = make_space(devices[0])
    join(devices[0], space, devices[1])
    pushed: set[tuple[str, int]] = set()
    is_over = threading.Event()

    def work(device: Device, space_id: str | None) -> None:
        # So often that there is always something to tell.
        while not is_over.wait(0.2):
            p = project(space_id=space_id)
            t = task(p["id"])
            answer = device.push_raw(
                changes(projects={"created": [wire(p)]}, tasks={"created": [wire(t)]})
            )
            assert answer.status_code == 200, answer.text
            pushed.update((one["id"], answer.json["timestamp"]) for one in (p, t))

    threads = [
        threading.Thread(target=work, args=[device, space if at < 2 else None])
        for at, device in enumerate(devices)
    ]
    for one in (*deliverers, *threads):
        one.start()
    try:
        for turn in range(4):
            seen = len(receiver.told)
            eventually(lambda seen=seen: len(receiver.told) > seen + 3)
            receiver.answers = [respond(500)]
            kill(telling, superuser, deliverers[turn % 2])
            deliverers[turn % 2].start()
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    eventually(lambda: waits(telling, superuser) == 0)
    bodies: dict[str, bytes] = {}
    told: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for one in receiver.taken:
        # A batch that comes again is the same.
        assert bodies.setdefault(one.id, one.body) == one.body
    for body in bodies.values():
        for change in json.loads(body)["data"]["changes"]:
            told[change["space"]].append((change["tick"], change["id"]))
    assert told.keys() == {space, *(device.user_id for device in devices[2:])}
    for one_space in told.values():
        ticks = [tick for tick, _ in one_space]
        assert ticks == sorted(ticks)
        assert len(set(one_space)) == len(one_space)
    assert {(id_, tick) for some in told.values() for tick, id_ in some} == pushed


def test_it_needs_no_more_rights_than_it_has_and_says_how_it_goes(
    telling: Telling, receiver: Receiver, deliverers: list[processes.Webhooks]
) -> None:
    one, _ = deliverers
    one.start()
    device, space_owner = telling.api.register(), telling.api.register()
    device.push(projects={"created": [project()]})
    make_space(space_owner)
    delete_account(space_owner)
    eventually(lambda: {"created", "gone"} <= {c["kind"] for c in receiver.changes})
    url = f"http://127.0.0.1:{one.port}"
    assert fetch(f"{url}/healthz")[0] == fetch(f"{url}/readyz")[0] == 200
    # Nothing of sync is there.
    assert fetch(f"{url}/v1/sync")[0] == 404
    with NO_PROXY.open(f"{url}/metrics") as answer:
        text = answer.read().decode()
    assert f'webhook_pending_changes{{receiver="{telling.names[0]}"}}' in text
    assert "webhook_receivers 1.0" in text


def test_it_ends_when_it_is_told_and_leaves_its_receivers_to_others_at_once(
    telling: Telling, receiver: Receiver, deliverers: list[processes.Webhooks]
) -> None:
    first, second = deliverers
    device = telling.api.register()
    first.start()
    device.push(projects={"created": [project()]})
    eventually(lambda: receiver.taken)
    first.stop()
    assert first.process and first.process.returncode == 0
    device.push(projects={"created": [project()]})
    second.start()
    eventually(lambda: len(receiver.taken) == 2, seconds=20)


def test_without_receivers_it_does_not_start_and_says_why(settings: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.sync.webhooks", "--port=0"],
        cwd=ROOT,
        env=os.environ | settings | {"WEBHOOKS_FILE": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("The webhooks service cannot start. WEBHOOKS_FILE: ")
