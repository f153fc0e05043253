"""Rows that PyMySQL has received already, taken from its buffer instead of through its cursor.

Most of PyMySQL's time for a row goes to what a single text has no need of. This reads private
attributes of the driver; where they are not as expected, rows come through the cursor as ever.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any

from sqlalchemy import CursorResult, Engine, event

#: What a connection receives at a time at most. PyMySQL's own 8 KiB are some thirty rows and the half of one,
#: which takes as long as those.
RECEIVED_BYTES = 128 * 1024
#: Rows that are in a service's memory at a time.
BATCH = 1000
#: The first four bytes of a packet, as a number, and the first of its payload.
PACKET = Struct("<IB").unpack_from
#: Options of a statement whose rows are taken as they come.
STREAMED = {"yield_per": 1}


def first_values(result: CursorResult[Any]) -> Iterator[list[bytes]]:
    """Yield the first value of each row, a text in UTF-8, in lists of about `BATCH`.

    `result` is one of PyMySQL that is `STREAMED`. Most of that driver's time for a row goes
    to what a single text has no need of, so rows that it has received already are taken from its buffer.
    """
    cursor: Any = result.cursor
    driver = cursor.connection
    found: list[bytes] = []
    while (row := result.fetchone()) is not None:
        found.append(row[0].encode())
        found += take_received(driver)
        if len(found) >= BATCH:
            yield found
            found = []
    if found:
        yield found


def receive_more(engine: Engine) -> None:
    """Let connections to a server receive `RECEIVED_BYTES` at a time."""
    if engine.dialect.name == "sqlite":
        return

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # Nothing is under way right now.
        connection._rfile = connection._sock.makefile("rb", RECEIVED_BYTES)


def take_received(driver: Any) -> list[bytes]:
    """Return the values of the whole rows of one short value that PyMySQL's buffer holds next.

    What else comes (the end, an error, half a row, a long one) is left for PyMySQL to read.
    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html
    """
    buffer: Any = getattr(driver, "_rfile", None)
    if not hasattr(buffer, "peek") or not hasattr(driver, "_next_seq_id"):
        return []
    try:
        received = buffer.peek()
    except OSError:
        # PyMySQL meets it again, and says it as the loss of a connection.
        return []
    found: list[bytes] = []
    add = found.append
    at, end = 0, len(received)
    # A packet is the size of its payload in three bytes, its number in one, and the payload.
    while at + 4 < end:
        size, first = PACKET(received, at)
        after = at + 4 + (size & 0xFFFFFF)
        if after > end:
            break
        # The payload is the value after its own size, which is one byte below 251, or two after 252.
        if first < 251:
            add(received[at + 5 : after])
        elif first == 252:
            add(received[at + 7 : after])
        else:
            break
        at = after
    buffer.read(at)
    driver._next_seq_id = (driver._next_seq_id + len(found)) % 256
    return found
