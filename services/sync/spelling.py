"""Which declared column a misspelled one was meant to be, for those who build an app."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from shared.models.tables import tables_by_name

#: What is less alike than this is another word.
MIN_LIKENESS = 0.75


def meant(ignored: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the declared column that each ignored one is most like, by `table.column`; none for some."""
    return {
        f"{table}.{column}": found
        for table, columns in ignored.items()
        for column in columns
        if (found := _most_like(column, tables_by_name()[table].names))
    }


def _most_like(name: str, names: Sequence[str]) -> str | None:
    # `isCompleted` is what a model calls `is_completed`.
    by_letters = {_letters(known): known for known in names}
    found = get_close_matches(_letters(name), by_letters, n=1, cutoff=MIN_LIKENESS)
    return by_letters[found[0]] if found else None


def _letters(name: str) -> str:
    return name.replace("_", "").lower()
