"""Accounts, and one session per device login."""

from sqlalchemy import BigInteger, ForeignKey, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import ID, TABLE_OPTIONS


class User(Base):
    """An account. Its personal space, which has its id, goes with it."""

    __tablename__ = "users"
    __table_args__ = TABLE_OPTIONS

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    #: In lower case: addresses are compared without case, on every engine alike.
    email: Mapped[str] = mapped_column(String(255), unique=True)
    #: Whether somebody has shown to read its mail.
    email_verified: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: The e-mail that takes its place when it is verified. NULL for none.
    pending_email: Mapped[str | None] = mapped_column(String(255), index=True)
    #: Argon2id, in its own encoded form. NULL for an account that is opened by a provider's ID token alone.
    password: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str | None] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16), index=True)
    is_active: Mapped[bool]
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    #: The user's sync clock (docs/api.md, "The sync clock"): moved only by services/sync/clock.py.
    last_modified_at: Mapped[int] = mapped_column(BigInteger)
    #: The session that took every tick after `pushed_since` up to `pushed_at`. Of use only while the clock
    #: stands at `pushed_at`: whoever else moves it need not know of these three.
    pushed_by: Mapped[str | None] = mapped_column(ID)
    pushed_since: Mapped[int | None] = mapped_column(BigInteger)
    pushed_at: Mapped[int | None] = mapped_column(BigInteger)
    #: Up to which tick the purge has removed tombstones of this user; 0: none.
    purged_until: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    #: Whether `members` or `resends` may have rows of this user: nobody else pays for spaces.
    has_spaces: Mapped[bool] = mapped_column(default=False, server_default=false())


class LoginFailures(Base):
    """Wrong passwords within a while: for an e-mail, for one from one network, in a session."""

    __tablename__ = "login_failures"
    __table_args__ = TABLE_OPTIONS

    #: SHA-256 of what is counted: what strangers type, and where they are, is nobody's to read.
    email_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: The same of the e-mail alone, so that all its counts can be lifted. NULL for a session's.
    account_hash: Mapped[str | None] = mapped_column(String(64), index=True)
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
