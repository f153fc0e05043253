"""Any history of edits, syncs and lost messages ends with all devices equal, and nothing lost.

Hypothesis makes the histories; a failing one is printed as the steps that lead to it.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.api import Api, project, task
from tests.watermelon_model import ModelDevice, NetworkFailure

DEVICES = 3
which = st.integers(0, DEVICES - 1)
pick = st.integers(0, 1000)
text = st.sampled_from(["", "a", "🍉", "x\0y", "e\u0301"])
lost = st.sampled_from(["", "", "request", "answer", "twice"])


class Histories(RuleBasedStateMachine):
    """Three devices of one user."""

    api: Api

    @initialize()
    def register(self) -> None:
        first = self.api.register()
        self.devices = [ModelDevice(first)]
        self.devices += [ModelDevice(first.another()) for _ in range(DEVICES - 1)]
        #: Ids that some device has deleted, itself or with their project.
        self.doomed: set[str] = set()
        self.created: dict[str, set[str]] = {"projects": set(), "tasks": set()}
        #: Records whose creation was pushed by a device that does not know it. WatermelonDB tracks no
        #: columns of a record that it thinks is only local, so the next pull overwrites edits.
        self.in_doubt: set[tuple[int, str]] = set()
        #: The devices that edited a column of a record, and the last value of each.
        self.edits: dict[tuple[str, str, str], dict[int, Any]] = {}

    def teardown(self) -> None:
        if not hasattr(self, "devices"):
            return
        # Twice around: what the first round pushes, the second brings to all.
        for _ in range(2):
            for device in self.devices:
                device.sync()
        for device in self.devices:
            device.pull()
        newcomer = ModelDevice(self.devices[0].api.another())
        newcomer.sync()
        end = newcomer.rows()
        for device in self.devices:
            assert device.rows() == end
            assert device.local_changes() == newcomer.local_changes()
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
        owner = self.any_of(number, "projects", seed)
        if owner:
            record = task(owner, id=self.new_id("t"))
            self.devices[number].create("tasks", record)
            self.created["tasks"].add(record["id"])
            if owner in self.doomed:
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
            self.devices[number].update(table, id_, {column: value})
            by = self.edits.setdefault((table, id_, column), {})
            by[number] = value
            if (number, id_) in self.in_doubt:
                by[-1] = None

    @rule(number=which, seed=pick, to=pick)
    def move_task(self, number: int, seed: int, to: int) -> None:
        id_, owner = self.any_of(number, "tasks", seed), self.any_of(number, "projects", to)
        if id_ and owner:
            # Where it ends depends on the others' moves; its owner may be deleted there.
            self.doomed.add(id_)
            self.devices[number].update("tasks", id_, {"project_id": owner})

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
            if lose == "answer":
                self.in_doubt |= {
                    (number, id_)
                    for records in device.records.values()
                    for id_, record in records.items()
                    if record["_status"] == "created"
                }
            return
        self.in_doubt = {(who, id_) for who, id_ in self.in_doubt if who != number}
        # Nothing but a lost answer may surprise WatermelonDB, and even that does not: what a
        # session pushed comes back to it as `updated`.
        assert device.complaints == []

    @rule(number=which)
    def push_before_the_next_pull(self, number: int) -> None:
        # But not before the first: synchronize() always begins with one.
        if self.devices[number].last_pulled_at:
            self.devices[number].push()

    @rule(number=which, other=which)
    def sync_between_each_others_pull_and_push(self, number: int, other: int) -> None:
        self.devices[number].pull()
        if other != number:
            self.devices[other].sync()
        self.devices[number].push()


def test_any_history_ends_with_all_devices_equal_and_nothing_lost(
    api: Api, request: pytest.FixtureRequest
) -> None:
    Histories.api = api
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
