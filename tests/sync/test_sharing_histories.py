"""Any history of users who share rows ends with each device holding exactly what its user may read.

Three users with five devices join and leave spaces, change roles, move rows, delete spaces and lose
messages. Hypothesis makes the histories; a failing one is printed as the steps that lead to it.
"""

from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

import services.sync
from tests.api import Api, Device, project, task
from tests.histories import lost, meet, pick, run_histories
from tests.sharing import join, leave, make_space, members_of, spaces_of
from tests.watermelon_model import ModelDevice, NetworkFailure

#: Of each device the number of its user.
USERS = (0, 0, 1, 1, 2)
which = st.integers(0, len(USERS) - 1)
who = st.integers(0, 2)
role = st.sampled_from(["writer", "writer", "reader", "owner"])


class SharingHistories(RuleBasedStateMachine):
    """Five devices of three users."""

    api: Api

    @initialize()
    def register(self) -> None:
        self.users = [self.api.register() for _ in range(3)]
        self.devices = [ModelDevice(self.users[user].another()) for user in USERS]
        #: Each space that was ever made.
        self.spaces = [make_space(user) for user in self.users[:2]]
        for space, owner, member, role in (
            (0, 0, 1, "writer"),
            (0, 0, 2, "reader"),
            (1, 1, 0, "writer"),
        ):
            join(self.users[owner], self.spaces[space], self.users[member], role)
        #: The number of records ever made.
        self.made = 0
        #: Records that nobody may miss: by id the user who alone could have lost them.
        self.own: dict[str, int] = {}

    def device(self, number: int) -> ModelDevice:
        return self.devices[number]

    def space_of(self, user: int, seed: int) -> str | None:
        """A space that the user is in, as the server says."""
        ids = sorted(spaces_of(self.users[user]))
        return ids[seed % len(ids)] if ids else None

    def any_of(self, number: int, table: str, seed: int) -> str | None:
        ids = sorted(self.devices[number].records[table])
        return ids[seed % len(ids)] if ids else None

    def new_id(self, letter: str) -> str:
        self.made += 1
        return f"{letter}{self.made}"

    # --- spaces

    @rule(user=who)
    def make(self, user: int) -> None:
        if len(self.spaces) < 4:
            self.spaces.append(make_space(self.users[user]))

    @rule(seed=pick, user=who, role=role)
    def join(self, seed: int, user: int, role: str) -> None:
        space = self.spaces[seed % len(self.spaces)]
        for owner in self.users:
            if spaces_of(owner).get(space, {}).get("role") == "owner":
                join(owner, space, self.users[user], role)
                return

    @rule(seed=pick, user=who)
    def leave(self, seed: int, user: int) -> None:
        space = self.space_of(user, seed)
        if space is None:
            return
        roles = members_of(self.users[user], space)
        others = [id_ for id_, role in roles.items() if role == "owner"]
        if others != [self.users[user].user_id]:
            leave(space, self.users[user])

    @rule(seed=pick, user=who, other=who, role=role)
    def change_role(self, seed: int, user: int, other: int, role: str) -> None:
        space = self.space_of(user, seed)
        if space is not None:
            path = f"/spaces/{space}/members/{self.users[other].user_id}"
            answer = self.api.patch(path, {"role": role}, token=self.users[user].token)
            assert answer.status_code in (200, 403, 404, 409), answer.text

    @rule(seed=pick, user=who)
    def end(self, seed: int, user: int) -> None:
        space = self.space_of(user, seed)
        if space is not None and seed % 4 == 0:
            answer = self.api.delete(f"/spaces/{space}", token=self.users[user].token)
            assert answer.status_code in (204, 403), answer.text

    # --- rows

    @rule(number=which, seed=pick, is_shared=st.booleans())
    def create_project(self, number: int, seed: int, is_shared: bool) -> None:
        space = self.space_of(USERS[number], seed) if is_shared else None
        device = self.devices[number]
        record = project(id=self.new_id("p"), space_id=space)
        device.create("projects", record)
        device.create("tasks", task(record["id"], id=self.new_id("t")))
        if space is None:
            self.own[record["id"]] = USERS[number]

    @rule(number=which, seed=pick)
    def create_task(self, number: int, seed: int) -> None:
        if parent := self.any_of(number, "projects", seed):
            record = task(parent, id=self.new_id("t"))
            self.devices[number].create("tasks", record)

    @rule(number=which, seed=pick, value=st.sampled_from(["a", "b", "🍉"]))
    def edit(self, number: int, seed: int, value: str) -> None:
        if id_ := self.any_of(number, "projects", seed):
            self.devices[number].update("projects", id_, {"name": value})
        if id_ := self.any_of(number, "tasks", seed):
            self.devices[number].update("tasks", id_, {"title": value})

    @rule(number=which, seed=pick, to=pick, is_shared=st.booleans())
    def move_project(self, number: int, seed: int, to: int, is_shared: bool) -> None:
        id_ = self.any_of(number, "projects", seed)
        if id_:
            self.own.pop(id_, None)
            space = self.space_of(USERS[number], to) if is_shared else None
            self.devices[number].update("projects", id_, {"space_id": space})

    @rule(number=which, seed=pick, to=pick)
    def move_task(self, number: int, seed: int, to: int) -> None:
        id_, parent = self.any_of(number, "tasks", seed), self.any_of(number, "projects", to)
        if id_ and parent:
            self.devices[number].update("tasks", id_, {"project_id": parent})

    @rule(number=which, seed=pick, table=st.sampled_from(["projects", "tasks"]))
    def delete(self, number: int, seed: int, table: str) -> None:
        if id_ := self.any_of(number, table, seed):
            self.own.pop(id_, None)
            device = self.devices[number]
            if table == "projects":
                for task_id, row in list(device.records["tasks"].items()):
                    if row["project_id"] == id_:
                        device.delete("tasks", task_id)
            device.delete(table, id_)

    # --- syncs

    @rule(number=which, lose=lost)
    def sync(self, number: int, lose: str) -> None:
        with suppress(NetworkFailure):
            self.devices[number].sync(lose=lose)

    @rule(number=which, other=which)
    def sync_between_each_others_pull_and_push(self, number: int, other: int) -> None:
        self.devices[number].pull()
        if other != number:
            self.devices[other].sync()
        self.devices[number].push()

    @rule(user=who)
    def sync_all_of_a_user(self, user: int) -> None:
        for number, device in enumerate(self.devices):
            if USERS[number] == user:
                device.sync()

    @rule(number=which)
    def push_before_the_next_pull(self, number: int) -> None:
        if self.devices[number].last_pulled_at:
            self.devices[number].push()

    @rule(number=which, limit=st.integers(1, 3))
    def pull_by_pages(self, number: int, limit: int) -> None:
        self.devices[number].pull(limit)

    @rule(number=which)
    def log_in_again(self, number: int) -> None:
        self.devices[number].login()

    def teardown(self) -> None:
        if not hasattr(self, "devices"):
            return
        meet(self.devices, rounds=3)
        ends = [self.newcomer(user) for user in self.users]
        for number, device in enumerate(self.devices):
            assert device.rows() == ends[USERS[number]], f"device {number}"
            assert not any(any(c.values()) for c in device.local_changes().values())
        for user, end in zip(self.users, ends, strict=True):
            self.check_readable(user, end, ends)
        for id_, number in self.own.items():
            assert id_ in ends[number]["projects"], f"{id_} is gone"

    def newcomer(self, user: Device) -> dict[str, dict[str, Any]]:
        device = ModelDevice(user.another())
        device.sync()
        paged = ModelDevice(user.another())
        paged.pull(2)
        assert paged.rows() == device.rows()
        return device.rows()

    def check_readable(
        self, user: Device, end: dict[str, dict[str, Any]], ends: list[dict[str, dict[str, Any]]]
    ) -> None:
        """Rows are of the user's spaces alone, and all members of a space have the same of it."""
        spaces = spaces_of(user)
        for row in end["projects"].values():
            assert row["space_id"] is None or row["space_id"] in spaces
        for row in end["tasks"].values():
            assert row["project_id"] in end["projects"], "a task without its project"
        for other, others in zip(self.users, ends, strict=True):
            for space in spaces.keys() & spaces_of(other).keys():
                mine, theirs = (
                    {id_ for id_, row in rows["projects"].items() if row["space_id"] == space}
                    for rows in (end, others)
                )
                # Who has a row of this id in another space as well is sent one of the two.
                assert mine - others["projects"].keys() == set()
                assert theirs - end["projects"].keys() == set()


def test_any_history_of_sharing_ends_with_each_device_holding_what_its_user_may_read(
    api: Api,
) -> None:
    SharingHistories.api = api
    with services.sync.create_app().app_context():
        # And more in tests/webhooks/test_histories.py, with receivers.
        run_histories(SharingHistories, examples=6, steps=40)
