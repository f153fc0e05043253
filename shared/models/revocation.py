"""Revoked sessions, each kept as long as one of its access tokens could still be presented."""

from sqlalchemy import BigInteger, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import ID, TABLE_OPTIONS


class Revocation(Base):
    """One revoked session. No foreign keys: it outlives a session that is deleted with its account."""

    __tablename__ = "revocations"
    __table_args__ = TABLE_OPTIONS

    session_id: Mapped[str] = mapped_column(ID, primary_key=True)
    #: Which of the lists in Redis it belongs to: all that is kept of whose it was.
    shard: Mapped[int] = mapped_column(SmallInteger)
    #: By the database's own clock, some time before the transaction committed. Milliseconds.
    revoked_at: Mapped[int] = mapped_column(BigInteger, index=True)
    #: When the last access token of the session has expired everywhere. Milliseconds.
    until: Mapped[int] = mapped_column(BigInteger, index=True)
