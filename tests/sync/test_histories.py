"""Any history of edits, syncs and lost messages ends with all devices equal, and nothing lost.

Hypothesis makes the histories; a failing one is printed as the steps that lead to it.
"""

from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
)

import services.sync
from services.sync.purge import purge
from tests.api import Api, project, task
from tests.histories import Devices, Rows, lost, pick, run_histories, which
from tests.sync.restoring import Backup, deleted_after, forget_restores
from tests.watermelon_model import ModelDevice, NetworkFailure

text = st.sampled_from(["", "a", "🍉", "x\0y", "e\u0301"])


class Histories(Devices):
    """Three devices, with the demo's tables."""

    @initialize()
    def register(self) -> None:
        self.begin()
        self.logged_in_again: set[int] = set()
        #: Ids that some device has deleted, itself or with their project.
        self.doomed: set[str] = set()
        self.created: dict[str, set[str]] = {"projects": set(), "tasks": set()}
        #: The devices that edited a column of a record, and the last value of each.
        self.edits: dict[tuple[str, str, str], dict[int, Any]] = {}

    def check_end(self, end: Rows, newcomer: ModelDevice) -> None:
        super().check_end(end, newcomer)
        for row in end["tasks"].values():
            assert row["project_id"] in end["projects"], "a task without its project"
        for table, ids in self.created.items():
            missing = ids - end[table].keys() - self.doomed
            assert not missing, f"{table} {missing} were created, never deleted, and are gone"
        for (table, id_, column), by in self.edits.items():
            if id_ in end[table] and len(by) == 1:
                (value,) = by.values()
                assert end[table][id_][column] == value, f"the only edit of {column} is gone"

    def new_id(self, letter: str) -> str:
        # The same in a repeated run, or a failure could not be repeated.
        return f"{letter}{sum(map(len, self.created.values()))}"

    def any_of(self, number: int, table: str, seed: int) -> str | None:
        ids = sorted(self.devices[number].records[table])
        return ids[seed % len(ids)] if ids else None

    @rule(number=which, name=text)
    def create_project(self, number: int, name: str) -> None:
        record = project(id=self.new_id("p"), name=name)
        self.devices[number].create("projects", record)
        self.created["projects"].add(record["id"])

    @rule(number=which, seed=pick)
    def create_task(self, number: int, seed: int) -> None:
        parent = self.any_of(number, "projects", seed)
        if parent:
            record = task(parent, id=self.new_id("t"))
            self.devices[number].create("tasks", record)
            self.created["tasks"].add(record["id"])
            if parent in self.doomed:
                self.doomed.add(record["id"])

    @rule(
        number=which,
        seed=pick,
        edit=st.sampled_from(
            [
                ("projects", "name"),
                ("projects", "description"),
                ("tasks", "title"),
                ("tasks", "description"),
            ]
        ),
        value=text,
    )
    def edit(self, number: int, seed: int, edit: tuple[str, str], value: str) -> None:
        table, column = edit
        id_ = self.any_of(number, table, seed)
        if id_:
            self.note_edit(number, table, id_, column, value)

    def note_edit(self, number: int, table: str, id_: str, column: str, value: str) -> None:
        self.devices[number].update(table, id_, {column: value})
        self.edits.setdefault((table, id_, column), {})[number] = value

    @rule(number=which, seed=pick, to=pick)
    def move_task(self, number: int, seed: int, to: int) -> None:
        id_, parent = self.any_of(number, "tasks", seed), self.any_of(number, "projects", to)
        if id_ and parent:
            # Where it ends depends on the others' moves; its parent may be deleted there.
            self.doomed.add(id_)
            self.devices[number].update("tasks", id_, {"project_id": parent})

    @rule(number=which, seed=pick, table=st.sampled_from(["projects", "tasks"]))
    def delete(self, number: int, seed: int, table: str) -> None:
        id_ = self.any_of(number, table, seed)
        if id_ is None:
            return
        self.doomed.add(id_)
        if table == "projects":
            # Every device's tasks in it go with it, also those that this device does not know.
            for device in self.devices:
                self.doomed |= {
                    t for t, row in device.records["tasks"].items() if row["project_id"] == id_
                }
            for task_id, row in list(self.devices[number].records["tasks"].items()):
                if row["project_id"] == id_:
                    self.devices[number].delete("tasks", task_id)
        self.devices[number].delete(table, id_)

    @rule(number=which, lose=lost)
    def sync(self, number: int, lose: str) -> None:
        device = self.devices[number]
        device.complaints.clear()
        try:
            device.sync(lose=lose)
        except NetworkFailure:
            return
        # A lost answer does not surprise WatermelonDB, since what a session pushed comes back to it as
        # `updated`; nor does a new login, but for records that it is told are there and are not.
        assert [said for said in device.complaints if not said.endswith("is not there")] == []
        assert number in self.logged_in_again or device.complaints == []

    @rule(number=which)
    def login_again(self, number: int) -> None:
        device = self.devices[number]
        # An app that never says what it has seen, and says no more who it was, says too little.
        if device.tells_last_pulled_at and not device.late:
            device.login()
            self.logged_in_again.add(number)

    @rule()
    def purge(self) -> None:
        purge(tombstone_days=0)

    @rule(number=which, lose=lost, again=lost, edit=st.booleans(), other=which)
    def edit_what_is_in_doubt(
        self, number: int, lose: str, again: str, edit: bool, other: int
    ) -> None:
        """By chance it is rare: a creation whose fate is unknown, and edits here and elsewhere."""
        device, who = self.devices[number], number if edit else other
        id_ = self.new_id("p")
        device.create("projects", project(id=id_, name="made", description="made"))
        self.created["projects"].add(id_)
        for turn, (column, losing) in enumerate(
            (("name", lose), ("name", again), ("description", ""))
        ):
            device.pull()
            device.deliver()
            if other != number:
                self.devices[other].sync()
            with suppress(NetworkFailure):
                device.push(lose=losing)
            if id_ in self.devices[who].records["projects"]:
                self.note_edit(who, "projects", id_, column, f"turn {turn}")

    @rule(number=which)
    def push_before_the_next_pull(self, number: int) -> None:
        # But not before the first: synchronize() always begins with one.
        if self.devices[number].last_pulled_at:
            self.devices[number].push()


