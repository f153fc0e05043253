"""What cannot be meant is refused in one sentence when it is read, never accepted and then wrong."""

import os
import traceback

import pytest

from shared.models.columns import DeclarationError
from shared.models.tables import reference_tables, synced_tables

START = """
from typing import Any, ClassVar
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column
from shared.database.base import Base
from shared.models import *
from shared.models import columns
from shared.models.tables import reference_tables, synced_tables
from shared.models.synced import Synced

class Note(Synced, Base):
    __tablename__ = "notes"
    {body}

{after}
synced_tables()
"""


def refusal(body: str, after: str = "") -> str:
    """Return what is said of a declaration, "" when it is taken."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        with open(reader) as said:
            answer = said.read()
        os.waitpid(child, 0)
        assert not answer.startswith("Traceback"), answer
        return answer
    # What is declared stays declared: in a process of its own.
    try:
        for known in (synced_tables, reference_tables):
            known.cache_clear()
        exec(START.format(body=body, after=after), {"__name__": __name__})
        said = ""
    except DeclarationError as error:
        said = str(error)
    except BaseException:
        said = traceback.format_exc()
    os.write(writer, said.encode())
    os._exit(0)


def many(count: int, kind: str, column: str) -> str:
    return "; ".join(f"c{n}: Mapped[{kind}] = columns.{column}" for n in range(count))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "user_id: Mapped[str] = columns.string()",
            'user_id_: Mapped[…] = columns.…(name="user_id")',
        ),
        ("Is_Deleted: Mapped[bool] = columns.boolean()", "a column of the server"),
        ("id: Mapped[str] = columns.string()", "a column of the server"),
        ("metadata: Mapped[str] = columns.json()", "SQLAlchemy's own"),
        ('a: Mapped[str] = columns.string(name="id")', "named 'id'"),
        ('a: Mapped[str] = columns.string(name="_deleted")', "named '_deleted'"),
        ('a: Mapped[str] = columns.string(name="__proto__")', "named '__proto__'"),
        ("constructor: Mapped[str] = columns.string()", "named 'constructor'"),
        ('a: Mapped[str] = columns.string(name="ROWID")', "named 'ROWID'"),
        ('a: Mapped[str] = columns.string(name="sqlite_stat1")', "named 'sqlite_stat1'"),
        ('a: Mapped[str] = columns.string(name="a b")', "named 'a b'"),
        ("a: Mapped[str] = columns.string(); A: Mapped[str] = columns.string()", "a and A"),
        (
            'a: Mapped[str] = columns.string(name="x"); b: Mapped[str] = columns.string(name="x")',
            "x and x",
        ),
        (
            'a: Mapped[str] = columns.string(name="x"); A: Mapped[str] = columns.string(name="y")',
            "a and A",
        ),
        ("a: Mapped[str] = mapped_column(String(9))", "columns.string()"),
        ("a: Mapped[str]", "has a type and no column"),
        ('a: Mapped[str] = columns.relation("nowhere", "cascade")', "'nowhere', which is not"),
        ('a: Mapped[str] = columns.relation("tasks", "clear")', "must be optional"),
        ('a: Mapped[str] = columns.relation("tasks", "delete")', "'cascade', 'clear' or 'keep'"),
        ("a: Mapped[str] = columns.string(0)", "1 to 4000"),
        (f"{'a' * 65}: Mapped[str] = columns.string()", "64 characters"),
        (many(1001, "bool", "boolean()"), "1001 columns"),
        (many(1000, "float", "number()"), "Split the table"),
        (many(191, "str", "string()"), "Split the table"),
        (many(191, "str", "string(100)"), "Split the table"),
        (many(61, "str", "relation('tasks', 'cascade')"), "61 relations"),
        (many(5, "str", "string(4000)"), "lengths shorter"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(body: str, said: str) -> None:
    assert said in refusal(body)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ('class U(Synced, Base):\n    __tablename__ = "Users"', 'WIRE_NAME = "Users"'),
        ('class N(Synced, Base):\n    __tablename__ = "NOTES"', "already"),
        (
            'class N(Synced, Base):\n    __tablename__ = "n"\n    WIRE_NAME = "Notes"',
            "notes and Notes have one name",
        ),
        ("class N(Synced, Base):\n    a: Mapped[str] = columns.string()", "__tablename__"),
        ("class N(Note):\n    pass", "Derive it from Synced and Base"),
        (
            "class M:\n    a: Mapped[str] = columns.string()\n"
            'class N(M, Synced, Base):\n    __tablename__ = "n"',
            "N.a stands in M",
        ),
        ('class N(Synced, Base):\n    __tablename__ = "local_storage"', "local_storage"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(after: str, said: str) -> None:
    assert said in refusal("a: Mapped[str] = columns.string()", after)


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "a: Mapped['str | None'] = columns.string(); WIRE_NAME: ClassVar[str] = 'w' * 200",
        many(1000, "bool", "boolean()"),
        many(189, "str", "string()"),
        many(60, "str", "relation('tasks', 'cascade')"),
    ],
)
def test_what_every_engine_takes_is_taken(body: str) -> None:
    assert refusal(body) == ""


REFERENCE = """
from shared.models.reference import Reference
class Price(Reference, Base):
    __tablename__ = "prices"
    {body}
"""


@pytest.mark.parametrize(
    ("body", "note", "said"),
    [
        ("SHAREABLE = True", "", "Remove SHAREABLE"),
        ("changed_load: Mapped[int] = columns.integer()", "", "a column of the server"),
        (
            'note_id: Mapped[str | None] = columns.relation("notes", "clear")',
            "",
            "columns.relation('notes', 'keep')",
        ),
        (
            'note_id: Mapped[str | None] = columns.relation("notes", "keep")',
            "",
            "Let it name a reference table",
        ),
        (
            'other_id: Mapped[str | None] = columns.relation("nowhere", "keep")',
            "",
            "which is not declared",
        ),
        (
            "a: Mapped[str] = columns.string()",
            'price_id: Mapped[str | None] = columns.relation("prices", "cascade")',
            "columns.relation('prices', 'keep')",
        ),
        ('WIRE_NAME = "Notes"', "", "notes and Notes"),
        ('WIRE_NAME = "notes"', "", "notes and notes"),
        (
            'price_id: Mapped[str | None] = columns.relation("prices", "keep")',
            'price_id: Mapped[str | None] = columns.relation("prices", "keep")',
            "",
        ),
    ],
)
def test_a_reference_table_that_cannot_be_meant_is_refused(body: str, note: str, said: str) -> None:
    answer = refusal(note or "x: Mapped[str] = columns.string()", REFERENCE.format(body=body))
    assert said in answer
    assert bool(said) == bool(answer)
