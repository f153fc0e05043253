"""The records of a push, sorted by the spaces that they go to, and what may not go there."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.sync import rows
from services.sync.meaning import Meaning
from services.sync.merge import Row
from services.sync.plan import Decisions, Entry, Key, Push, Refusals, decide
from services.sync.relations import Touched
from services.sync.rows import Place
from services.sync.rules import Judge, RuleFailed
from shared.models.columns import SPACE
from shared.models.rules import DUPLICATE_ID, NO_SUCH_SPACE, READ_ONLY, RULES
from shared.models.tables import DeclaredTable, ReferenceTable, SyncedTable, parent_of

#: The role of the app's server, in every space.
SERVER = "server"


@dataclass(frozen=True)
class Move:
    """A row that goes to another space; `root` is the one that the push names, which takes it along."""

    row: Row
    #: The row as it was.
    before: Row
    to: str
    root: Key
    is_amended: bool = False


@dataclass(slots=True)
class Placed:
    """A row of a push that is not refused, as it will be, and the space that it goes to."""

    row: Row
    #: The row as it was; None for one that was not there, or is a tombstone.
    lived: Row | None
    to: str
    is_amended: bool = False
    #: Whether it becomes a tombstone and is else left as it is.
    is_buried: bool = False

    @property
    def is_move(self) -> bool:
        """Return whether the row leaves another space."""
        return self.lived is not None and self.lived.space != self.to


class Sorting:
    """The records of a push, sorted by the spaces that they go to.

    `roles`: of whoever pushes, in each space but the own one that the push may name. `held`: those of these
    that nobody else writes to now. To be filled by `sort`, table by table, those of parents first; then,
    once, by `finish`.
    """

    def __init__(
        self,
        push: Push,
        roles: Mapping[str, str],
        immovable: Collection[Key],
        held: Collection[str],
        *,
        is_shared: bool = False,
    ) -> None:
        self.push = push
        self._held = {push.user_id, *held}
        #: Whether what a server's push is for is a shared space, in which not every table has rows.
        self.is_shared = is_shared
        self.roles = roles
        self._meaning = Meaning(push, roles)
        self.made: dict[str, Decisions] = {}
        self.refused: Refusals = {}
        self.written: dict[tuple[SyncedTable, str], Decisions] = defaultdict(Decisions)
        self.moves: dict[SyncedTable, list[Move]] = defaultdict(list)
        self.touched: dict[str, Touched] = defaultdict(Touched)
        #: Rows that live again in a space.
        self.revived: dict[tuple[SyncedTable, str], list[str]] = defaultdict(list)
        #: Ids by table that mean another row than the one that the user is sent.
        self.hidden: dict[str, list[str]] = defaultdict(list)
        #: Whether another space's row is sent from now on in the place of one that goes.
        self.comes_forward = False
        self._immovable = immovable
        self._judge = Judge(push) if RULES else None
        self._awaited: set[str] = set()
        #: Rows that a rule keeps from being deleted.
        self._undeleted: set[Key] = set()
        self._placed: dict[SyncedTable, list[Placed]] = {}
        self._found: dict[SyncedTable, Mapping[str, Mapping[str, Place]]] = {}

    @property
    def spaces(self) -> set[str]:
        """Return the spaces that the push writes to, as far as that is known before they are all held."""
        return {*self.touched, *self._awaited}

    @property
    def takes_tick(self) -> bool:
        """Return whether anybody has something to hear of."""
        return bool(self.touched or self.refused or self.hidden)

    def sort(self, table: SyncedTable, entries: list[Entry]) -> None:
        """Decide and place what the push names in a table."""
        if table.depth is None and self.is_shared:
            self._refuse_all(table, entries)
            return
        spaces = self._meaning.searched if table.depth is not None else (self.push.user_id,)
        before, found = self._find(table, spaces, [id_ for _, id_, _ in entries])
        self._found[table] = found
        parents = self._meaning.locate_parents(table, entries)
        kept, meant = self._choose(table, entries, parents)
        for space_id, ids in meant.items() if len(spaces) > 1 else ():
            named = None if space_id == self.push.user_id else space_id
            before |= rows.load(self.push.user_id, table, ids, named)
        made = decide(self.push, table, kept, before)
        self.made[table.name] = made
        self._placed[table] = list(self._place(table, made, before, parents))

    def _find(
        self, table: SyncedTable, spaces: Sequence[str], ids: Sequence[str]
    ) -> tuple[dict[str, Row], Mapping[str, Mapping[str, Place]]]:
        """Return where the rows of some ids are; these rows too, where there is one that an id can mean."""
        if len(spaces) > 1:
            return {}, rows.locate(table, spaces, ids)
        before = rows.load(self.push.user_id, table, ids)
        return before, {id_: _place_of(row) for id_, row in before.items()}

    def _choose(
        self,
        table: SyncedTable,
        entries: Iterable[Entry],
        parents: Mapping[str, Mapping[str, Place]],
    ) -> tuple[list[Entry], Mapping[str, list[str]]]:
        """Return the entries that are not refused for the row that they mean, and these rows by spaces."""
        kept: list[Entry] = []
        meant: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            id_, places = entry[1], self._found[table].get(entry[1], {})
            place = self._meaning.meant(table, entry, places, parents)
            if (table.name, id_) in self._immovable:
                self._refuse(table, id_, DUPLICATE_ID)
                continue
            if place and not place.is_deleted and (word := self._why_not(place.space_id)):
                self._refuse(table, id_, word)
                continue
            kept.append(entry)
            if place is None:
                continue
            meant[place.space_id].append(id_)
            if self.push.is_server and entry[2] and not place.is_deleted:
                # For what is below it, also if it stays as it is: parents are not looked for there.
                self._meaning.goes_to[table.name, id_] = place.space_id
            if place != (self._meaning.sent(places) or place):
                self.hidden[table.name].append(id_)
        return kept, meant

    def finish(self) -> None:
        """Find what is to be written where, once all tables are sorted."""
        self._refuse_below()
        for table, placed in self._placed.items():
            gone = self.refused.get(table.name, {})
            made = self.made[table.name]
            made.conflicts = [id_ for id_ in made.conflicts if id_ not in gone]
            changed = self._judge.changed[table.name] if self._judge else ()
            repaired = dict.fromkeys((*made.repaired, *changed))
            made.repaired = [id_ for id_ in repaired if id_ not in gone]
            self._collect(table, made, [one for one in placed if one.row.id not in gone])

    def _why_not(self, space_id: str) -> str | None:
        """Return why the user may not write to a space; None if they may."""
        if space_id == self.push.user_id:
            return None
        if space_id not in self.roles:
            return NO_SUCH_SPACE
        return READ_ONLY if self.roles[space_id] == "reader" else None

    def _refuse_all(self, table: SyncedTable, entries: Iterable[Entry]) -> None:
        """Refuse rows of a table that are in personal spaces alone."""
        for _, id_, record in entries:
            if record is not None:
                self._refuse(table, id_, NO_SUCH_SPACE)

    def refuse_entries(self, table: ReferenceTable, entries: Iterable[Entry]) -> None:
        """Refuse all that the push names in a table that is the server's own."""
        for _, id_, _ in entries:
            self._refuse(table, id_, READ_ONLY)

    def _refuse(self, table: DeclaredTable, id_: str, word: str) -> None:
        self.refused.setdefault(table.name, {})[id_] = word

    def _place(
        self,
        table: SyncedTable,
        made: Decisions,
        before: Mapping[str, Row],
        parents: Mapping[str, Mapping[str, Place]],
    ) -> Iterator[Placed]:
        """Find the space of what was decided; leave out what is refused."""
        yield from self._bury(table, [before[id_] for id_ in made.buried])
        amended = {row.id for row in made.amended}
        written = [*made.inserted, *made.overwritten, *made.amended]
        for row in _parents_before(table, written) if self._judge else written:
            was = before.get(row.id)
            lived = None if was is None or was.is_deleted else was
            to, word = self._target(table, row, was, parents)
            placed = Placed(row, lived, to, row.id in amended)
            parent = row.values[table.home.name] if table.home else None
            if word := self._why_not_placed(table, placed, made, word or self._why_not(to)):
                self._refuse(table, row.id, word)
                continue
            is_reparented = table.home is not None and row.values[table.home.name] != parent
            if is_reparented and self._target(table, row, was, parents)[0] != to:
                raise RuleFailed(f"A rule moves a row of {table.name} to another space.")
            if self.push.is_server and _is_same(placed):
                continue
            if not row.is_deleted:
                self._meaning.goes_to[table.name, row.id] = to
            yield placed

    def _why_not_placed(
        self, table: SyncedTable, one: Placed, made: Decisions, word: str | None
    ) -> str | None:
        """Return why a row is refused. `word`: why it is already, in which case no rule is asked."""
        there = self._found[table].get(one.row.id, {}).get(one.to)
        if one.is_move and there is not None and not there.is_deleted:
            return DUPLICATE_ID
        if self._judge and not word:
            self._await_unheld({one.to, one.lived.space if one.lived else one.to})
        if self._judge and not word:
            above = next((word for _, word in self._above(table, one.row)), None)
            return above or self._ask(self._judge, table, one, made)
        return word

    def _bury(self, table: SyncedTable, gone: Sequence[Row]) -> Iterator[Placed]:
        """Place what is deleted by its id; leave out what a rule keeps, with what is below that."""
        for row in _parents_before(table, gone) if self._judge else gone:
            word = None
            self._await_unheld({row.space})
            if self._undeleted:
                word = next(
                    (w for key, w in self._above(table, row) if key in self._undeleted), None
                )
            if word := word or self._ask_deletion(table, row):
                self._undeleted.add((table.name, row.id))
                self._refuse(table, row.id, word)
            else:
                yield Placed(row, row, row.space, is_buried=True)

    def _await_unheld(self, spaces: set[str]) -> None:
        """Ask no more rules once a space is written to that is not held: the push begins again with it."""
        if self._judge and not spaces <= self._held:
            self._judge = None
            self._awaited |= spaces

    def _ask_deletion(self, table: SyncedTable, row: Row) -> str | None:
        """Return the word with which a rule keeps a row from being deleted."""
        if self._judge is None:
            return None
        word = self._judge.ask_deletion(table, row, self._role(row.space))
        if not word:
            self._judge.note_deleted(table, row)
        return word

    def _ask(self, judge: Judge, table: SyncedTable, one: Placed, made: Decisions) -> str | None:
        """Return the word with which a rule refuses a row, which it may have changed else."""
        row, lived, to = one.row, one.lived, one.to
        if row.is_deleted:
            return self._ask_deletion(table, lived) if lived else None
        if lived is None or not one.is_move:
            word = judge.ask(table, row, lived, to, self._role(to), made)
        else:
            word = judge.ask_deletion(table, lived, self._role(lived.space), is_move=True)
            word = word or judge.ask(table, row, None, to, self._role(to), made, is_move=True)
            if not word:
                judge.note_deleted(table, lived)
                lived = None
        if not word and not row.is_deleted:
            judge.note_written(table, row, lived, to)
        elif not word and lived:
            judge.note_deleted(table, lived)
        return word

    def _role(self, space_id: str) -> str:
        """Return what whoever pushes is in a space."""
        if self.push.is_server:
            return SERVER
        return self.roles.get(space_id, "owner")

    def _above(self, table: SyncedTable, row: Row) -> Iterator[tuple[Key, str]]:
        """Yield the refused rows that this one is deleted with, each with its word."""
        for column in table.cascading if self.refused else ():
            name, id_ = parent_of(column).name, row.values[column.name]
            if word := self.refused.get(name, {}).get(id_):
                yield (name, id_), word

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
        lived = was if was and not was.is_deleted else None
        if parent is None:
            # It stays with those that have none, unless it has lost what it belonged to.
            return lived.space if lived and lived.values[table.home.name] is None else own, None
        key = (parent_of(table.home).name, parent)
        if word := self.refused.get(key[0], {}).get(parent):
            return stays, word
        if key in self._meaning.goes_to:
            return self._meaning.goes_to[key], None
        if lived and lived.values[table.home.name] == parent:
            return lived.space, None
        place = self._meaning.where(parents.get(parent, {}))
        return (place.space_id if place else stays), None

    def _refuse_below(self) -> None:
        """Refuse what names a refused row as its parent, at whatever depth, by a relation that cascades.

        Such a row would be deleted, as one of which the server has no parent.
        """
        if not self.refused:
            return
        below: dict[Key, list[tuple[SyncedTable, str]]] = defaultdict(list)
        kept: dict[Key, list[tuple[SyncedTable, str]]] = defaultdict(list)
        for table, placed in self._placed.items():
            for column in table.cascading:
                for one in placed:
                    key = (parent_of(column).name, str(one.row.values[column.name]))
                    into = kept if one.is_buried else below
                    into[key].append((table, one.row.id))
        todo = [(name, id_) for name, words in self.refused.items() for id_ in words]
        while todo:
            key = todo.pop()
            # What was to be deleted with a row that is kept is kept as well.
            also = kept.pop(key, []) if key in self._undeleted else []
            self._undeleted.update((table.name, id_) for table, id_ in also)
            for table, id_ in (*below.pop(key, ()), *also):
                if id_ not in self.refused.get(table.name, {}):
                    self._refuse(table, id_, self.refused[key[0]][key[1]])
                    todo.append((table.name, id_))

    def _collect(self, table: SyncedTable, made: Decisions, placed: Iterable[Placed]) -> None:
        """Sort what is placed by spaces."""
        found = self._found[table]
        for one in placed:
            id_, to = one.row.id, one.to
            if one.is_buried:
                self.touched[to].note(table, made)
                self.written[table, to].buried.append(id_)
                self._note_leaving(found[id_], to)
                continue
            there = found.get(id_, {}).get(to)
            if not one.row.is_deleted and there is not None and there.is_deleted:
                self.revived[table, to].append(id_)
            if one.lived is not None and one.is_move:
                move = Move(one.row, one.lived, to, (table.name, id_), one.is_amended)
                self.moves[table].append(move)
                self.note_move(table, move)
                self._note_leaving(found[id_], one.lived.space)
                continue
            self.touched[to].note(table, made)
            into = self.written[table, to]
            if one.lived is None:
                into.inserted.append(one.row)
            else:
                (into.amended if one.is_amended else into.overwritten).append(one.row)

    def _note_leaving(self, places: Mapping[str, Place], space_id: str) -> None:
        """Note whether a row that leaves a space makes room for another space's."""
        others = {key: place for key, place in places.items() if key != space_id}
        self.comes_forward = self.comes_forward or self._meaning.sent(others) is not None

    def note_move(self, table: SyncedTable, move: Move) -> None:
        """Add a move to what was touched in both spaces."""
        for space_id in (move.before.space, move.to):
            self.touched[space_id].has_written = True
        self.touched[move.before.space].died.add(table)
        self.touched[move.to].written.add(table)


def _place_of(row: Row) -> dict[str, Place]:
    return {row.space: Place(row.space, row.is_deleted, row.tick)}


def _is_same(one: Placed) -> bool:
    """Return whether a row is as it was."""
    lived = one.lived
    if lived is None or one.is_move or one.row.is_deleted:
        return False
    return one.row.values == lived.values


def _parents_before(table: SyncedTable, written: Sequence[Row]) -> Sequence[Row]:
    """Return rows of a tree, each after those above it."""
    upward = [c.name for c in table.cascading if parent_of(c) is table]
    if not upward:
        return written
    by_id = {row.id: row for row in written}
    seen: set[str] = set()
    ordered: list[Row] = []
    for first in written:
        stack = [(first, False)]
        while stack:
            row, is_done = stack.pop()
            if is_done:
                ordered.append(row)
            elif row.id not in seen:
                seen.add(row.id)
                above = [by_id[row.values[name]] for name in upward if row.values[name] in by_id]
                stack += [(row, True), *((parent, False) for parent in above)]
    return ordered
