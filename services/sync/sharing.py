"""A push of whoever shares rows: to which space each record goes, and what may not go there.

docs/design.md, "Spaces", says why a push begins again until it holds every
space that it writes to.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, select, update

from services.sync import clock, rows
from services.sync.memberships import Membership, read_memberships
from services.sync.merge import Row
from services.sync.plan import (
    Decisions,
    Entry,
    Push,
    PushResult,
    Refusals,
    SyncConflict,
    conflicts_of,
    decide,
    entries_of,
    result,
)
from services.sync.relations import Touched, parent_of, settle
from services.sync.rows import Place
from services.sync.schemas import SAFE_ID, Changes
from shared.database.base import db
from shared.database.bulk import chunks, insert_or_update
from shared.database.transaction import transaction
from shared.models import Member, Resend, User
from shared.models.columns import SPACE
from shared.models.tables import SyncedTable, synced_tables, tables_by_name
from shared.spaces.holding import Held, hold

#: Why a row is refused.
READ_ONLY = "read_only"
NO_SUCH_SPACE = "no_such_space"
DUPLICATE_ID = "duplicate_id"

#: A row by the name of its table and its id.
Key = tuple[str, str]


def names_a_space(user_id: str, changes: Changes) -> bool:
    """Return whether a record names another space than the user's own."""
    return any(
        isinstance(named := record.get(SPACE.name), str) and named not in ("", user_id)
        for name, change in changes.items()
        if tables_by_name()[name].is_shareable
        for operation, records in change.items()
        if operation != "deleted"
        for record in records
    )


class _Again(Exception):
    """The push must hold more spaces, or refuse rows that cannot be moved with all below them."""

    def __init__(self, spaces: Collection[str] = (), refused: Collection[Key] = ()) -> None:
        super().__init__()
        self.spaces, self.refused = spaces, refused


def push_to_spaces(
    user_id: str, session_id: str, changes: Changes, last_pulled_at: int, reject: bool
) -> PushResult:
    """Apply a push of which rows may be in shared spaces.

    Raises `Unauthorized` for an account that is gone, `SyncConflict` as `push_changes` does.
    """
    spaces: set[str] = set()
    refused: set[Key] = set()
    while True:
        try:
            return _attempt(user_id, session_id, changes, last_pulled_at, reject, spaces, refused)
        except _Again as again:
            spaces.update(again.spaces)
            refused.update(again.refused)


@transaction
def _attempt(
    user_id: str,
    session_id: str,
    changes: Changes,
    last_pulled_at: int,
    reject: bool,
    spaces: Collection[str],
    refused: Collection[Key],
) -> PushResult:
    held = hold(spaces, user_id)
    push = Push(user_id, session_id, last_pulled_at, held.tick)
    memberships = read_memberships(db.session.connection(), user_id)
    sorting = _Sorting(push, [m for m in memberships if not m.has_left], refused)
    for table in sorted(synced_tables(), key=lambda table: table.depth or 0):
        if table.name in changes:
            sorting.sort(table, list(entries_of(changes[table.name])))
    if not_held := sorting.spaces - held.spaces.keys() - {user_id}:
        raise _Again(spaces=not_held)
    if reject and (conflicts := conflicts_of(sorting.made)):
        raise SyncConflict(conflicts=conflicts)
    _write(push, sorting)
    has_followers = _take_along(push, sorting)
    strays = [
        settle(space_id, push.tick, touched, rows.stamp(push, space_id))
        for space_id, touched in sorting.touched.items()
    ]
    _remember(push, sorting)
    return result(
        push,
        held.clocks[user_id],
        sorting.made,
        has_written=sorting.takes_tick,
        has_strays=has_followers or sorting.comes_forward or bool(sorting.hidden) or any(strays),
        refused=sorting.refused,
        others=_give(push, held, sorting),
    )


@dataclass(frozen=True)
class Move:
    """A row that goes to another space; `root` is the one that the push names, which takes it along."""

    row: Row
    #: The row as it was.
    before: Row
    to: str
    root: Key
    is_amended: bool = False


