"""Values of MySQL as records have them."""

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.sync.existing.values import DIGITS_LOST, NO_DATE, NO_VALUE, convert, date, record_id
from services.sync.schemas import SAFE_ID
from shared.models.columns import Column

UTC, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
TEXT, TRUTH, NUMBER = Column("string"), Column("boolean"), Column("number")
DATE = Column("number", whole=True, decorator="date")


@pytest.mark.parametrize(
    ("value", "column", "expected"),
    [
        (None, TEXT, (None, None)),
        ("🏋️ naïve", TEXT, ("🏋️ naïve", None)),
        (17, TEXT, ("17", None)),
        (Decimal("0.10"), TEXT, ("0.10", None)),
        (Decimal("1E+3"), TEXT, ("1000", None)),
        (b"bytes", TEXT, ("bytes", None)),
        (b"\xff\xfe", TEXT, (None, NO_VALUE)),
        (1, TRUTH, (True, None)),
        (-5, TRUTH, (True, None)),
        (b"\x00", TRUTH, (False, None)),
        (b"\x01", TRUTH, (True, None)),
        ("yes", TRUTH, (None, NO_VALUE)),
        ("1", TRUTH, (True, None)),
        (Decimal("0.00"), TRUTH, (False, None)),
        (b"\x01\x00", NUMBER, (256, None)),
        (Decimal("29.90"), NUMBER, (29.9, None)),
        (Decimal("29.00"), NUMBER, (29, None)),
        (Decimal("0.1234567890123456789"), NUMBER, (0.1234567890123456789, DIGITS_LOST)),
        (2**53, NUMBER, (2**53, None)),
        (2**63 - 1, NUMBER, (float(2**63), DIGITS_LOST)),
        (Decimal("1" + "0" * 40), NUMBER, (1e40, None)),
        ("1.5", NUMBER, (1.5, None)),
        ("many", NUMBER, (None, NO_VALUE)),
        ("NaN", NUMBER, (None, NO_VALUE)),
        (1_700_000_000_000, DATE, (1_700_000_000_000, None)),
        ("1970-01-01 00:00:00", DATE, (0, None)),
        ("1969-12-31 23:59:59.999", DATE, (-1, None)),
        ("2024-07-01 10:00:00.250000", DATE, (1_719_828_000_250, None)),
        ("2024-07-01", DATE, (1_719_792_000_000, None)),
        ("9999-12-31 23:59:59", DATE, (253_402_300_799_000, None)),
        ("0000-00-00 00:00:00", DATE, (None, NO_DATE)),
        ("2024-00-10 00:00:00", DATE, (None, NO_DATE)),
        ("838:59:59", DATE, (None, NO_DATE)),
        (date("0000-00-00"), TEXT, (None, NO_DATE)),
        (date("2024-00-10 08:00:00"), DATE, (None, NO_DATE)),
        (date("2024-07-01"), TEXT, ("2024-07-01", None)),
    ],
)
def test_a_value_is_the_nearest_that_a_record_has(
    value: Any, column: Column, expected: tuple[Any, Any]
) -> None:
    assert convert(value, column, UTC) == expected


def test_a_date_is_at_home_in_the_zone_that_is_given() -> None:
    in_winter, in_summer = "2024-01-01 12:00:00", "2024-07-01 12:00:00"
    assert convert(in_winter, DATE, UTC)[0] - convert(in_winter, DATE, BERLIN)[0] == 3_600_000
    assert convert(in_summer, DATE, UTC)[0] - convert(in_summer, DATE, BERLIN)[0] == 7_200_000
    # Twice on that clock: the first.
    assert convert("2024-10-27 02:30:00", DATE, BERLIN)[0] == 1_729_989_000_000


@pytest.mark.parametrize(
    ("prefix", "key", "id_"),
    [
        ("", [17], "17"),
        ("plan-", [17], "plan-17"),
        ("", [100, 2], "100-2"),
        ("", ["c0ffee.A_b-1"], "c0ffee.A_b-1"),
        ("", [b"\x00\xff"], "00ff"),
    ],
)
def test_an_id_is_the_key_itself(prefix: str, key: list[Any], id_: str) -> None:
    assert record_id(prefix, key) == id_


@pytest.mark.parametrize("key", [["Straße 1"], ["x" * 129], ["a", "b-c"], [-1, 2]])
def test_a_key_that_makes_no_safe_id_makes_a_digest(key: list[Any]) -> None:
    id_ = record_id("p-", key)
    assert SAFE_ID.fullmatch(id_) and id_.startswith("p-") and len(id_) == 34
    assert record_id("p-", key) == id_


def test_no_two_keys_make_one_id() -> None:
    keys = [["a", "b-c"], ["a-b", "c"], ["a-b-c"], [1, 23], [12, 3], [-1, 2], [1, -2], [12]]
    assert len({record_id("", key) for key in keys}) == len(keys)
