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


@dataclass(frozen=True, slots=True)
class Change:
    """What a push makes of one row in one space.

    A row that goes from one space to another is deleted in the first and comes into being in the second: that
    is two changes, and `is_move` is true of both.
    """

    table: str
    #: The row as it is stored. None for one that comes into being.
    before: Record | None
    #: The row as it would be, merged and repaired. None for one that is deleted.
    after: Record | None
    #: Who pushes. None for the app's server.
    user_id: str | None
    #: What they are in the space: "owner" of one's own or a shared one, "writer", or "server".
    role: str
    space_id: str
    is_move: bool
    _rows: Rows

    def count(self, table: str) -> int:
        """Return how many rows of a table live in the space, with what the push has done so far."""
        return self._rows.count(self.space_id, table)

    def find(self, table: str, id_: str) -> Record | None:
        """Return a row that lives in the space, with what the push has done so far."""
        return self._rows.find(self.space_id, table, id_)


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


def record_of(id_: str, values: Mapping[str, Any], space: Mapping[str, str]) -> Record:
    """Return a row as rules see it, which cannot be written to."""
    return MappingProxyType({"id": id_, **values, **space})


def rules_of(table: str) -> Sequence[Rule]:
    """Return the rules of a table."""
    return RULES.get(table, ())
