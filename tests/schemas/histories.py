"""Random histories over the random schemas of tables.py: whatever is declared, every device ends equal."""

from collections import defaultdict
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from services.sync import push
from shared.database.bulk import CHUNK
from shared.models.tables import SyncedTable, parent_of, tables_by_name
from tests.api import Api, Device
from tests.histories import Devices, Rows, lost, pick, run_histories, which
from tests.schemas.model import rule as rule_of
from tests.schemas.protocol import Pusher
from tests.schemas.records import SEED, export, record
from tests.schemas.tables import GROUPS
from tests.watermelon_model import ModelDevice, NetworkFailure

text = st.sampled_from(["", "a", "🍉", "x\0y"])
number = st.sampled_from([0, 1.5, -7])
IDS = [f"i{n}" for n in range(8)]
ids = st.sampled_from(IDS)
#: What a relation names: rows that may be there, and what no app should send.
parents = st.one_of(ids, ids, st.sampled_from([None, "", "never", "no id!"]))
edits = st.tuples(pick, ids, text, number, st.lists(parents, min_size=3, max_size=3))
pushes = st.lists(st.tuples(edits, st.sampled_from(["created", "updated", "deleted"])), max_size=12)


class Schema(RuleBasedStateMachine):
    """One of the random schemas, and how a row of it is made."""

    api: Api
    tables: list[SyncedTable]

    def choose(self, group: int) -> None:
        self.tables = [tables_by_name()[name] for name in GROUPS[group]]

    def table(self, seed: int) -> SyncedTable:
        return self.tables[seed % len(self.tables)]

    def row(self, edit: Any) -> tuple[str, dict[str, Any]]:
        seed, id_, v, w, named = edit
        table = self.table(seed)
        relations = [c for c in table.columns if c.relation]
        values = {c.name: p for c, p in zip(relations, named, strict=False)}
        return table.name, record(table.name, id_, v=v, w=w, **values)


class Pushes(Schema):
    """One device that has seen everything pushes anything: the server has what the model says."""

    @initialize(group=st.integers(0, len(GROUPS) - 1))
    def register(self, group: int) -> None:
        self.choose(group)
        device = self.api.register()
        device.rows = defaultdict(dict)
        self.pusher = Pusher(device)

    @rule(pushed=pushes)
    def push(self, pushed: Any) -> None:
        changes: dict[str, Any] = defaultdict(lambda: defaultdict(list))
        seen = set()
        for edit, operation in pushed:
            table, row = self.row(edit)
            if (table, row["id"]) not in seen:
                seen.add((table, row["id"]))
                changes[table][operation].append(row["id"] if operation == "deleted" else row)
        self.pusher.push(**changes)


