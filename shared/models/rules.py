"""Rules of the app: what it lets a push make of a row (docs/rules.md).

They stand beside the declarations, in any module of this folder.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

#: Why the server itself refuses a row.
READ_ONLY, NO_SUCH_SPACE, DUPLICATE_ID = "read_only", "no_such_space", "duplicate_id"
OWN_WORDS = {READ_ONLY, NO_SUCH_SPACE, DUPLICATE_ID}
WORD = re.compile(r"[a-z][a-z0-9_]{0,49}")

#: A row by the names of its columns and `id`; one of a shareable table has its `space_id`, also a user's own.
Record = Mapping[str, Any]


class Rows(Protocol):
    """The living rows of spaces, as they are with what the push has done so far."""

    def count(self, space_id: str, table: str) -> int:
        """Return how many a table has in a space."""

    def find(self, space_id: str, table: str, id_: str) -> Record | None:
        """Return the one of an id."""


@dataclass(frozen=True)
class Circumstances:
    """What changes of one table in one space have in common."""

    table: str
    user_id: str | None
    role: str
    space_id: str
    is_move: bool
    rows: Rows
    is_shareable: bool

    def record(self, id_: str, values: Mapping[str, Any]) -> Record:
        """Return a row as rules see it, which cannot be written to."""
        space = {"space_id": self.space_id} if self.is_shareable else {}
        return MappingProxyType({"id": id_, **values, **space})


class Change:
    """What a push makes of one row in one space.

    A row that goes from one space to another is deleted in the first and comes into being in the second: that
    is two changes, and `is_move` is true of both.
    """

    # One is made for every row, so no more is done than what a rule asks for.
    __slots__ = ("_after", "_before", "_circumstances", "_id")

    def __init__(
        self,
        circumstances: Circumstances,
        id_: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        self._circumstances = circumstances
        self._id = id_
        self._before = before
        self._after = after

    @property
    def table(self) -> str:
        """Return the name of the table on the wire."""
        return self._circumstances.table

    @property
    def before(self) -> Record | None:
        """Return the row as it is stored; None for one that comes into being."""
        values = self._before
        return None if values is None else self._circumstances.record(self._id, values)

    @property
    def after(self) -> Record | None:
        """Return the row as it would be, merged and repaired; None for one that is deleted."""
        values = self._after
        return None if values is None else self._circumstances.record(self._id, values)

    @property
    def user_id(self) -> str | None:
        """Return who pushes; None for the app's server."""
        return self._circumstances.user_id

    @property
    def role(self) -> str:
        """Return what they are in the space: "owner" of one's own or a shared one, "writer", or "server"."""
        return self._circumstances.role

    @property
    def space_id(self) -> str:
        """Return the space that the row is in; a user's own has the user's id."""
        return self._circumstances.space_id

    @property
    def is_move(self) -> bool:
        """Return whether the row goes from one space to another."""
        return self._circumstances.is_move

    def count(self, table: str) -> int:
        """Return how many rows of a table live in the space, with what the push has done so far."""
        return self._circumstances.rows.count(self.space_id, table)

    def find(self, table: str, id_: str) -> Record | None:
        """Return a row that lives in the space, with what the push has done so far."""
        return self._circumstances.rows.find(self.space_id, table, id_)


@dataclass(frozen=True)
class Refusal:
    """The answer of a rule that lets a change not be, and the word that the app is told."""

    word: str


#: What a rule answers: nothing, columns with other values, or a refusal.
Verdict = Record | Refusal | None
Rule = Callable[[Change], Verdict]

#: By table, in the order in which they are tried.
RULES: dict[str, list[Rule]] = {}


def rule(table: str) -> Callable[[Rule], Rule]:
    """Register a function that is asked about every change of a table's rows."""

    def register(function: Rule) -> Rule:
        RULES.setdefault(table, []).append(function)
        return function

    return register


def refuse(word: str) -> Refusal:
    """Return the answer that refuses a change. Raises `ValueError` for no word, or one of the server's."""
    if not WORD.fullmatch(word):
        raise ValueError(f"refuse({word!r}): a word is a letter and up to 49 of a-z, 0-9 and _.")
    if word in OWN_WORDS:
        raise ValueError(f"refuse({word!r}): that is a word of the server's own. Take another.")
    return Refusal(word)


def rules_of(table: str) -> Sequence[Rule]:
    """Return the rules of a table."""
    return RULES.get(table, ())
