"""Keys by which an app's own servers call (docs/api.md, "The server's own hand")."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import DIGEST, ID, TABLE_OPTIONS


class ServiceKey(Base):
    """A service key, living or revoked. The key itself is nowhere."""

    __tablename__ = "service_keys"
    __table_args__ = TABLE_OPTIONS

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(ID)
    #: The name while the key lives, and then NULL: so no two living keys have one name.
    living_name: Mapped[str | None] = mapped_column(ID, unique=True)
    #: SHA-256 of the key.
    key_hash: Mapped[str] = mapped_column(DIGEST, unique=True)
    #: Separated by blanks.
    scopes: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[int] = mapped_column(BigInteger)
    #: To the minute. NULL: never.
    last_used_at: Mapped[int | None] = mapped_column(BigInteger)
    #: NULL while the key lives.
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