class RestoredHistories(Histories):
    """The same, and now and then the database goes back to a backup."""

    @initialize()
    def register(self) -> None:
        super().register()
        self.backup: Backup | None = None
        self.restores: list[int] = []
        self.user_id = self.devices[0].api.user_id

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            forget_restores(getattr(self, "restores", []))

    @rule()
    def take_backup(self) -> None:
        self.backup = Backup.of(self.user_id)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        assert self.backup
        for device in self.devices:
            # Who has not pulled since a push that is lost keeps what it pushed, and nobody can tell.
            if device.last_pulled_at <= self.backup.clock < device.last_pushed_at:
                device.pull()
        self.restores.append(self.backup.restore())
        for number, device in enumerate(self.devices):
            # What was under way does not survive the restart.
            device.late.clear()
            device.login()
            self.logged_in_again.add(number)

    @rule(number=which, other=which)
    def delete_after_a_restore(self, number: int, other: int) -> None:
        """By chance it is rare: a deletion, and a device that has pulled what was lost."""
        device = self.devices[number]
        kept, lost_ = self.new_id("p"), f"{self.new_id('p')}lost"
        self.created["projects"] |= {kept, lost_}
        device.create("projects", project(id=kept))
        device.sync()
        self.devices[other].sync()
        self.take_backup()
        device.create("projects", project(id=lost_))
        device.sync()
        self.devices[other].sync()
        self.restore()
        device.pull()
        if kept in device.records["projects"]:
            self.doomed.add(kept)
            device.delete("projects", kept)
            device.push()

    def check_end(self, end: Rows, newcomer: ModelDevice) -> None:
        if not self.restores:
            super().check_end(end, newcomer)
            return
        tombstones = deleted_after(self.user_id, self.restores[0])
        for device in self.devices:
            for table, rows in device.rows().items():
                # What the restore lost stays on the device that has it; all else is as on the server.
                assert {id_: row for id_, row in rows.items() if id_ in end[table]} == end[table]
                assert not rows.keys() & tombstones[table]
            assert device.local_changes() == newcomer.local_changes()
        for row in end["tasks"].values():
            assert row["project_id"] in end["projects"], "a task without its project"


def test_any_history_ends_with_all_devices_equal_and_nothing_lost(api: Api) -> None:
    play(Histories, api, examples=25)


def test_after_a_restore_all_devices_come_to_have_what_the_server_has(api: Api) -> None:
    play(RestoredHistories, api, examples=12)


def play(histories: type[Histories], api: Api, examples: int) -> None:
    histories.api = api
    with services.sync.create_app().app_context():
        run_histories(histories, examples=examples, steps=30)
