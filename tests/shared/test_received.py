"""Rows taken from the driver's buffer are those that the server sent, wherever what is received is cut."""

import io
import itertools
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymysql.connections import MySQLResult
from pymysql.cursors import SSCursor

from shared.database.received import RECEIVED_BYTES, first_values

#: What a packet holds; a longer row goes on in the next one.
MOST = 0xFFFFFF
#: What stands before a size, in how many bytes that is written, and the largest one.
SIZES = [(b"", 1, 250), (b"\xfc", 2, 0xFFFF), (b"\xfd", 3, MOST), (b"\xfe", 8, 2**63)]
END, KILLED = b"\xfe\0\0\0\0", b"\xff\x25\x05#70100Query execution was interrupted"
#: Where the size of a value takes more bytes, and where the buffer, or a packet, is full.
EDGES = [0, 1, 250, 251, 252, 65535, 65536, RECEIVED_BYTES - 9, RECEIVED_BYTES, 3 * RECEIVED_BYTES]
rows = st.lists(st.one_of(st.integers(0, 600), st.sampled_from(EDGES)), max_size=200)
#: How many bytes are received at a time, over and over; of a long row not all by one.
cuts = st.lists(st.sampled_from([1, 2, 3, 4, 5, 6, 254, 16384, 2**20])).map(
    lambda some: [*some, 8192]
)
some = settings(max_examples=30, deadline=None)


class Received(io.RawIOBase):
    """What a server sends, some bytes at a time."""

    def __init__(self, sent: bytes, cuts: list[int]) -> None:
        self.sent, self.cuts, self.at = memoryview(sent), itertools.cycle(cuts), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.sent[self.at : self.at + min(next(self.cuts), len(buffer))]
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


def value(length: int) -> bytes:
    # Not all alike: a byte that is read as a size, or as the end, must be noticed.
    return bytes(97 + (length + at) % 26 for at in range(min(length, 50))).ljust(length, b"z")


def row(text: bytes) -> bytes:
    """Return a row of one value: its size, in as many bytes as that takes, and the text."""
    for first, width, most in SIZES:
        if len(text) <= most:
            return first + len(text).to_bytes(width, "little") + text
    raise AssertionError


def packets(payloads: list[bytes], number: int) -> Iterator[bytes]:
    for payload in payloads:
        for start in range(0, len(payload) + 1, MOST):
            part = payload[start : start + MOST]
            yield len(part).to_bytes(3, "little") + bytes([number % 256]) + part
            number += 1


def read(payloads: list[bytes], cuts: list[int], lost: int = 0) -> list[bytes]:
    """Return the rows of a result that is received by `cuts`; the `lost` last bytes of it never come."""
    sent = b"".join(packets(payloads, 200))
    driver: Any = pymysql.Connection(defer_connect=True, charset="utf8mb4")
    driver._sock = socket.socket()
    driver._rfile = io.BufferedReader(Received(sent[: len(sent) - lost], cuts), RECEIVED_BYTES)
    driver._next_seq_id, driver._current_timeout = 200, driver._read_timeout
    cursor: Any = SSCursor(driver)
    cursor._executed = "SELECT"
    cursor._result = driver._result = MySQLResult(driver)
    cursor._result.unbuffered_active, cursor._result.converters = True, [("utf8", None)]
    result: Any = SimpleNamespace(cursor=cursor, fetchone=cursor.fetchone)
    try:
        return [text for batch in first_values(result) for text in batch]
    finally:
        cursor._result.unbuffered_active = False
        driver._force_close()


@some
@given(lengths=rows, cuts=cuts)
@example(lengths=[250] * 9, cuts=[255, 254])
@example(lengths=[9] * 600, cuts=[5000])
@example(lengths=[1, MOST - 4, 2, MOST - 3, MOST, 2 * MOST + 1, 3], cuts=[2**20])
def test_rows_come_as_they_were_sent_wherever_they_are_cut(
    lengths: list[int], cuts: list[int]
) -> None:
    texts = [value(length) for length in lengths]
    assert read([*map(row, texts), END], cuts) == texts


@some
@given(lengths=rows, cuts=cuts)
def test_an_error_in_the_middle_of_rows_is_the_servers(lengths: list[int], cuts: list[int]) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="interrupted"):
        read([*(row(value(length)) for length in lengths), KILLED], cuts)


@some
@given(lengths=rows, cuts=cuts, lost=st.integers(1, 9))
def test_a_connection_that_ends_among_rows_is_lost(
    lengths: list[int], cuts: list[int], lost: int
) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="Lost connection"):
        read([*(row(value(length)) for length in lengths), END], cuts, lost)
