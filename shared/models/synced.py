"""The columns that every synced table has, and the processing of its declaration.

A declaration is a class in a module of this folder: its columns are what travels, in this order, and
pull, push, repair and cascade follow from them. Add a class, then a migration (`make migration`).
"""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Boolean, Index
from sqlalchemy.orm import Mapped, MappedColumn, declared_attr, mapped_column

from shared.database.base import Base
from shared.models.columns import DECLARED, ID, RECORD_ID, TABLE_OPTIONS, Column, index_name
from shared.models.declaration import read_declaration


class Synced:
    """The columns that a row needs to be synced, besides its own.

    Keyed by space first: no statement can reach another space's row, two spaces may hold the same
    id, and one space's rows lie together on disk.
    """

    __tablename__: Any
    #: The table's name on the wire, where it is not its name in SQL.
    WIRE_NAME: ClassVar[str | None] = None
    #: Whether an app may put rows into a shared space: records then have the wire column `space_id`.
    SHAREABLE: ClassVar[bool] = False

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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what cannot be meant; raise `DeclarationError`."""
        taken = {name.lower() for name in Base.metadata.tables}
        read_declaration(cls, SERVER_COLUMNS, taken | server_tables())
        super().__init_subclass__(**kwargs)

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


SERVER_COLUMNS = frozenset(Synced.__annotations__) - {"__tablename__", "WIRE_NAME", "SHAREABLE"}


def server_tables() -> set[str]:
    """Return the names of the tables that are not declared: the server's own."""
    # One without a name is refused when its declaration is read.
    declared = {str(vars(model).get("__tablename__")) for model in Synced.__subclasses__()}
    return {"alembic_version", *Base.metadata.tables} - declared
