"""Which row a record of a push means: several spaces may hold one id (docs/api.md, "Rows in spaces")."""

from collections.abc import Collection, Mapping

from services.sync import rows
from services.sync.plan import Entry, Key, Push
from services.sync.rows import Place
from services.sync.schemas import SAFE_ID
from shared.models.columns import SPACE
from shared.models.tables import SyncedTable, parent_of


class Meaning:
    """What ids mean to whoever pushes, who has roles in some spaces besides the own one."""

    def __init__(self, push: Push, roles: Collection[str]) -> None:
        self.own = push.user_id
        #: The spaces of which ids are looked for.
        self.searched = (push.user_id, *roles)
        #: Of these, those that the user reads. The row of the first that holds an id is the one that is sent.
        #: A server reads the one that its push is for.
        self.order = self.searched[:1] if push.is_server else self.searched
        #: Where the records of the push go.
        self.goes_to: dict[Key, str] = {}

    def locate_parents(
        self, table: SyncedTable, entries: list[Entry]
    ) -> Mapping[str, Mapping[str, Place]]:
        """Return where the rows are that the records name as what they belong to."""
        if table.home is None or table.depth is None:
            return {}
        # What stands there is not judged yet: it may be a list.
        named = (record.get(table.home.name) for _, _, record in entries if record)
        ids = {id_ for id_ in named if isinstance(id_, str) and SAFE_ID.fullmatch(id_)}
        return rows.locate(parent_of(table.home), self.order, sorted(ids))

    def meant(
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
        return self.sent(places) or places.get(named) or self._latest(places)

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
            return str(named) if named else self.own
        parent = record.get(table.home.name) if table.home else None
        if not isinstance(parent, str) or table.home is None:
            return ""
        key = (parent_of(table.home).name, parent)
        place = self.where(parents.get(parent, {}))
        return self.goes_to.get(key) or (place.space_id if place else "")

    def sent(self, places: Mapping[str, Place]) -> Place | None:
        """Return the row of an id that the user is sent."""
        for space_id in self.order if places else ():
            if space_id in places and not places[space_id].is_deleted:
                return places[space_id]
        return None

    def _latest(self, places: Mapping[str, Place]) -> Place | None:
        read = (places[space_id] for space_id in self.order if space_id in places)
        return max(read, key=lambda place: place.tick, default=None)

    def where(self, places: Mapping[str, Place]) -> Place | None:
        """Return the row of an id that the user is sent, or else the tombstone that is the last to be so."""
        return self.sent(places) or self._latest(places)
