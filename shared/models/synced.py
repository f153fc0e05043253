"""The columns that every synced table has, and the processing of its declaration.

A declaration is a class in a module of this folder: its columns are what travels, in this order, and
pull, push, repair and cascade follow from them. Add a class, then a migration (`make migration`).
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Index
from sqlalchemy.orm import Mapped, MappedColumn, declared_attr, mapped_column

from shared.models.columns import DECLARED, ID, RECORD_ID, TABLE_OPTIONS, Column, index_name
from shared.models.declared import Declared


class Synced(Declared):
    """The columns that a row needs to be synced, besides its own.

    Keyed by space first: no statement can reach another space's row, two spaces may hold the same
    id, and one space's rows lie together on disk.
    """

    #: The space's id. The name is from before there were shared ones: a personal space has its user's id.
    user_id: Mapped[str] = mapped_column(ID, primary_key=True, sort_order=-20)
    id: Mapped[str] = mapped_column(RECORD_ID, primary_key=True, sort_order=-19)
    #: Tick of the sync clock at which the row came into being: inserted, or brought back to life.
    created_at_ms: Mapped[int] = mapped_column(BigInteger, sort_order=90)
    #: Tick at which the row last changed.
    updated_at_ms: Mapped[int] = mapped_column(BigInteger, sort_order=91)
    #: True for a tombstone, kept so that other devices learn of the deletion.
    is_deleted: Mapped[bool] = mapped_column(Boolean, sort_order=92)
    #: Session that pushed the row into being. No foreign key: the row outlives the session.
    created_by: Mapped[str] = mapped_column(ID, sort_order=93)
    #: Tick at which a repeat of the push that made the row last wrote edits. NULL: never.
    repeated_at_ms: Mapped[int | None] = mapped_column(BigInteger, sort_order=94)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        """Declare the indexes of the pull, the purge and each parent."""
        name = cls.__tablename__
        own: list[Column] = [
            value.column.info[DECLARED]
            for value in vars(cls).values()
            if isinstance(value, MappedColumn) and DECLARED in value.column.info
        ]
        return (
            Index(index_name(name, "pull"), "user_id", "updated_at_ms"),
            Index(index_name(name, "tombstones"), "is_deleted", "updated_at_ms"),
            *(
                Index(index_name(name, column.attribute), "user_id", column.attribute)
                for column in own
                if column.is_enforced
            ),
            TABLE_OPTIONS,
        )


SERVER_COLUMNS = frozenset(Synced.__annotations__)
