"""Any history of loads, pushes and pulls leaves every device with what was loaded. Run by tests/own_table."""

from collections import defaultdict
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sync.purge import purge
from tests.api import Device, project
from tests.references.conftest import Load, Record, exercise, other_device
from tests.references.protocol import pages

#: Few ids, so that they come and go.
IDS = [f"history-{n}" for n in range(6)]
TABLE = "exercises"

rows = st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), max_size=6)
who = st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), rows.filter(bool)),
        st.tuples(st.just("replace"), rows.filter(bool)),
        st.tuples(st.just("pull"), who),
        st.tuples(st.just("pages"), who, rows.filter(bool)),
        st.tuples(st.just("migrate"), who),
        st.tuples(st.just("push"), who),
        st.tuples(st.just("write"), who, st.sampled_from(IDS)),
        st.tuples(st.just("delete"), who, st.sampled_from(IDS)),
        st.tuples(st.just("another"), who),
        st.tuples(st.just("purge"), st.none()),
    ),
    min_size=5,
    max_size=30,
)


class History:
    """The devices of two users, and what the server should have."""

    def __init__(self, device: Device, load_rows: Load, loader: Flask) -> None:
        self.load_rows, self.loader = load_rows, loader
        # Of users of their own in each history.
        first, second = device.api.register(), device.api.register()
        self.devices = [other_device(first), other_device(first), other_device(second)]
        self.expected: dict[str, Record] = {}
        self.projects: dict[str, set[str]] = defaultdict(set)
        self.load({}, "replace")

    def load(self, given: dict[str, int], mode: str) -> None:
        """Load rows. An empty file is a header."""
        loaded = {id_: exercise(id_, order=order) for id_, order in given.items()}
        before = self.expected
        self.expected = loaded if mode == "replace" else self.expected | loaded
        counts = self.load_rows(TABLE, list(loaded.values()) or "id\n", mode)
        if before:
            assert bool(counts) == (self.expected != before)

    def apply(self, device: Device, answer: dict[str, Any]) -> None:
        """Do as WatermelonDB does with an answer."""
        for table, change in answer["changes"].items():
            for row in (*change["created"], *change["updated"]):
                device.rows[table][row["id"]] = row
            for id_ in change["deleted"]:
                device.rows[table].pop(id_, None)
        device.last_pulled_at = answer["timestamp"]

    def check(self, device: Device) -> None:
        """A device that has just pulled has all that there is."""
        assert device.rows[TABLE] == self.expected
        assert device.rows["projects"].keys() == self.projects[device.email]

    def step(self, what: str, first: Any, second: Any = None) -> None:
        """Do one step."""
        if what in ("merge", "replace"):
            self.load(first, what)
            return
        if what == "purge":
            with self.loader.app_context():
                purge(1)
            return
        device = self.devices[first]
        if what == "pull":
            self.apply(device, device.pull_raw().json)
            self.check(device)
        elif what == "pages":
            since = device.last_pulled_at
            self.apply(device, pages(device, since, 1, lambda: self.load(second, "merge")))
            self.step("pull", first)
        elif what == "migrate":
            given = {"from": 1, "tables": [TABLE], "columns": []}
            body = {"lastPulledAt": device.last_pulled_at, "migration": given}
            if device.last_pulled_at:
                device.rows[TABLE].clear()
                answer = device.api.post("/sync/pull", body, token=device.token)
                self.apply(device, answer.json)
                self.check(device)
        elif what == "push":
            p = project()
            answer = device.push(projects={"created": [p]})
            self.projects[device.email].add(p["id"])
            if answer["upToDate"]:
                device.rows["projects"][p["id"]] = p
                device.last_pulled_at = answer["timestamp"]
        elif what in ("write", "delete") and device.last_pulled_at:
            # On the device it is written at once, and pushed; the server takes it back.
            change: dict[str, Any] = {"deleted": [second]}
            device.rows[TABLE].pop(second, None)
            if what == "write":
                row = exercise(second, name="mine")
                device.rows[TABLE][second] = row
                change = {"updated": [row]}
            answer = device.push(**{TABLE: change})
            assert answer["refused"] == {TABLE: [second]}
            assert not answer["upToDate"]
        elif what == "another":
            self.devices[first] = other_device(device)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=steps)
def test_any_history_leaves_every_device_with_what_was_loaded(
    device: Device, load_rows: Load, loader: Flask, history: list[tuple[Any, ...]]
) -> None:
    world = History(device, load_rows, loader)
    for step in history:
        world.step(*step)
    for number in range(len(world.devices)):
        world.step("pull", number)