class Histories(Devices, Schema):
    """Devices that follow the protocol, in bad weather."""

    @initialize(group=st.integers(0, len(GROUPS) - 1))
    def register(self, group: int) -> None:
        self.choose(group)
        self.begin()
        self.made: set[tuple[str, str]] = set()
        self.deleted: set[tuple[str, str]] = set()
        #: Who ever named whom in a relation that cascades: (child, parent).
        self.named: set[tuple[tuple[str, str], tuple[str, str]]] = set()
        self.edits: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)

    def device(self, api: Any) -> ModelDevice:
        return ModelDevice(
            api,
            records={name: {} for name in tables_by_name()},
            deleted={name: set() for name in tables_by_name()},
        )

    def note(self, table: str, row: dict[str, Any]) -> None:
        for column in tables_by_name()[table].enforced:
            value = row.get(column.name)
            assert column.relation
            if rule_of(column) == "cascade" and (value or not column.optional):
                self.named.add(((table, row["id"]), (column.relation.parent, value or "")))

    def any_of(self, device: ModelDevice, seed: int) -> tuple[str, str] | None:
        known = [(t.name, id_) for t in self.tables for id_ in sorted(device.records[t.name])]
        return known[seed % len(known)] if known else None

    def parents(self, device: ModelDevice, table: str, seed: int) -> dict[str, Any]:
        """Rows that the device knows for a row's relations to name; none where there is none."""
        found: dict[str, Any] = {}
        for at, column in enumerate(c for c in tables_by_name()[table].columns if c.relation):
            assert column.relation
            known = sorted(device.records[column.relation.parent])
            known += [None] if column.optional else []  # type: ignore[list-item]
            found[column.name] = known[(seed + 7 * at) % len(known)] if known else "never"
        return found

    @rule(number=which, seed=pick, v=text)
    def create(self, number: int, seed: int, v: str) -> None:
        device = self.devices[number]
        table, id_ = self.table(seed).name, f"i{len(self.made)}"
        row = record(table, id_, v=v, **self.parents(device, table, seed))
        self.made.add((table, id_))
        self.note(table, row)
        device.create(table, row)

    @rule(number=which, seed=pick, v=text)
    def edit(self, number: int, seed: int, v: str) -> None:
        if found := self.any_of(self.devices[number], seed):
            self.edits[found][number] = v
            self.change(number, *found, {"v": v})

    @rule(number=which, seed=pick, to=pick)
    def move(self, number: int, seed: int, to: int) -> None:
        if found := self.any_of(self.devices[number], seed):
            values = self.parents(self.devices[number], found[0], to)
            self.note(found[0], values | {"id": found[1]})
            self.change(number, *found, values)

    def change(self, number: int, table: str, id_: str, values: dict[str, Any]) -> None:
        row = self.devices[number].records[table][id_]
        changed = [name for name in row["_changed"].split(",") if name]
        changed += [name for name in values if name not in changed and row[name] != values[name]]
        row |= values | {"_changed": ",".join(changed)}
        if row["_status"] != "created":
            row["_status"] = "updated"

    @rule(number=which, seed=pick)
    def delete(self, number: int, seed: int) -> None:
        if found := self.any_of(self.devices[number], seed):
            self.deleted.add(found)
            self.devices[number].delete(*found)

    @rule(number=which, lose=lost)
    def sync(self, number: int, lose: str) -> None:
        with suppress(NetworkFailure):
            self.devices[number].sync(lose=lose)

    def check_end(self, end: Rows, newcomer: ModelDevice) -> None:
        super().check_end(end, newcomer)
        assert export(self.devices[0].api)[0] == {t: rows for t, rows in end.items() if rows}
        for table in self.tables:
            for row in end[table.name].values():
                for column in table.enforced:
                    value = row[column.name]
                    assert column.relation
                    assert value is not None or column.optional
                    assert value is None or value in end[column.relation.parent]
        doomed = set(self.deleted)
        while more := {c for c, p in self.named if p in doomed or p not in self.made} - doomed:
            doomed |= more
        lost = {made for made in self.made if made[1] not in end[made[0]]} - doomed
        assert not lost, f"{lost} were never deleted and named nothing that was"
        for (table, id_), by in self.edits.items():
            if id_ in end[table] and len(by) == 1:
                assert [end[table][id_]["v"]] == list(by.values())


def play(machine: type[Schema], api: Api, examples: int, steps: int) -> None:
    machine.api = api
    run_histories(machine, examples=examples, steps=steps)


def test_any_push_of_any_schema_leaves_what_the_contract_says(api: Api) -> None:
    play(Pushes, api, examples=8, steps=10)


def test_any_history_of_any_schema_ends_with_all_devices_equal(api: Api) -> None:
    play(Histories, api, examples=10, steps=20)


#: Trees, a circle, and every kind of relation.
RELATED = ("folders", "tags", "folder_tags", "notes", "hens", "eggs")


@pytest.mark.parametrize("chunk", [2, CHUNK])
def test_only_rows_whose_parents_live_do_so_whatever_comes_and_goes_with_them(
    device: Device, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(push, "CHUNK", chunk)
    draw, pusher = Random(SEED), Pusher(device)
    for _ in range(30):
        living = pusher.expected.live()
        changes: dict[str, Any] = defaultdict(lambda: defaultdict(list))
        for table in map(tables_by_name().get, draw.sample(RELATED, draw.randint(1, 4))):
            assert table
            for id_ in draw.sample(IDS, draw.randint(1, 6)):
                named = {}
                for column in table.enforced:
                    there = sorted(living.get(parent_of(column).name, ()))
                    # Mostly one that lives, and that the same push may delete.
                    named[column.name] = draw.choice(
                        there if there and draw.random() < 0.8 else IDS
                    )
                operation = draw.choice(("created", "created", "updated", "deleted"))
                sent = id_ if operation == "deleted" else record(table.name, id_, **named)
                changes[table.name][operation].append(sent)
        pusher.push(**changes)
