"""Asking the app's rules about the rows of a push (docs/rules.md)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy.exc import DBAPIError

from services.sync import rows
from services.sync.merge import Row
from services.sync.plan import Decisions, Push, read_parents
from services.sync.repair import repair_value
from shared.database.errors import DeadlineExceeded
from shared.models.rules import Change, Circumstances, Record, Refusal, Rule, rules_of
from shared.models.tables import ReferenceTable, SyncedTable, reference_tables, tables_by_name


class RuleFailed(Exception):
    """A rule raised an exception, or answered what is no answer."""


class SomethingRefused(Exception):
    """A rule refuses a row of a push to the user's own space alone."""


class Ledger:
    """The living rows of spaces, with what a push has been allowed so far."""

    def __init__(self) -> None:
        #: By space and table what is allowed and not written yet: rows, and None for those that are deleted.
        self._noted: dict[tuple[str, str], dict[str, Row | None]] = defaultdict(dict)
        #: By how many rows there are more by that.
        self._more: dict[tuple[str, str], int] = defaultdict(int)
        #: How many there are, where a rule has asked.
        self._counts: dict[tuple[str, str], int] = {}
        self._found: dict[tuple[str, str, str], Row | None] = {}
        #: Allowed and not noted yet, since most rules never ask: the space, and each row with what it was.
        self._late: list[tuple[str, SyncedTable, list[Row], Mapping[str, Row]]] = []

    def note(self, space_id: str, table: SyncedTable, id_: str, row: Row | None, more: int) -> None:
        """Note a row that is written or, None, deleted, and by how many the living ones change."""
        key = (space_id, table.name)
        self._noted[key][id_] = row
        if key in self._counts:
            self._counts[key] += more
        else:
            self._more[key] += more

    def note_late(
        self, space_id: str, table: SyncedTable, done: list[Row], before: Mapping[str, Row]
    ) -> None:
        """Note rows once a rule asks: those that are in the list by then."""
        self._late.append((space_id, table, done, before))

    def _catch_up(self) -> None:
        for space_id, table, done, before in self._late:
            for row in done:
                was = before.get(row.id)
                lived = was is not None and not was.is_deleted
                self.note(
                    space_id,
                    table,
                    row.id,
                    None if row.is_deleted else row,
                    1 - lived - row.is_deleted,
                )
            done.clear()

    def written(self, table: SyncedTable) -> None:
        """Forget what is in the database from now on."""
        if self._counts:
            self._catch_up()
        if not rules_of(table.name):
            # Nobody has counted what was written of it.
            self._counts = {
                key: count for key, count in self._counts.items() if key[1] != table.name
            }
        for noted in (self._noted, self._more, self._found, self._late):
            noted.clear()

    def count(self, space_id: str, table: str) -> int:
        """Return how many rows of a table live in a space."""
        self._catch_up()
        key = (space_id, table)
        if key not in self._counts:
            stored = rows.count_living(space_id, tables_by_name()[table])
            self._counts[key] = stored + self._more.pop(key, 0)
        return self._counts[key]

    def find(self, space_id: str, table: str, id_: str) -> Record | None:
        """Return a row that lives in a space."""
        self._catch_up()
        declared = tables_by_name().get(table)
        if declared is None:
            return self._find_reference(_reference_table(table), id_)
        noted = self._noted.get((space_id, table), {})
        row = noted[id_] if id_ in noted else self._load(space_id, declared, id_)
        if row is None:
            return None
        seen = Circumstances(table, None, "", space_id, False, self, declared.is_shareable)
        return seen.record(row.id, row.values)

    def _find_reference(self, table: ReferenceTable, id_: str) -> Record | None:
        key = ("", table.name, id_)
        if key not in self._found:
            self._found[key] = rows.find_reference(table, id_)
        row = self._found[key]
        everywhere = Circumstances(table.name, None, "", "", False, self, is_shareable=False)
        return everywhere.record(row.id, row.values) if row else None

    def _load(self, space_id: str, table: SyncedTable, id_: str) -> Row | None:
        key = (space_id, table.name, id_)
        if key not in self._found:
            row = rows.load(space_id, table, [id_]).get(id_)
            self._found[key] = row if row and not row.is_deleted else None
        return self._found[key]