class _Sorting:
    """The records of a push, sorted by the spaces that they go to."""

    def __init__(
        self, push: Push, memberships: Iterable[Membership], refused: Collection[Key]
    ) -> None:
        self.push = push
        self.members = {membership.space_id: membership for membership in memberships}
        #: The spaces that the user reads. The row of the first that holds an id is the one that is sent.
        self.order = (push.user_id, *self.members)
        self.made: dict[str, Decisions] = {}
        self.refused: Refusals = {}
        self.written: dict[tuple[SyncedTable, str], Decisions] = defaultdict(Decisions)
        self.moves: dict[SyncedTable, list[Move]] = defaultdict(list)
        self.touched: dict[str, Touched] = defaultdict(Touched)
        #: Rows that live again in a space.
        self.revived: dict[tuple[SyncedTable, str], list[str]] = defaultdict(list)
        self._immovable = refused
        #: Ids by table that mean another row than the one that the user is sent.
        self.hidden: dict[str, list[str]] = defaultdict(list)
        #: Whether another space's row is sent from now on in the place of one that goes.
        self.comes_forward = False
        #: Where the records of the push go.
        self._places: dict[Key, str] = {}

    @property
    def spaces(self) -> set[str]:
        """Return the spaces that the push writes to."""
        return set(self.touched)

    @property
    def takes_tick(self) -> bool:
        """Return whether anybody has something to hear of."""
        return bool(self.touched or self.refused or self.hidden)

    def sort(self, table: SyncedTable, entries: list[Entry]) -> None:
        """Decide and sort what the push names in a table. The table of its home comes before."""
        order = self.order if table.depth is not None else self.order[:1]
        found = rows.locate(table, order, [id_ for _, id_, _ in entries])
        parents = self._locate_parents(table, entries)
        kept: list[Entry] = []
        meant: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            id_ = entry[1]
            place = self._meant(table, entry, found.get(id_, {}), parents)
            if (table.name, id_) in self._immovable:
                self._refuse(table, id_, DUPLICATE_ID)
            elif place and not place.is_deleted and (word := self._why_not(place.space_id)):
                self._refuse(table, id_, word)
            else:
                kept.append(entry)
                if place:
                    meant[place.space_id].append(id_)
                    if place != (self._sent(found[id_]) or place):
                        self.hidden[table.name].append(id_)
        before: dict[str, Row] = {}
        for space_id, ids in meant.items():
            named = None if space_id == self.push.user_id else space_id
            before |= rows.load(self.push.user_id, table, ids, named)
        made = decide(self.push, table, kept, before)
        self.made[table.name] = made
        self._place(table, made, before, found, parents)

    def _locate_parents(
        self, table: SyncedTable, entries: list[Entry]
    ) -> Mapping[str, Mapping[str, Place]]:
        """Return where the rows are that the records name as what they belong to."""
        if table.home is None or table.depth is None:
            return {}
        named = {record.get(table.home.name) for _, _, record in entries if record}
        ids = sorted(id_ for id_ in named if isinstance(id_, str) and SAFE_ID.fullmatch(id_))
        return rows.locate(parent_of(table.home), self.order, ids)

    def _meant(
        self,
        table: SyncedTable,
        entry: Entry,
        places: Mapping[str, Place],
        parents: Mapping[str, Mapping[str, Place]],
    ) -> Place | None:
        """Return which row an entry means, of those with its id: one that lives before a tombstone, and the
        one of the space that the record names before the one that is sent.
        """
        named = self._named(table, entry, parents)
        if table.is_shareable and named in places and not places[named].is_deleted:
            return places[named]
        return self._sent(places) or places.get(named) or _latest(places)

    def _named(
        self,
        table: SyncedTable,
        entry: Entry,
        parents: Mapping[str, Mapping[str, Place]],
    ) -> str:
        """Return the space that a record names itself or by its parent, "" for none."""
        record = entry[2]
        if record is None:
            return ""
        if table.is_shareable and SPACE.name in record:
            named = record[SPACE.name]
            return str(named) if named else self.push.user_id
        parent = record.get(table.home.name) if table.home else None
        if not isinstance(parent, str) or table.home is None:
            return ""
        key = (parent_of(table.home).name, parent)
        place = self._where(parents.get(parent, {}))
        return self._places.get(key) or (place.space_id if place else "")

    def _sent(self, places: Mapping[str, Place]) -> Place | None:
        """Return the row of an id that the user is sent."""
        living = (places[s] for s in self.order if s in places and not places[s].is_deleted)
        return next(living, None)

    def _where(self, places: Mapping[str, Place]) -> Place | None:
        return self._sent(places) or _latest(places)

    def _why_not(self, space_id: str) -> str | None:
        """Return why the user may not write to a space; None if they may."""
        if space_id == self.push.user_id:
            return None
        if space_id not in self.members:
            return NO_SUCH_SPACE
        return None if self.members[space_id].may_write else READ_ONLY

    def _refuse(self, table: SyncedTable, id_: str, word: str) -> None:
        self.refused.setdefault(table.name, {})[id_] = word

    def _place(
        self,
        table: SyncedTable,
        made: Decisions,
        before: Mapping[str, Row],
        found: Mapping[str, Mapping[str, Place]],
        parents: Mapping[str, Mapping[str, Place]],
    ) -> None:
        """Sort what was decided by spaces; leave out what is refused."""
        amended = {row.id for row in made.amended}
        for row in (*made.inserted, *made.overwritten, *made.amended):
            was = before.get(row.id)
            lived = was is not None and not was.is_deleted
            to, word = self._target(table, row, was, parents)
            word = word or self._why_not(to)
            place = found.get(row.id, {}).get(to)
            is_move = was is not None and lived and to != was.space
            if is_move and place is not None and not place.is_deleted:
                word = DUPLICATE_ID
            if word:
                self._refuse(table, row.id, word)
                continue
            if not row.is_deleted:
                self._places[table.name, row.id] = to
                if place is not None and place.is_deleted:
                    self.revived[table, to].append(row.id)
            if was is not None and is_move:
                move = Move(row, was, to, (table.name, row.id), row.id in amended)
                self.moves[table].append(move)
                continue
            self.touched[to].note(table, made)
            into = self.written[table, to]
            if not lived:
                into.inserted.append(row)
            else:
                (into.amended if row.id in amended else into.overwritten).append(row)
        for id_ in made.buried:
            self.touched[before[id_].space].note(table, made)
            self.written[table, before[id_].space].buried.append(id_)
        for move in self.moves[table]:
            self.note_move(table, move)
        leaving = {id_: before[id_].space for id_ in made.buried}
        leaving |= {move.row.id: move.before.space for move in self.moves[table]}
        for id_, space_id in leaving.items():
            others = {key: place for key, place in found[id_].items() if key != space_id}
            self.comes_forward = self.comes_forward or self._sent(others) is not None
        gone = self.refused.get(table.name, {})
        made.conflicts = [id_ for id_ in made.conflicts if id_ not in gone]
        made.repaired = [id_ for id_ in made.repaired if id_ not in gone]

    def _target(
        self,
        table: SyncedTable,
        row: Row,
        was: Row | None,
        parents: Mapping[str, Mapping[str, Place]],
    ) -> tuple[str, str | None]:
        """Return the space that a row goes to, and why it is refused if what it is under is."""
        own = self.push.user_id
        stays = was.space if was and not self._why_not(was.space) else own
        if row.is_deleted or table.depth is None:
            return stays, None
        if table.home is None:
            return row.values[SPACE.name] or own, None
        parent = row.values[table.home.name]
        if parent is None:
            return own, None
        key = (parent_of(table.home).name, parent)
        if word := self.refused.get(key[0], {}).get(parent):
            return stays, word
        if key in self._places:
            return self._places[key], None
        if was and not was.is_deleted and was.values[table.home.name] == parent:
            return was.space, None
        place = self._where(parents.get(parent, {}))
        return (place.space_id if place else stays), None

    def note_move(self, table: SyncedTable, move: Move) -> None:
        """Add a move to what was touched in both spaces."""
        for space_id in (move.before.space, move.to):
            self.touched[space_id].has_written = True
        self.touched[move.before.space].died.add(table)
        self.touched[move.to].written.add(table)


