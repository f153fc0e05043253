"""Adopting apps' schemas: those of `corpus/`, and some made here."""

import keyword
import shutil
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.dialects.mysql.reserved_words import RESERVED_WORDS_MARIADB, RESERVED_WORDS_MYSQL
from sqlalchemy.dialects.sqlite.base import SQLiteIdentifierPreparer

from schema.adopt.reader import read_schema
from shared.models.declaration import UNQUOTED
from tests.conftest import lacking

CORPUS = Path(__file__).parent / "corpus"
#: Every schema of the corpus that can be adopted.
ADOPTABLE = (
    "aliased/app/schema.js",
    "as_list.json",
    "as_returned.json",
    "commonjs/schema.js",
    "cycles.ts",
    "enums/src/db/schema.ts",
    "extremes.cjs",
    "half_the_app/schema.ts",
    "join.ts",
    "migrated/schema.ts",
    "prints.js",
    "sixty.ts",
    "tree.ts",
    "two_parents.ts",
    "with_models/schema.js",
)


def read(path: str | Path, **options: Any) -> Any:
    """Read a schema of the corpus, or one that a test wrote."""
    if not shutil.which("node") or not shutil.which("npm"):
        lacking("Node.js with npm")
    # A process of Node's each time would be most of the time that these tests take.
    return deepcopy(_read(CORPUS / path)) if not options else read_schema(CORPUS / path, **options)


@cache
def _read(path: Path) -> Any:
    return read_schema(path)


def column(name: Any, kind: Any = "string", **flags: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "isOptional": False, "isIndexed": False} | flags


def schema(tables: dict[str, list[dict[str, Any]]], **members: Any) -> Any:
    """What the reader gives for such tables."""
    listed = [{"name": name, "columns": columns} for name, columns in tables.items()]
    return {
        "version": 1,
        "tables": listed,
        "migrations": [],
        "relations": [],
        "models": {},
    } | members


def reserved() -> Any:
    """A table for every reserved word of SQL and Python, and one with all of them as columns."""
    words = RESERVED_WORDS_MYSQL | RESERVED_WORDS_MARIADB | SQLiteIdentifierPreparer.reserved_words
    words |= {word.lower() for word in (*keyword.kwlist, *keyword.softkwlist) if word != "_"}
    words |= UNQUOTED
    # WatermelonDB's own, which it refuses.
    words -= {"rowid", "oid"}
    listed = sorted(words)
    kinds = ("string", "number", "boolean")
    tables = {
        word: [column(word), column("None", isOptional=True)] for word in listed if word != "none"
    }
    half = len(listed) // 2
    for name, part in (("words", listed[:half]), ("more_words", listed[half:])):
        tables[name] = [
            column(word, kinds[n % 3], isOptional=n % 2 == 0) for n, word in enumerate(part)
        ]
    return schema(tables)


def whole_corpus() -> Any:
    """Every table of the corpus in one schema; of tables of one name the first."""
    tables: dict[str, Any] = {}
    for path in ADOPTABLE:
        for table in read(path)["tables"]:
            tables.setdefault(table["name"].lower(), table)
    return schema({table["name"]: table["columns"] for table in tables.values()})
