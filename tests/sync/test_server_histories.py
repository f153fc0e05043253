"""Any history of shared rows, with the app's own server as one more writer and rules that refuse and change,
ends with each device holding exactly what its user may read.
"""

from contextlib import suppress
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

import services.sync
from services.sync.door import NoSuchSpace, push_as_server, writing
from shared.models.rules import Change, refuse
from tests.api import Api, project, task, wire
from tests.histories import pick, run_histories
from tests.rules import ruled
from tests.sync.test_sharing_histories import SharingHistories, who


def no_melons(change: Change) -> Any:
    """Refuse what the devices call by one of the names that histories give."""
    return refuse("no_melons") if change.after and change.after["name"] == "🍉" else None


def keep_a(change: Change) -> Any:
    """Let no device delete, or carry off, a project of another one."""
    is_kept = change.after is None and change.role != "server" and change.before["name"] == "a"
    return refuse("kept") if is_kept else None


def shout_b(change: Change) -> Any:
    return {"title": "B"} if change.after and change.after["title"] == "b" else None


def at_most_six(change: Change) -> Any:
    is_new = change.before is None and change.after
    return refuse("too_many_tasks") if is_new and change.count("tasks") >= 6 else None


RULES = {"projects": [no_melons, keep_a], "tasks": [shout_b, at_most_six]}


class ServerHistories(SharingHistories):
    """The same five devices of three users, and their server."""

    def places(self) -> list[str]:
        """All spaces that there ever were, the users' own ones first."""
        return [*(user.user_id for user in self.users), *self.spaces]

    def place(self, seed: int) -> str:
        return self.places()[seed % len(self.places())]

    def stored(self, space: str, table: str, seed: int) -> dict[str, Any] | None:
        """One of the living rows of a space."""
        with writing(space) as changes:
            rows = list(changes.rows(table))
        return rows[seed % len(rows)] if rows else None

    def push(self, space: str, **tables: Any) -> None:
        with suppress(NoSuchSpace):
            pushed = push_as_server(space, tables, "server")
            assert pushed.resolved == {}

    @rule(seed=pick, is_alone=st.booleans())
    def the_server_makes_rows(self, seed: int, is_alone: bool) -> None:
        record = project(id=self.new_id("p"))
        del record["space_id"]
        child = task(record["id"], id=self.new_id("t"), title="b")
        tasks = {} if is_alone else {"created": [wire(child)]}
        self.push(self.place(seed), projects={"created": [wire(record)]}, tasks=tasks)

    @rule(seed=pick, name=st.sampled_from(["a", "b", "🍉", "server's"]))
    def the_server_edits(self, seed: int, name: str) -> None:
        space = self.place(seed)
        with suppress(NoSuchSpace):
            if row := self.stored(space, "projects", seed):
                self.push(space, projects={"updated": [{"id": row["id"], "name": name}]})
            if row := self.stored(space, "tasks", seed):
                self.push(space, tasks={"updated": [row | {"title": name}]})

    @rule(seed=pick, to=pick)
    def the_server_moves(self, seed: int, to: int) -> None:
        space = self.place(seed)
        with suppress(NoSuchSpace):
            if row := self.stored(space, "projects", seed):
                self.own.pop(row["id"], None)
                moved = {"id": row["id"], "space_id": self.place(to)}
                child = task(row["id"], id=self.new_id("t"))
                self.push(space, projects={"updated": [moved]}, tasks={"created": [wire(child)]})

    @rule(seed=pick, table=st.sampled_from(["projects", "tasks"]))
    def the_server_deletes(self, seed: int, table: str) -> None:
        space = self.place(seed)
        with suppress(NoSuchSpace):
            if row := self.stored(space, table, seed):
                self.own.pop(row["id"], None)
                self.push(space, **{table: {"deleted": [row["id"]]}})

    @rule(seed=pick, made=pick)
    def the_server_brings_back(self, seed: int, made: int) -> None:
        """By an id that there was once, perhaps in another space."""
        if self.made:
            record = project(id=f"p{made % self.made + 1}")
            del record["space_id"]
            # A device may know it by a row that it has not pushed yet, and take this one for it.
            self.own.pop(record["id"], None)
            self.push(self.place(seed), projects={"updated": [wire(record)]})

    @rule(user=who, seed=pick)
    def a_job_completes_tasks(self, user: int, seed: int) -> None:
        with writing(self.users[user].user_id) as changes:
            for row in changes.rows("tasks"):
                changes.update("tasks", {"id": row["id"], "is_completed": seed % 2 == 0})

    @rule(number=st.integers(0, 4), seed=pick)
    def a_device_breaks_rules(self, number: int, seed: int) -> None:
        """What is refused of this is nobody's to miss."""
        device = self.devices[number]
        if id_ := self.any_of(number, "projects", seed):
            self.own.pop(id_, None)
            device.update("projects", id_, {"name": "🍉"})
            for _ in range(4):
                device.create("tasks", task(id_, id=self.new_id("t")))

    def edit(self, number: int, seed: int, value: str) -> None:
        if id_ := self.any_of(number, "projects", seed):
            self.own.pop(id_, None)
        super().edit(number, seed, value)


def test_any_history_with_a_server_and_rules_ends_with_all_devices_equal(api: Api) -> None:
    ServerHistories.api = api
    with services.sync.create_app().app_context(), ruled(**RULES):
        run_histories(ServerHistories, examples=10, steps=40)
