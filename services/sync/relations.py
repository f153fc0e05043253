"""Cascades: delete or clear rows whose parent does not live (docs/api.md, "Relations").

Once a push has written what it names, in whatever order, the database finds the rows that now name
no living parent: those that the push wrote, and those whose parent it deleted. They are deleted or
cleared as their relation says, level by level, until there are none.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import CompoundSelect, and_, bindparam, literal, or_, select, union_all

from services.sync import rows
from services.sync.plan import Decisions
from shared.database.base import db
from shared.database.bulk import CHUNK
from shared.models.columns import Column
from shared.models.tables import SyncedTable, parent_of, synced_tables


@dataclass
class Touched:
    """The tables in which a push has written live rows that name parents, and in which rows died."""

    written: set[SyncedTable] = field(default_factory=set)
    died: set[SyncedTable] = field(default_factory=set)
    #: Whether anything was written at all.
    has_written: bool = False

    def note(
        self, table: SyncedTable, made: Decisions, living: Collection[tuple[Column, str]] = ()
    ) -> None:
        """Add what a push did to `table`; `living`: parents that are known to live."""
        if made.names_parents and not _names_only(living, table, made):
            self.written.add(table)
        if made.has_deaths:
            self.died.add(table)
        if made.inserted or made.overwritten or made.amended or made.buried:
            self.has_written = True


def _names_only(
    living: Collection[tuple[Column, str]], table: SyncedTable, made: Decisions
) -> bool:
    """Return whether all rows that are written name parents that live, as far as the push has got.

    Of a parent that it deletes later the children are searched for, as of any that died.
    """
    return bool(living) and all(
        row.values[column.name] is None or (column, row.values[column.name]) in living
        for row in chain(made.inserted, made.overwritten, made.amended)
        for column in table.enforced
        if not row.is_deleted
    )


def settle(space_id: str, tick: int, touched: Touched, stamp: rows.Stamp) -> bool:
    """Delete or clear every row of a space that names no living parent; return whether there was any.

    `stamp` holds the server's columns of new rows: a parent that the server never had becomes a
    tombstone, so that devices hear that it is not.
    """
    differs = False
    while found := _find(space_id, tick, touched):
        differs = True
        for (table, column), strays in found.items():
            ids = [stray.id for stray in strays]
            if column.relation is not None and column.relation.on_delete == "clear":
                rows.clear(space_id, table, column, ids, tick)
                continue
            unknown = sorted({stray.parent_id for stray in strays if stray.is_unknown})
            rows.insert_tombstones(parent_of(column), unknown, stamp)
            rows.bury(space_id, table, ids, tick)
            touched.died.add(table)
    return differs


@dataclass(frozen=True)
class Stray:
    """A live row without a living parent; `is_unknown`: the server never had one of this id."""

    id: str
    parent_id: str
    is_unknown: bool


def _find(
    space_id: str, tick: int, touched: Touched
) -> dict[tuple[SyncedTable, Column], list[Stray]]:
    relations, query = _strays(frozenset(touched.written), frozenset(touched.died))
    found: dict[tuple[SyncedTable, Column], list[Stray]] = defaultdict(list)
    if query is not None:
        values = {"space": space_id, "tick": tick}
        for number, *stray in db.session.connection().execute(query, values):
            found[relations[number]].append(Stray(*stray))
    return found


# Built once for each set of tables, since pushes of an app are alike.
@lru_cache(maxsize=256)
def _strays(
    written: frozenset[SyncedTable], died: frozenset[SyncedTable]
) -> tuple[list[tuple[SyncedTable, Column]], CompoundSelect[Any] | None]:
    """Return the relations to look at, and the query for some rows whose parent does not live.

    Its columns: the number of the relation, and those of `Stray`.
    """
    mine: Any = bindparam("space")
    tick: Any = bindparam("tick")
    relations = [(table, column) for table in synced_tables() for column in table.enforced]
    parts = []
    for number, (table, column) in enumerate(relations):
        child, parent = table.sql.alias(), parent_of(column).sql.alias()
        named = child.c[column.attribute]
        join = and_(parent.c.user_id == child.c.user_id, parent.c.id == named)
        row = (literal(number), child.c.id, named, parent.c.id.is_(None))
        lives = and_(child.c.user_id == mine, ~child.c.is_deleted)
        if table in written:
            parts.append(
                select(*row)
                .select_from(child.outerjoin(parent, join))
                .where(lives, child.c.updated_at_ms == tick, named.is_not(None))
                .where(or_(parent.c.id.is_(None), parent.c.is_deleted))
            )
        if parent_of(column) in died:
            gone = and_(parent.c.user_id == mine, parent.c.updated_at_ms == tick)
            parts.append(
                select(*row)
                .select_from(parent.join(child, join))
                .where(gone, parent.c.is_deleted, lives)
            )
    if not parts:
        return relations, None
    return relations, union_all(*parts).limit(CHUNK)