def _latest(places: Mapping[str, Place]) -> Place | None:
    return max(places.values(), key=lambda place: place.tick, default=None)


def _write(push: Push, sorting: _Sorting) -> None:
    for (table, space_id), written in sorting.written.items():
        rows.write(push, space_id, table, written)
    for table, moves in sorting.moves.items():
        _move(push, table, moves)


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


def _take_along(push: Push, sorting: _Sorting) -> bool:
    """Move what is below the rows that were moved; return whether there was any.

    Raises `_Again` with the rows below which an id lives in the target already.
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


def _followers(sorting: _Sorting, table: SyncedTable, moves: list[Move]) -> list[Move]:
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
            raise _Again(refused=taken)
        for child in children:
            move = Move(child, child, to, named[str(child.values[table.upward.name])].root)
            followers.append(move)
            sorting.note_move(table, move)
            if child.id in there:
                sorting.revived[table, to].append(child.id)
    return followers


def _remember(push: Push, sorting: _Sorting) -> None:
    """Note what counts as changed for single users: what is refused or hidden, and what lives again for
    those who left.

    They know an id by another row, and hear by this what it is to them.
    """
    for ids_by_table in (sorting.refused, sorting.hidden):
        for name, ids in ids_by_table.items():
            _resend(push.user_id, tables_by_name()[name], list(ids), push.tick)
    if sorting.refused:
        own = update(User).where(User.id == push.user_id, ~User.has_spaces)
        db.session.execute(own.values(has_spaces=True))
    for (table, space_id), ids in sorting.revived.items():
        left = select(Member.user_id, Member.left_tick).where(
            Member.space_id == space_id, Member.has_left
        )
        # A locking read: an account that goes takes its membership along.
        left = left.with_for_update()
        for user_id, tick in db.session.connection().execute(left).all():
            _resend(user_id, table, ids, tick)


def _resend(user_id: str, table: SyncedTable, ids: Sequence[str], tick: int | None) -> None:
    sent: Any = Resend.__table__
    later = case((sent.c.tick > tick, sent.c.tick), else_=tick)
    for some in chunks(ids):
        keys = {"user_id": user_id, "table_name": table.sql.name, "tick": tick}
        found = [keys | {"row_id": id_} for id_ in some]
        db.session.execute(insert_or_update(sent, found, [("tick", later)]))


def _give(push: Push, held: Held, sorting: _Sorting) -> Mapping[str, int]:
    """Give the tick to all whom the push concerns; return the clocks of the others before."""
    if not sorting.takes_tick:
        return {}
    shared = sorting.spaces - {push.user_id}
    others = {user_id for space_id in shared for user_id in held.members[space_id]}
    others.discard(push.user_id)
    held.give(others, shared)
    clock.set_to(push.user_id, push.session_id, push.tick)
    return {user_id: held.clocks[user_id] for user_id in others}
