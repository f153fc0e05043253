"""What a file for a reference table is read as, and what is said of one that cannot be meant."""

import json
from contextlib import suppress
from io import BytesIO
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sync.reference import files
from services.sync.reference.files import Format, Reader, Staged
from shared.database.errors import DeadlineExceeded
from shared.models.columns import Column
from shared.web.errors import InvalidRequest

TABLE: Any = SimpleNamespace(
    columns=(
        Column("string", "name", characters=5),
        Column("string", "notes", optional=True, bytes=6),
        Column("number", "order", whole=True),
        Column("number", "price", optional=True),
        Column("boolean", "hard"),
    )
)


def read(text: str | bytes, format_: Format = "csv") -> dict[str, dict[str, Any]]:
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    with Staged() as staged:
        for _ in Reader(TABLE, BytesIO(body), format_).stage(staged):
            pass
        return {id_: row for some in staged.by_ids(2) for id_, row in some.items()}


def faults(text: str | bytes, format_: Format = "csv") -> dict[str, list[str]]:
    with pytest.raises(InvalidRequest) as refused:
        read(text, format_)
    codes: dict[str, list[str]] = refused.value.members["errorCodes"]
    return codes


def test_csv_is_read_as_rfc_4180_has_it() -> None:
    text = 'id,name,notes,order,price,hard\r\nb,"a,""b",,007,1e2,true\r\na,"x\ny",,-1,,0\r\n\r\n'
    rows = {
        "a": {"name": "x\ny", "notes": None, "order": -1, "price": None, "hard": False},
        "b": {"name": 'a,"b', "notes": None, "order": 7, "price": 100.0, "hard": True},
    }
    assert read(text) == rows
    assert read(b"\xef\xbb\xbf" + text.encode()) == rows
    # In the order of ids, whatever the file's.
    assert list(read(text)) == ["a", "b"]


def test_columns_may_be_left_out_and_come_in_any_order() -> None:
    assert read("name,id\nx,a\n") == {"a": {"name": "x"}}
    assert read("id\na\nb") == {"a": {}, "b": {}}
    lines = [{"id": "a", "name": ""}, {"id": "b", "price": 1.0, "hard": 1, "order": 2.0}]
    text = "\n".join(map(json.dumps, lines)) + "\n\n"
    assert read(text, "ndjson") == {
        "a": {"name": ""},
        "b": {"price": 1, "hard": True, "order": 2},
    }


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_a_file_that_takes_too_long_is_given_up_though_no_line_is_a_row(
    monkeypatch: pytest.MonkeyPatch, format_: Format
) -> None:
    def not_until(deadline: float, body: bytes) -> int:
        # Each look at the clock is a second.
        looks = count(1)
        monkeypatch.setattr(files, "time", SimpleNamespace(monotonic=lambda: next(looks)))
        reader = Reader(TABLE, BytesIO(body), format_, deadline)
        with Staged() as staged, pytest.raises(DeadlineExceeded):
            list(reader.stage(staged))
        return reader.line

    for line in (b"\n", b"{\n", b'"\n'):
        body = b"id\n" + line * 1000
        assert not_until(0, body) == 0
        assert 0 < not_until(10, body) < 20


