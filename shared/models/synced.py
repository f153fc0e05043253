"""The tables that devices sync.

A table is declared here and nowhere else: its columns are what travels, in this order, and pull,
push, repair and cascade follow from them. Add a class, then a migration (`make migration`).
"""

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Boolean, ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from shared.database.base import Base
from shared.models import columns
from shared.models.columns import ID, TABLE_OPTIONS


class Synced:
    """What a row needs to be synced, besides its own columns.

    Keyed by user first: no statement can reach another user's row, two users may hold the same
    id, and one user's rows lie together on disk.
    """

    __tablename__: Any
    #: The table whose rows own these, and the column that names the owner.
    PARENT: ClassVar[tuple[str, str] | None] = None

    user_id: Mapped[str] = mapped_column(ID, primary_key=True, sort_order=-20)
    id: Mapped[str] = mapped_column(ID, primary_key=True, sort_order=-19)
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
        """Ownership, the pull's own index, and the one that finds old tombstones."""
        name = cls.__tablename__
        arguments: list[Any] = [
            ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
            Index(f"ix_{name}_pull", "user_id", "updated_at_ms"),
            Index(f"ix_{name}_tombstones", "is_deleted", "updated_at_ms"),
        ]
        if cls.PARENT:
            parent, column = cls.PARENT
            owner = [f"{parent}.user_id", f"{parent}.id"]
            arguments += [
                ForeignKeyConstraint(["user_id", column], owner, ondelete="CASCADE"),
                Index(f"ix_{name}_{column}", "user_id", column),
            ]
        return (*arguments, TABLE_OPTIONS)


class Project(Synced, Base):
    """A list of tasks."""

    __tablename__ = "projects"

    name: Mapped[str] = columns.string()
    description: Mapped[str | None] = columns.text()
    created_at: Mapped[int] = columns.integer()
    updated_at: Mapped[int] = columns.integer()


class Task(Synced, Base):
    """Something to do, in a project."""

    __tablename__ = "tasks"
    PARENT = ("projects", "project_id")

    title: Mapped[str] = columns.string()
    description: Mapped[str | None] = columns.text()
    is_completed: Mapped[bool] = columns.boolean()
    project_id: Mapped[str] = columns.parent_id()
    created_at: Mapped[int] = columns.integer()
    updated_at: Mapped[int] = columns.integer()
