"""Rules of an app, for as long as a test runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.models import rules


@contextmanager
def ruled(**by_table: Any) -> Iterator[None]:
    """Let these rules, one or a list for each table, be those of the app."""
    with pytest.MonkeyPatch.context() as patch:
        for table, given in by_table.items():
            listed = given if type(given) is list else [given]
            patch.setitem(rules.RULES, table, listed)
        yield