def test_a_header_alone_has_no_rows_and_an_empty_file_is_refused() -> None:
    assert read("id,name\n") == {}
    assert faults("") == {"1": ["required"]}
    assert faults("", "ndjson") == {"1": ["required"]}
    assert faults("\n \n", "ndjson") == {"1": ["required"]}
    assert faults(b"\xef\xbb\xbf") != {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id,name\na,x\nb,toolong\n", {"3.name": ["too_long"]}),
        ("id,notes\na,äöüß\n", {"2.notes": ["too_long"]}),
        ('id,name,order\na,"x\ny",1\nb,y,z\n', {"4.order": ["invalid"]}),
        ("id,order\na,\n", {"2.order": ["required"]}),
        ("id,order\na,1.5\n", {"2.order": ["invalid"]}),
        ("id,order\na,9007199254740994\n", {"2.order": ["invalid"]}),
        ("id,price\na,1_000\n", {"2.price": ["invalid"]}),
        ("id,price\na,1e999\n", {"2.price": ["invalid"]}),
        ("id,price\na,nan\n", {"2.price": ["invalid"]}),
        ("id,hard\na,yes\n", {"2.hard": ["invalid"]}),
        ("id,hard\na,\n", {"2.hard": ["required"]}),
        ("id,name\n,x\n", {"2.id": ["required"]}),
        ("id,name\na b,x\n", {"2.id": ["invalid"]}),
        ("id,name\na,x\na,y\n", {"3.id": ["duplicate_id"]}),
        ("id,name\na,x,y\n", {"2": ["invalid"]}),
        ("id,nmae\na,x\n", {"1.nmae": ["unknown_column"]}),
        ("id,name,name\na,x,y\n", {"1.name": ["invalid"]}),
        ("name\nx\n", {"1.id": ["invalid"]}),
        ('id,name\na,"x\n', {"2": ["invalid"]}),
        ('id,name\na,"x"y\n', {"2": ["invalid"]}),
        (b"id,name\na,\xff\n", {"2": ["invalid"]}),
    ],
)
def test_a_fault_of_csv_is_named_by_line_and_column(
    text: str | bytes, found: dict[str, list[str]]
) -> None:
    assert faults(text) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"id": "b", "name": null}', {"2.name": ["required"]}),
        ('{"id": "b", "name": 7}', {"2.name": ["invalid"]}),
        ('{"id": "b", "name": "\\ud800"}', {"2": ["invalid"]}),
        ('{"id": "b", "price": false}', {"2.price": ["invalid"]}),
        ('{"id": "b", "price": "7"}', {"2.price": ["invalid"]}),
        ('{"id": "b", "price": []}', {"2.price": ["invalid"]}),
        ('{"id": "b", "hard": 2}', {"2.hard": ["invalid"]}),
        ('{"id": "b", "order": 1.5}', {"2.order": ["invalid"]}),
        ('{"id": 7}', {"2.id": ["invalid"]}),
        ("{}", {"2.id": ["required"]}),
        ('{"id": "b", "_status": "created"}', {"2._status": ["unknown_column"]}),
        ('["b"]', {"2": ["invalid"]}),
        ("{", {"2": ["invalid"]}),
        (b'{"id": "b", "name": "\xff"}', {"2": ["invalid"]}),
    ],
)
def test_a_fault_of_ndjson_is_named_by_line_and_column(
    line: str | bytes, found: dict[str, list[str]]
) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    assert faults(b'{"id": "a"}\n' + raw + b"\n", "ndjson") == found


def test_a_header_of_very_many_names_is_one_fault() -> None:
    assert faults("id" + ",name" * 100_000 + "\na\n") == {"1.header": ["invalid"]}
    assert faults("id" + ",name" * 1_999 + "\na\n") == {"1.name": ["invalid"]}


def test_of_many_faults_the_first_fifty_are_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read("id,order\n" + "a,x\n" * 100)
    assert len(refused.value.members["errors"]) <= 50
    # Each line has a bad number, and all but the first an id that was there.
    assert refused.value.members["errorsOmitted"] == 199 - 50


#: What files are made of, and what breaks them.
PIECES = (
    *(
        b"id",
        b"name",
        b"order",
        b"price",
        b",",
        b"\n",
        b"\r\n",
        b'"',
        b"{",
        b"}",
        b":",
        b"1",
        b"true",
    ),
    *(b'{"id": "a"', b"\xff", b"\x00", b"\\ud800", b"null", b"[", b"\xef\xbb\xbf", b"1e999", b"-"),
)
PIECE = st.sampled_from(PIECES) | st.binary(max_size=8)


@given(body=st.lists(PIECE, max_size=30).map(b"".join))
@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_whatever_is_sent_is_read_or_refused_in_order(format_: Format, body: bytes) -> None:
    rows: dict[str, dict[str, Any]] = {}
    with suppress(InvalidRequest):
        rows = read(body, format_)
    for id_, row in rows.items():
        assert set(row) <= {column.name for column in TABLE.columns}
        assert json.loads(json.dumps(row, allow_nan=False)) == row, id_
