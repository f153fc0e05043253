"""Accounts, and one session per device login."""

from sqlalchemy import BigInteger, ForeignKey, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import ID, TABLE_OPTIONS


class User(Base):
    """An account. It owns the rows of every synced table that carry its id."""

    __tablename__ = "users"
    __table_args__ = TABLE_OPTIONS

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    #: In lower case: addresses are compared without case, on every engine alike.
    email: Mapped[str] = mapped_column(String(255), unique=True)
    #: Argon2id, in its own encoded form.
    password: Mapped[str] = mapped_column(String(255))
    name: Mapped[str | None] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16), index=True)
    is_active: Mapped[bool]
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    #: The user's sync clock (docs/api.md, "The sync clock"): moved only by services/sync/clock.py.
    last_modified_at: Mapped[int] = mapped_column(BigInteger)
    #: Up to which tick the purge has removed tombstones of this user; 0: none.
    purged_until: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))


class LoginFailures(Base):
    """Wrong passwords within a while: for an e-mail, for one from one network, in a session."""

    __tablename__ = "login_failures"
    __table_args__ = TABLE_OPTIONS

    #: SHA-256 of what is counted: what strangers type, and where they are, is nobody's to read.
    email_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    first_failed_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Session(Base):
    """One device login, and the one refresh token that may prolong it."""

    __tablename__ = "sessions"
    __table_args__ = TABLE_OPTIONS

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    device_name: Mapped[str | None] = mapped_column(String(255))
    #: SHA-256 of the current refresh token's `jti`; a token itself is never stored.
    refresh_hash: Mapped[str] = mapped_column(String(64))
    #: The same of the token replaced last, and when. NULL before the first refresh.
    previous_hash: Mapped[str | None] = mapped_column(String(64))
    replaced_at: Mapped[int | None] = mapped_column(BigInteger)
    #: Those replaced shortly before that one, as JSON: the same of each, when it was replaced, and when
    #: its successor expires. NULL for none.
    earlier: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    last_used_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    #: The user's sync clock when the session began: what is older, its device may know from a session
    #: before. NULL for a session of a release that did not ask.
    began_at_tick: Mapped[int | None] = mapped_column(BigInteger)
    #: When the last of its access tokens expires: what a revocation must outlive. NULL for a session of
    #: a release that did not note it.
    access_until: Mapped[int | None] = mapped_column(BigInteger)
    #: NULL while the session lives.
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
