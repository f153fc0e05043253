"""Declarations executed against SQLAlchemy, without the rest of the server."""

import ast
from typing import Any

from sqlalchemy import Boolean, Double, MetaData, String, Text, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.models.columns import TABLE_OPTIONS


class _Columns:
    """The kinds of `shared.models.columns`, as far as SQLAlchemy has to do with them."""

    @staticmethod
    def _column(kind: Any, name: str | None, indexed: bool) -> Any:
        return mapped_column(kind, info={"name": name, "indexed": indexed})

    def string(self, length: int | None = None, *, name: Any = None, indexed: bool = False) -> Any:
        return self._column(String(length) if length else Text(), name, indexed)

    def json(self, *, name: Any = None, indexed: bool = False) -> Any:
        return self._column(Text(), name, indexed)

    def relation(
        self, parent: str, on_delete: str, *, name: Any = None, indexed: bool = True
    ) -> Any:
        assert on_delete in ("cascade", "clear", "keep")
        return self._column(Text(), name, indexed)

    def number(self, *, name: Any = None, indexed: bool = False) -> Any:
        return self._column(Double(), name, indexed)

    integer = number

    def boolean(self, *, name: Any = None, indexed: bool = False) -> Any:
        return self._column(Boolean(), name, indexed)


def wire_schema(text: str, url: str = "sqlite://") -> list[dict[str, Any]]:
    """Return the tables that a module of declarations declares, once a database has taken them."""

    class Base(DeclarativeBase):
        metadata = MetaData()

    class Synced:
        __table_args__ = TABLE_OPTIONS

        user_id: Mapped[str] = mapped_column(String(36), primary_key=True)
        id: Mapped[str] = mapped_column(String(128), primary_key=True)
        created_at_ms: Mapped[int]
        updated_at_ms: Mapped[int]
        is_deleted: Mapped[bool]
        created_by: Mapped[str] = mapped_column(String(36))

    tree = ast.parse(text)
    tree.body = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
    names = {"Base": Base, "Synced": Synced, "Mapped": Mapped, "columns": _Columns()}
    exec(compile(tree, "app.py", "exec"), names)
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    engine.dispose()
    server = set(Synced.__annotations__)
    kinds = {Text: "string", String: "string", Double: "number", Boolean: "boolean"}
    return [
        {
            "name": getattr(model, "WIRE_NAME", model.__tablename__),
            "columns": [
                {
                    "name": column.info["name"] or column.name,
                    "type": kinds[type(column.type)],
                    "isOptional": column.nullable,
                    "isIndexed": column.info["indexed"],
                }
                for column in model.__table__.c
                if column.name not in server
            ],
        }
        for model in Synced.__subclasses__()
    ]
