"""Values of MySQL as records have them. Pure rules, no I/O."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from hashlib import sha256
from typing import Any

from services.sync.repair import MAX_WHOLE
from services.sync.schemas import SAFE_ID
from shared.models.columns import Column

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

NO_DATE = "a date that is none"
NO_VALUE = "a value of another kind"
DIGITS_LOST = "more digits than a number has here"


class NoDate(str):
    """A text in a column of dates that is none, such as 0000-00-00."""

    __slots__ = ()


def date(text: str) -> str:
    """Return what a column of dates has."""
    return NoDate(text) if text.startswith("0000") or "-00" in text[:10] else text


def record_id(prefix: str, key: Sequence[Any]) -> str:
    """Return the id of the row with this key: itself as text, or a digest where that is no safe id."""
    parts = [_key_text(part) for part in key]
    joined = prefix + "-".join(parts)
    is_clear = len(parts) == 1 or not any("-" in part for part in parts)
    if is_clear and SAFE_ID.fullmatch(joined):
        return joined
    return prefix + sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _key_text(part: Any) -> str:
    return part.hex() if isinstance(part, bytes) else str(part)


def convert(value: Any, column: Column, zone: tzinfo) -> tuple[Any, str | None]:
    """Return a value for a declared column, and what was wrong with it. Dates are texts in `zone`.

    What has no counterpart becomes None, which is the column's empty value where it is required.
    """
    if value is None or isinstance(value, NoDate):
        return None, None if value is None else NO_DATE
    if column.kind == "string":
        return _text(value)
    if isinstance(value, bytes):
        value = int.from_bytes(value, "big")
    if column.decorator == "date" and isinstance(value, str):
        return _milliseconds(value, zone)
    number, fault = _number(value)
    if column.kind == "boolean" and number is not None:
        return number != 0, None
    return number, fault


def _text(value: Any) -> tuple[str | None, str | None]:
    if isinstance(value, bytes):
        try:
            return value.decode(), None
        except UnicodeDecodeError:
            return None, NO_VALUE
    return format(value, "f") if isinstance(value, Decimal) else str(value), None


def _number(value: Any) -> tuple[int | float | None, str | None]:
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except ArithmeticError:
            return None, NO_VALUE
    if isinstance(value, float):
        return value, None
    if isinstance(value, Decimal) and not value.is_finite():
        return None, NO_VALUE
    if value == int(value) and abs(value) <= MAX_WHOLE:
        return int(value), None
    number = float(value)
    return number, None if Decimal(repr(number)) == value else DIGITS_LOST


def _milliseconds(text: str, zone: tzinfo) -> tuple[int | None, str | None]:
    """Return the time that a text like `2026-11-27 08:30:00.5` says in `zone`."""
    try:
        time = datetime.fromisoformat(text)
        # Of two times that a clock put back shows twice, the first.
        return (time.replace(tzinfo=zone) - EPOCH) // MILLISECOND, None
    except (ValueError, OverflowError):
        return None, NO_DATE