class Judge:
    """Asks the rules about the rows of one push."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self.ledger = Ledger()
        self._circumstances: dict[tuple[str, str, str, bool], Circumstances] = {}
        #: Ids by table of rows that rules have changed.
        self.changed: dict[str, list[str]] = defaultdict(list)

    def ask_all(self, table: SyncedTable, made: Decisions, before: Mapping[str, Row]) -> None:
        """Let the rules change all that was decided of rows in the user's own space.

        Raises `SomethingRefused`.
        """
        rules = rules_of(table.name)
        if not rules:
            return
        own = self.circumstances(table, self._push.user_id, "owner")
        done: list[Row] = []
        for id_ in made.buried:
            row = before[id_]
            if _ask_deletion(rules, own, row):
                raise SomethingRefused
            self.ledger.note(own.space_id, table, id_, None, -1)
        self.ledger.note_late(own.space_id, table, done, before)
        for row in chain(made.inserted, made.overwritten, made.amended):
            was = before.get(row.id)
            lived = None if was is None or was.is_deleted else was
            if row.is_deleted:
                word = _ask_deletion(rules, own, lived) if lived else None
            else:
                word = self._ask(rules, own, table, row, lived, made)
            if word:
                raise SomethingRefused
            done.append(row)
        if changed := self.changed.pop(table.name, ()):
            made.repaired = list(dict.fromkeys((*made.repaired, *changed)))

    def circumstances(
        self, table: SyncedTable, space_id: str, role: str, *, is_move: bool = False
    ) -> Circumstances:
        """Return what a rule is told of the changes of a table in a space."""
        key = (table.name, space_id, role, is_move)
        if key not in self._circumstances:
            user_id = None if self._push.is_server else self._push.user_id
            self._circumstances[key] = Circumstances(
                table.name, user_id, role, space_id, is_move, self.ledger, table.is_shareable
            )
        return self._circumstances[key]

    def ask_deletion(
        self, table: SyncedTable, row: Row, role: str, *, is_move: bool = False
    ) -> str | None:
        """Return the word with which a rule refuses that a row is deleted, or leaves its space."""
        rules = rules_of(table.name)
        there = self.circumstances(table, row.space, role, is_move=is_move)
        return _ask_deletion(rules, there, row) if rules else None

    def ask(
        self,
        table: SyncedTable,
        row: Row,
        lived: Row | None,
        space_id: str,
        role: str,
        made: Decisions,
        *,
        is_move: bool = False,
    ) -> str | None:
        """Let the rules change a row that is to be written; return the word of the one that refuses it.

        `lived`: the row as it lived in the space.
        """
        rules = rules_of(table.name)
        if not rules:
            return None
        there = self.circumstances(table, space_id, role, is_move=is_move)
        return self._ask(rules, there, table, row, lived, made)

    def _ask(
        self,
        rules: Sequence[Rule],
        there: Circumstances,
        table: SyncedTable,
        row: Row,
        lived: Row | None,
        made: Decisions,
    ) -> str | None:
        before = None if lived is None else lived.values
        for rule in rules:
            verdict = _try(rule, Change(there, row.id, before, row.values))
            if verdict is None:
                continue
            if isinstance(verdict, Refusal):
                return verdict.word
            self._change(table, row, lived, verdict, made, rule)
            if row.is_deleted:
                break
        return None

    def _change(
        self,
        table: SyncedTable,
        row: Row,
        lived: Row | None,
        verdict: Mapping[str, Any],
        made: Decisions,
        rule: Rule,
    ) -> None:
        """Write what a rule answered into a row, as if it had been pushed."""
        if unknown := verdict.keys() - {*table.names}:
            raise RuleFailed(f"{_name(rule)} changes {unknown}, no columns of {table.name}.")
        columns: tuple[Any, ...] = table.columns
        repaired = {c.name: repair_value(verdict[c.name], c) for c in columns if c.name in verdict}
        if repaired.items() <= row.values.items():
            return
        # Another dictionary, for a rule may have kept the one before.
        row.values = row.values | repaired
        self.changed[table.name].append(row.id)
        if not repaired.keys().isdisjoint(column.name for column in table.enforced):
            row.is_deleted, is_altered = read_parents(
                table, row.values, lived.values if lived else {}
            )
            made.names_parents = True
            made.differs = made.differs or row.is_deleted or is_altered
            made.has_deaths = made.has_deaths or (row.is_deleted and lived is not None)

    def note_written(self, table: SyncedTable, row: Row, lived: Row | None, space_id: str) -> None:
        """Let the rules that are asked later know of a row that is written."""
        self.ledger.note(space_id, table, row.id, row, lived is None)

    def note_deleted(self, table: SyncedTable, row: Row) -> None:
        """Let the rules that are asked later know of a row that is deleted, or leaves its space."""
        self.ledger.note(row.space, table, row.id, None, -1)


def _reference_table(name: str) -> ReferenceTable:
    return {table.name: table for table in reference_tables()}[name]


def _ask_deletion(rules: Sequence[Rule], there: Circumstances, row: Row) -> str | None:
    for rule in rules:
        verdict = _try(rule, Change(there, row.id, row.values, None))
        if isinstance(verdict, Refusal):
            return verdict.word
        if verdict is not None:
            raise RuleFailed(f"{_name(rule)} changes columns of a row that is deleted.")
    return None


def _try(rule: Rule, change: Change) -> Mapping[str, Any] | Refusal | None:
    """Return what a rule answers. Raises `RuleFailed`."""
    try:
        verdict = rule(change)
    except (DBAPIError, DeadlineExceeded):
        raise
    except Exception as error:
        # Whatever it raises, even what would be a 404 of a route's, is a bug of the rule's.
        raise RuleFailed(f"{_name(rule)} failed: {type(error).__name__}") from error
    if verdict is None or isinstance(verdict, Refusal | Mapping):
        return verdict
    raise RuleFailed(f"{_name(rule)} answered {type(verdict).__name__}: return {{…}} or refuse(…).")


def _name(rule: Rule) -> str:
    return f"The rule {rule.__module__}.{rule.__qualname__}"
