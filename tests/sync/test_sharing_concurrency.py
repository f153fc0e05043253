"""Pushes into spaces with common members, at the same time (docs/design.md, "Spaces")."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count, cycle, islice
from typing import Any

import services.sync
from services.sync.door import push_as_server, writing
from tests.api import Api, Device, changes, project, task
from tests.sharing import join, leave, make_space

PUSHES = 9
#: Of a record that was acknowledged: where it is, "" for nowhere.
Places = dict[str, str | None]


def push(device: Device, places: Places, *records: dict[str, Any], deleted: str = "") -> None:
    """Push projects with a task in each, or a deletion, and note what the answer acknowledges."""
    tables = changes(
        projects={"updated": list(records), "deleted": [deleted] * bool(deleted)},
        tasks={"created": [task(record["id"]) for record in records]},
    )
    answer = device.push_raw(tables)
    assert answer.status_code == 200, answer.text
    refused = answer.json["refused"].get("projects", [])
    for record in records:
        if record["id"] not in refused:
            places[record["id"]] = record["space_id"]
    if deleted and deleted not in refused:
        places[deleted] = ""


def test_pushes_into_two_spaces_with_common_members_lose_nothing(api: Api) -> None:
    users = [api.register() for _ in range(4)]
    guest = api.register()
    spaces = [make_space(users[0]), make_space(users[1])]
    for space, owner in zip(spaces, users, strict=False):
        for user in (*users, guest):
            if user is not owner:
                join(owner, space, user)

    def write(device: Device, number: int) -> Places:
        places: Places = {}
        made: list[dict[str, Any]] = []
        for step, space in enumerate(islice(cycle(spaces), number % 2, number % 2 + PUSHES)):
            records = [project(space_id=space)]
            if step % 3 == 0:
                records += [project(space_id=other) for other in (*spaces, None)]
            if step % 3 == 1 and made:
                records.append(made[-1] | {"space_id": space})
            push(device, places, *records, deleted=made[0]["id"] if step == 7 else "")
            made += records[:1]
            device.pull()
        return places

    def come_and_go(owner: Device, space: str) -> None:
        for _ in range(3):
            leave(space, guest)
            join(owner, space, guest)

    devices = [device for user in users for device in (user, user.another())]
    with ThreadPoolExecutor(len(devices) + 2) as pool:
        writing = [pool.submit(write, *call) for call in zip(devices, count(), strict=False)]
        of_guest = pool.submit(write, guest.another(), 0)
        pool.submit(come_and_go, users[1], spaces[1]).result()
        found = [future.result() for future in writing]
        shared = {i: s for places in (*found, of_guest.result()) for i, s in places.items() if s}
    for user in (*users, guest):
        newcomer = user.another()
        newcomer.pull()
        there = {id_: row["space_id"] for id_, row in newcomer.rows["projects"].items()}
        assert shared.items() <= there.items()
        for device, places in zip(devices, found, strict=True):
            assert there.keys().isdisjoint(id_ for id_, space in places.items() if space == "")
            if device.user_id == user.user_id:
                assert {id_ for id_, space in places.items() if space is None} <= there.keys()
                device.pull()
                assert device.rows == newcomer.rows


def test_the_servers_pushes_and_jobs_lose_nothing_among_the_members_own(api: Api) -> None:
    users = [api.register() for _ in range(3)]
    spaces = [make_space(users[0]), make_space(users[1])]
    for space, owner in zip(spaces, users, strict=False):
        for user in users:
            if user is not owner:
                join(owner, space, user)
    counters = [project(space_id=space, description="0") for space in spaces]
    users[0].push(projects={"created": counters})
    app = services.sync.create_app()

    def write(device: Device, number: int) -> set[str]:
        made = set()
        for step in range(PUSHES):
            p = project(space_id=spaces[(step + number) % 2])
            assert device.push(projects={"created": [p]})["refused"] == {}
            made.add(p["id"])
            device.pull()
        return made

    def serve(number: int) -> set[str]:
        made = set()
        for step in range(PUSHES):
            here, there = spaces[(step + number) % 2], spaces[(step + number + 1) % 2]
            p, moved = project(), project()
            with app.app_context():
                pushed = push_as_server(here, {"projects": {"created": [p, moved]}}, "server")
                assert pushed.refused == {}
                away = {"updated": [{"id": moved["id"], "space_id": there}]}
                assert push_as_server(here, {"projects": away}, "server").refused == {}
            made |= {p["id"], moved["id"]}
        return made

    def count_up(number: int) -> set[str]:
        for step in range(PUSHES):
            at = (step + number) % 2
            with app.app_context(), writing(spaces[at]) as changes:
                row = changes.find("projects", counters[at]["id"])
                assert row
                changes.update("projects", row | {"description": str(int(row["description"]) + 1)})
        return set()

    work = [partial(write, user.another(), number) for number, user in enumerate(users)]
    work += [partial(serve, 0), partial(serve, 1), partial(count_up, 0), partial(count_up, 1)]
    with ThreadPoolExecutor(len(work)) as pool:
        made = set[str]().union(*pool.map(lambda one: one(), work))
    for user in users:
        newcomer = user.another()
        newcomer.pull()
        user.pull()
        assert user.rows == newcomer.rows
        assert user.rows["projects"].keys() == made | {row["id"] for row in counters}
        counted = [int(user.rows["projects"][row["id"]]["description"]) for row in counters]
        assert sum(counted) == 2 * PUSHES
