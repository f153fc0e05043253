"""Which declared column a misspelled one was meant to be, for those who build an app."""

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from flask import current_app

from shared.models.tables import tables_by_name

log = logging.getLogger(__name__)

#: What is less alike than this is another word.
MIN_LIKENESS = 0.75


def tell_of(ignored: Mapping[str, Sequence[str]]) -> None:
    """Log the columns of a push that the server does not have, if there are any."""
    if ignored:
        # Lines for people are read by those who build the app; elsewhere the metric is enough.
        level = logging.WARNING if current_app.config["LOG_TEXT"] else logging.DEBUG
        extra = {"columns": ignored, "meant": meant(ignored)}
        log.log(level, "columns_ignored", extra=extra)


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
