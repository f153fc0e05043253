"""Reference tables: rows of the server's own that every user pulls and nobody pushes.

A declaration is a class in a module of this folder, as for a synced table: `class Exercise(Reference, Base)`.
Rows carry the number of the load that wrote them, since a load knows its tick only at its end
(docs/design.md, "Reference tables").
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Index, SmallInteger, String, text
from sqlalchemy.orm import Mapped, MappedColumn, declared_attr, mapped_column

from shared.database.base import Base
from shared.models.columns import (
    DECLARED,
    RECORD_ID,
    TABLE_OPTIONS,
    DeclarationError,
    index_name,
)
from shared.models.declared import Declared


class Reference(Declared):
    """The columns that a row of a reference table needs, besides its own."""

    id: Mapped[str] = mapped_column(RECORD_ID, primary_key=True, sort_order=-19)
    #: Number of the load in which the row came into being: inserted, or brought back to life.
    created_load: Mapped[int] = mapped_column(BigInteger, sort_order=90)
    #: Number of the load in which it last changed.
    changed_load: Mapped[int] = mapped_column(BigInteger, sort_order=91)
    #: True for a tombstone, kept so that devices learn of the deletion.
    is_deleted: Mapped[bool] = mapped_column(Boolean, sort_order=92)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what cannot be meant; raise `DeclarationError`."""
        if cls.SHAREABLE:
            raise DeclarationError(
                f"{cls.__name__} is a reference table: everybody reads it, and its rows are in no space. "
                "Remove SHAREABLE."
            )
        for attribute, value in vars(cls).items():
            column = value.column.info.get(DECLARED) if isinstance(value, MappedColumn) else None
            if column and column.is_enforced:
                raise DeclarationError(
                    f"{cls.__name__}.{attribute} is in a reference table, whose rows are changed by loads "
                    f"alone. Write columns.relation({column.relation.parent!r}, 'keep')."
                )
        # Which maps the class: its columns are none any more.
        super().__init_subclass__(**kwargs)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        """Declare the indexes of the pull and of the purge."""
        name = cls.__tablename__
        return (
            Index(index_name(name, "pull"), "changed_load"),
            Index(index_name(name, "tombstones"), "is_deleted", "changed_load"),
            TABLE_OPTIONS,
        )


class ReferenceLoad(Base):
    """A load of a reference table that changed something. Number 0 is none: whoever loads holds its row."""

    __tablename__ = "reference_loads"
    __table_args__ = TABLE_OPTIONS

    #: Given at the beginning; those of later loads are higher, and so are their ticks.
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    #: The table's name in SQL.
    table_name: Mapped[str] = mapped_column(String(64))
    #: Above every clock that was ever given to anybody, when the load ended.
    tick: Mapped[int] = mapped_column(BigInteger, index=True)
    loaded_at: Mapped[int] = mapped_column(BigInteger)
    inserted: Mapped[int] = mapped_column(BigInteger)
    updated: Mapped[int] = mapped_column(BigInteger)
    deleted: Mapped[int] = mapped_column(BigInteger)


class ReferenceClock(Base):
    """The clock of all reference tables: one row, whose id is 1."""

    __tablename__ = "reference_clock"
    __table_args__ = TABLE_OPTIONS

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    #: No process gives a tick above this without having raised it first (shared/reference_clock.py).
    mark: Mapped[int] = mapped_column(BigInteger)
    #: The tick of the last load; 0: there was none.
    tick: Mapped[int] = mapped_column(BigInteger)
    #: Up to which tick the purge has removed tombstones of reference tables; 0: none.
    purged_until: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))


#: What only the service that loads and sends reference tables uses whole.
REFERENCE_TABLES = {model.__tablename__ for model in (ReferenceLoad, ReferenceClock)}
