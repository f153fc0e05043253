"""Writing what was sorted by spaces, and taking along what is below rows that move."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from services.sync import rows
from services.sync.merge import Row
from services.sync.plan import Key, Push
from services.sync.sorting import Move, Sorting
from shared.models.tables import SyncedTable, parent_of, synced_tables


class Again(Exception):
    """The push must hold more spaces, or refuse rows that cannot be moved with all below them."""

    def __init__(self, spaces: Collection[str] = (), refused: Collection[Key] = ()) -> None:
        super().__init__()
        self.spaces, self.refused = spaces, refused


def write(push: Push, sorting: Sorting) -> bool:
    """Write what was sorted, and move what is below the rows that move; return whether there was any.

    Raises `Again` with the rows below which an id lives in the target already.
    """
    for (table, space_id), written in sorting.written.items():
        rows.write(push, space_id, table, written)
    for table, moves in sorting.moves.items():
        _move(push, table, moves)
    return _take_along(push, sorting)


def _move(push: Push, table: SyncedTable, moves: Iterable[Move]) -> None:
    """Write rows into the spaces that they go to, and leave tombstones where they were."""
    into: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    out: dict[str, list[str]] = defaultdict(list)
    for move in moves:
        into[move.to, move.before.created_by, move.is_amended].append(move.row)
        out[move.before.space].append(move.row.id)
    for space_id, ids in out.items():
        rows.bury(space_id, table, ids, push.tick)
    for (space_id, created_by, is_amended), some in into.items():
        repeated = push.tick if is_amended else None
        stamp = rows.stamp(push, space_id, created_by) | {"repeated_at_ms": repeated}
        rows.insert(table, some, stamp)


def _take_along(push: Push, sorting: Sorting) -> bool:
    """Move what is below the rows that were moved; return whether there was any.

    Raises `Again` with the rows below which an id lives in the target already.
    """
    moved = sorting.moves
    has_followers = False
    while moved:
        following: dict[SyncedTable, list[Move]] = defaultdict(list)
        for table in synced_tables():
            upward = table.upward
            if upward is not None and (moves := moved.get(parent_of(upward))):
                following[table] += _followers(sorting, table, moves)
        moved = {table: moves for table, moves in following.items() if moves}
        for table, moves in moved.items():
            _move(push, table, moves)
            has_followers = True
    return has_followers


def _followers(sorting: Sorting, table: SyncedTable, moves: list[Move]) -> list[Move]:
    """Return the rows of a table that go with others, which are what they belong to."""
    followers: list[Move] = []
    by_spaces: dict[tuple[str, str], dict[str, Move]] = defaultdict(dict)
    for move in moves:
        by_spaces[move.before.space, move.to][move.row.id] = move
    assert table.upward is not None  # noqa: S101
    for (from_, to), named in by_spaces.items():
        children = list(rows.load_below(table, table.upward, from_, list(named)))
        there = rows.locate(table, [to], [child.id for child in children]) if children else {}
        taken = {
            named[str(child.values[table.upward.name])].root
            for child in children
            if to in there.get(child.id, {}) and not there[child.id][to].is_deleted
        }
        if taken:
            raise Again(refused=taken)
        for child in children:
            move = Move(child, child, to, named[str(child.values[table.upward.name])].root)
            followers.append(move)
            sorting.note_move(table, move)
            if child.id in there:
                sorting.revived[table, to].append(child.id)
    return followers
