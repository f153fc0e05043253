"""Spaces: rows shared between users (docs/design.md, "Spaces").

A personal space has no row here: its id is its user's, and nobody else is ever in it.
"""

from sqlalchemy import BigInteger, ForeignKey, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import ID, RECORD_ID, TABLE_OPTIONS

#: What a member may be: everything is the first one's, rows are written by the first two.
MEMBER_ROLES = ("owner", "writer", "reader")


class Space(Base):
    """A shared space. Whoever changes its rows or its members holds its row first, then the users'."""

    __tablename__ = "spaces"
    __table_args__ = TABLE_OPTIONS

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[int] = mapped_column(BigInteger)
    #: The tick of the last change of its rows and members.
    last_tick: Mapped[int] = mapped_column(BigInteger)
    #: Up to which tick the purge has removed tombstones of it; 0: none.
    purged_until: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    #: When it was deleted. Its rows stay until no device needs their ids. NULL while it is there.
    deleted_at: Mapped[int | None] = mapped_column(BigInteger, index=True)


class Member(Base):
    """Somebody who is in a space, or was. The ticks are above all clocks of the space's members."""

    __tablename__ = "members"
    __table_args__ = (Index("ix_members_space_id", "space_id"), TABLE_OPTIONS)

    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    space_id: Mapped[str] = mapped_column(
        ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True
    )
    #: One of `MEMBER_ROLES`.
    role: Mapped[str] = mapped_column(String(16))
    joined_at: Mapped[int] = mapped_column(BigInteger)
    joined_tick: Mapped[int] = mapped_column(BigInteger)
    #: The tick of leaving, the last time. NULL: never. Whoever comes back keeps it.
    left_tick: Mapped[int | None] = mapped_column(BigInteger, index=True)
    has_left: Mapped[bool] = mapped_column(default=False, server_default=false())


class Invitation(Base):
    """An offer to the holder of an address to join a space. One that is used or declined is deleted."""

    __tablename__ = "invitations"
    __table_args__ = (
        Index("ix_invitations_space_id_email", "space_id", "email", unique=True),
        TABLE_OPTIONS,
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    space_id: Mapped[str] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"))
    #: In lower case, like `User.email`.
    email: Mapped[str] = mapped_column(String(255), index=True)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Resend(Base):
    """An id that counts as changed for one user at a tick, whatever the row's: a push of it was refused."""

    __tablename__ = "resends"
    __table_args__ = (Index("ix_resends_tick", "tick"), TABLE_OPTIONS)

    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    #: The table's name in SQL.
    table_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    row_id: Mapped[str] = mapped_column(RECORD_ID, primary_key=True)
    tick: Mapped[int] = mapped_column(BigInteger)


#: What only the calls that share rows use; the other services may have no right to see it.
SPACE_TABLES = {model.__tablename__ for model in (Space, Member, Invitation, Resend)}
