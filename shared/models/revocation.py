"""Sessions that were revoked, kept as long as one of their access tokens could still be presented."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.columns import ID, TABLE_OPTIONS


class Revocation(Base):
    """One revoked session. No foreign keys: it outlives a session that is deleted with its account."""

    __tablename__ = "revocations"
    __table_args__ = TABLE_OPTIONS

    session_id: Mapped[str] = mapped_column(ID, primary_key=True)
    user_id: Mapped[str] = mapped_column(ID)
    #: By the database's own clock, which all instances share. Milliseconds.
    revoked_at: Mapped[int] = mapped_column(BigInteger, index=True)
    #: When the last access token of the session will have expired. Milliseconds.
    until: Mapped[int] = mapped_column(BigInteger, index=True)
