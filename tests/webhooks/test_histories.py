"""Any history of users who share rows is told as it was (docs/webhooks.md)."""

from collections import defaultdict
from typing import Any

from sqlalchemy import select

from shared.database.base import db
from shared.models import Space
from shared.models.tables import synced_tables
from tests.histories import run_histories
from tests.sync.test_sharing_histories import SharingHistories
from tests.webhooks.conftest import Telling

Key = tuple[str, str, str]


class ToldHistories(SharingHistories):
    """At the end, what was told of each row leads to what it is."""

    telling: Telling

    def teardown(self) -> None:
        super().teardown()
        if not hasattr(self, "devices"):
            return
        spaces = [*self.spaces, *(user.user_id for user in self.users)]
        told: dict[Key, list[tuple[int, str]]] = defaultdict(list)
        for space, table, id_, kind, tick in self.telling.outbox():
            if space in spaces:
                told[space, table, id_].append((tick, kind))
        gone = {space: told.pop((space, "", "")) for space in spaces if (space, "", "") in told}
        rows, ended = self.stored(spaces)
        assert told.keys() == rows.keys()
        for key, (born, changed, is_deleted) in rows.items():
            ticks = [tick for tick, _ in told[key]]
            assert len(ticks) == len(set(ticks))
            last = "deleted" if is_deleted else "created" if born == changed else "updated"
            assert told[key][-1] == (changed, last)
        assert gone.keys() == ended
        for space, (*others, (end, kind)) in gone.items():
            assert (others, kind) == ([], "gone")
            assert all(ticks[-1][0] < end for key, ticks in told.items() if key[0] == space)

    def stored(self, spaces: list[str]) -> tuple[dict[Key, tuple[int, int, bool]], set[str]]:
        """All rows of some spaces, and those that have ended."""
        rows = {}
        with self.telling.sync.app_context(), db.session.begin():
            for table in synced_tables():
                c: Any = table.sql.c
                query = select(
                    c.user_id, c.id, c.created_at_ms, c.updated_at_ms, c.is_deleted
                ).where(c.user_id.in_(spaces))
                for space, id_, *row in db.session.execute(query):
                    rows[space, table.sql.name, id_] = (row[0], row[1], bool(row[2]))
            is_over = Space.id.in_(spaces) & Space.deleted_at.is_not(None)
            ended = set(db.session.scalars(select(Space.id).where(is_over)))
        return rows, ended


def test_any_history_of_sharing_is_told_as_it_was(telling: Telling) -> None:
    ToldHistories.api, ToldHistories.telling = telling.api, telling
    run_histories(ToldHistories, examples=12, steps=40)
