"""What a pull reads of whoever is in shared spaces, or was: rows of each table from each space.

No id is sent twice, and where two spaces hold one the row of the first is sent: the own space, then the
others in the order in which they were made (docs/design.md, "Spaces").
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from services.sync.memberships import Membership, read_memberships, read_resends
from services.sync.selection import How, Kind, Mode, PullRequest, Scope, kind_of, may_have_news
from shared.models.tables import SyncedTable, pulled_tables, synced_tables

#: In the order in which pages go through a table: 0 to 3 for the own space, a shared one, one that was
#: left, and refused rows; then when the space was made, and its id; 1 for rows that count as changed.
Key = tuple[int, int, str, int]
OWN: Key = (0, 0, "", 0)
RESENT: Key = (3, 0, "", 0)
#: Of each space and table the tick of the last change.
News = Mapping[str, Sequence[int | None]]


@dataclass(frozen=True)
class Unit:
    """Rows of one table that are read alike."""

    #: The number of the table.
    place: int
    #: The place among the units of the table.
    key: Key
    kind: Kind
    #: Parameters of its own.
    values: Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """The spaces of a user who pulls."""

    pull: PullRequest
    memberships: Sequence[Membership]
    #: Tables of which pushed rows were refused, by their names in SQL.
    resends: frozenset[str]

    @classmethod
    def read(cls, connection: Any, pull: PullRequest) -> "View":
        """Read it from the snapshot of the pull."""
        user_id = pull.caller.user_id
        return cls(
            pull,
            read_memberships(connection, user_id),
            read_resends(connection, user_id, pull.last_pulled_at),
        )

    def purged_until(self) -> int:
        """Return up to which tick tombstones were removed of spaces whose rows the device may have."""
        since = self.pull.last_pulled_at
        return max(
            (
                m.purged_until
                for m in self.memberships
                if (not m.has_left and m.joined <= since) or (m.left or 0) > since
            ),
            default=0,
        )

    def concerned(self, scope: Scope) -> list[str]:
        """Return the spaces that may have something for the device."""
        asked = [self.pull.caller.user_id]
        is_whole = scope.mode is not Mode.CHANGES or self.pull.migration is not None
        since = self.pull.last_pulled_at
        for m in self.memberships:
            is_news = is_whole or max(m.last_tick, m.joined) > since
            has_lost = m.left is not None and scope.mode is Mode.RESTORED
            if (m.left or 0) > since or has_lost or (is_news and not m.has_left):
                asked.append(m.space_id)
        return asked

    def units(self, scope: Scope, news: News, timestamp: int | None) -> Iterator[Unit]:
        """Yield what is to be read, by tables; `timestamp`: of the first page, after which nobody joins."""
        told = _Told(self, scope, timestamp)
        for place, table in enumerate(synced_tables()):
            yield from told.units(place, table, news)

    def refused(self, place: int, scope: Scope) -> Iterator[Unit]:
        """Yield what counts as changed of a reference table: rows of which a push was refused, and ids that
        name none.
        """
        table = pulled_tables()[place]
        if scope.mode is Mode.CHANGES and table.sql.name in self.resends:
            for key, how in (((*OWN[:3], 1), How.AGAIN), (RESENT, How.RESENT)):
                yield Unit(place, key, kind_of(self.pull, scope, table, how), {})


@dataclass(frozen=True)
class _Told:
    """A view in a scope."""

    view: View
    scope: Scope
    timestamp: int | None

    @property
    def since(self) -> int:
        return self.view.pull.last_pulled_at

    @property
    def own(self) -> str:
        return self.view.pull.caller.user_id

    @cached_property
    def how(self) -> dict[str, How]:
        """Return how the rows of each space come; not at all from those that are left out."""
        return {m.space_id: how for m in self.view.memberships if (how := self._how(m)) is not None}

    def _how(self, m: Membership) -> How | None:
        was_in = m.left is not None and (self.since < m.left or self.scope.mode is Mode.RESTORED)
        is_late = self.timestamp is not None and m.joined > self.timestamp
        if m.has_left or is_late:
            is_told = self.scope.mode in (Mode.CHANGES, Mode.RESTORED) and was_in
            is_too_late = self.timestamp is not None and (m.left or 0) > self.timestamp
            return How.LEFT if is_told and not is_too_late else None
        if m.joined <= self.since or self.scope.mode in (Mode.FIRST, Mode.RESTORED):
            return How.KNOWN
        return How.REJOINED if was_in else How.JOINED

    @cached_property
    def active(self) -> list[str]:
        """Return the spaces whose rows the user reads, the first one's before the others'."""
        return [self.own, *(s for s, how in self.how.items() if how is not How.LEFT)]

    @cached_property
    def telling(self) -> list[str]:
        """Return those of them of which tombstones are sent."""
        return [self.own, *(s for s, how in self.how.items() if how in (How.KNOWN, How.REJOINED))]

    @cached_property
    def left(self) -> list[str]:
        """Return the spaces whose rows go from the device."""
        return [s for s, how in self.how.items() if how is How.LEFT]

    def units(self, place: int, table: SyncedTable, news: News) -> Iterator[Unit]:
        """Yield the units of a table."""
        ticks = {space: of_tables[place] for space, of_tables in news.items()}
        is_resent = table.sql.name in self.view.resends and self.scope.mode is Mode.CHANGES
        shared = self.view.memberships if table.depth is not None else ()
        yield from self._of_space(place, table, self.own, OWN, How.OWN, ticks, is_resent=is_resent)
        for m in shared:
            how = self.how.get(m.space_id)
            if how is not None and how is not How.LEFT:
                key = (1, m.made_at, m.space_id, 0)
                yield from self._of_space(
                    place, table, m.space_id, key, how, ticks, is_resent=is_resent, joined=m.joined
                )
        for m in shared:
            if self.how.get(m.space_id) is How.LEFT and ticks.get(m.space_id) is not None:
                values = self._values[m.space_id] | {
                    "telling": self.telling,
                }
                kind = self._kind(table, How.LEFT)
                yield Unit(place, (2, m.made_at, m.space_id, 0), kind, values)
        if is_resent:
            values = self._values[self.own] | {"telling": self.telling, "left_above": self.left}
            yield Unit(place, RESENT, self._kind(table, How.RESENT), values)

    def _of_space(
        self,
        place: int,
        table: SyncedTable,
        space: str,
        key: Key,
        how: How,
        ticks: Mapping[str, int | None],
        *,
        is_resent: bool,
        joined: int = 0,
    ) -> Iterator[Unit]:
        """Yield the units of a space that the user reads: what is news of it, and what counts as such."""
        kind = self._kind(table, how)
        values = self._values[space] | {"joined": joined}
        newest = ticks.get(space)
        is_new = how in (How.JOINED, How.REJOINED) and newest is not None
        if is_new or may_have_news(newest, self.since, kind):
            yield Unit(place, key, kind, values)
        if self.scope.mode is not Mode.CHANGES or how not in (How.OWN, How.KNOWN):
            return
        makes_room = any((ticks.get(s) or 0) > self.since for s in values["above"])
        if is_resent or makes_room or values["left_above"]:
            yield Unit(place, (*key[:3], 1), self._kind(table, How.AGAIN), values)

    def _kind(self, table: SyncedTable, how: How) -> Kind:
        return kind_of(self.view.pull, self.scope, table, how)

    @cached_property
    def _values(self) -> dict[str, dict[str, Any]]:
        """Return the lists of spaces that the selection of each space's rows takes, for every table alike."""
        values: dict[str, dict[str, Any]] = {}
        above: list[str] = []
        telling: list[str] = []
        left_above: list[str] = []
        gone, tells = set(self.left), set(self.telling)
        for space in (self.own, *(m.space_id for m in self.view.memberships)):
            is_active = space == self.own or (space in self.how and space not in gone)
            values[space] = {
                "user": space,
                "active": self.active,
                "above": list(above) if is_active else [],
                "others": [other for other in self.active if other != space],
                "known": [other for other in (*self.telling, *self.left) if other != space],
                "telling": list(telling) if is_active else [],
                "left_above": list(left_above),
            }
            if is_active:
                above.append(space)
            if space in tells:
                telling.append(space)
            if space in gone:
                left_above.append(space)
        return values
