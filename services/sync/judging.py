"""Asking the app's rules about the rows of a push (docs/rules.md)."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError

from services.sync import rows
from services.sync.merge import Row
from services.sync.plan import Decisions, Push, read_parents
from services.sync.repair import repair_value
from shared.database.errors import DeadlineExceeded
from shared.models.columns import SPACE
from shared.models.rules import Change, Record, Refusal, Rule, record_of, rules_of
from shared.models.tables import SyncedTable, tables_by_name


class RuleFailed(Exception):
    """A rule raised an exception, or answered what is no answer."""


class Ledger:
    """The living rows of spaces, with what a push has been allowed so far. None of that is written yet."""

    def __init__(self) -> None:
        #: By space and table the rows that the push writes; None for those that it deletes.
        self._noted: dict[tuple[str, str], dict[str, Row | None]] = defaultdict(dict)
        #: By space and table how many more there are by them.
        self._more: dict[tuple[str, str], int] = defaultdict(int)
        self._stored: dict[tuple[str, str], int] = {}
        self._found: dict[tuple[str, str, str], Row | None] = {}

    def note(self, space_id: str, table: SyncedTable, id_: str, row: Row | None, more: int) -> None:
        """Note a row that is written or, None, deleted, and by how many the living ones change."""
        self._noted[space_id, table.name][id_] = row
        self._more[space_id, table.name] += more

    def count(self, space_id: str, table: str) -> int:
        """Return how many rows of a table live in a space."""
        key = (space_id, table)
        if key not in self._stored:
            self._stored[key] = rows.count_living(space_id, tables_by_name()[table])
        return self._stored[key] + self._more.get(key, 0)

    def find(self, space_id: str, table: str, id_: str) -> Record | None:
        """Return a row that lives in a space."""
        noted = self._noted.get((space_id, table), {})
        row = noted[id_] if id_ in noted else self._load(space_id, tables_by_name()[table], id_)
        return _record(tables_by_name()[table], row, space_id) if row else None

    def _load(self, space_id: str, table: SyncedTable, id_: str) -> Row | None:
        key = (space_id, table.name, id_)
        if key not in self._found:
            row = rows.load(space_id, table, [id_]).get(id_)
            self._found[key] = row if row and not row.is_deleted else None
        return self._found[key]


class Judge:
    """Asks the rules about the rows of one push."""

    def __init__(self, push: Push) -> None:
        self._user_id = None if push.is_server else push.user_id
        self._ledger = Ledger()
        #: Ids by table of rows that rules have changed.
        self.changed: dict[str, list[str]] = defaultdict(list)

    def ask_deletion(
        self, table: SyncedTable, row: Row, role: str, *, is_move: bool = False
    ) -> str | None:
        """Return the word with which a rule refuses that a row is deleted, or leaves its space."""
        for rule in rules_of(table.name):
            before = _record(table, row, row.space)
            change = Change(
                table.name, before, None, self._user_id, role, row.space, is_move, self._ledger
            )
            verdict = _ask(rule, change)
            if isinstance(verdict, Refusal):
                return verdict.word
            if verdict is not None:
                raise RuleFailed(f"{_name(rule)} changes columns of {table.name} that is deleted.")
        return None

    def ask(
        self,
        table: SyncedTable,
        row: Row,
        before: Row | None,
        space_id: str,
        role: str,
        made: Decisions,
        *,
        is_move: bool = False,
    ) -> str | None:
        """Let the rules change a row that is to be written; return the word of the one that refuses it.

        `before`: the row as it lived in the space.
        """
        rules = rules_of(table.name)
        if not rules:
            return None
        was = _record(table, before, space_id) if before else None
        after = _record(table, row, space_id)
        for rule in rules:
            change = Change(
                table.name, was, after, self._user_id, role, space_id, is_move, self._ledger
            )
            verdict = _ask(rule, change)
            if isinstance(verdict, Refusal):
                return verdict.word
            if verdict:
                self._change(table, row, before, verdict, made, rule)
                after = _record(table, row, space_id)
            if row.is_deleted:
                break
        return None

    def _change(
        self,
        table: SyncedTable,
        row: Row,
        before: Row | None,
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
        row.values.update(repaired)
        self.changed[table.name].append(row.id)
        if not repaired.keys().isdisjoint(column.name for column in table.enforced):
            lived = before.values if before else {}
            row.is_deleted, is_altered = read_parents(table, row.values, lived)
            made.names_parents = True
            made.differs = made.differs or row.is_deleted or is_altered
            made.has_deaths = made.has_deaths or (row.is_deleted and before is not None)

    def note_written(self, table: SyncedTable, row: Row, lived: Row | None, space_id: str) -> None:
        """Let the rules that are asked later know of a row that is written."""
        self._ledger.note(space_id, table, row.id, row, lived is None)

    def note_deleted(self, table: SyncedTable, row: Row) -> None:
        """Let the rules that are asked later know of a row that is deleted, or leaves its space."""
        self._ledger.note(row.space, table, row.id, None, -1)


def _record(table: SyncedTable, row: Row, space_id: str) -> Record:
    space = {SPACE.name: space_id} if table.is_shareable else {}
    return record_of(row.id, row.values, space)


def _ask(rule: Rule, change: Change) -> Mapping[str, Any] | Refusal | None:
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
