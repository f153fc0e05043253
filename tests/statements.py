"""How many statements something takes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def sent() -> Iterator[list[str]]:
    """Note the text of the statements of every engine."""
    texts: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        texts.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield texts
    event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def statements() -> Iterator[Counter[str]]:
    """Count the statements of every engine by their first word."""
    counted: Counter[str] = Counter()

    def count(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        counted[statement.split()[0].lstrip("(")] += 1

    event.listen(Engine, "before_cursor_execute", count)
    yield counted
    event.remove(Engine, "before_cursor_execute", count)
