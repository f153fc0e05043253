"""Ways to sign in besides a password (docs/accounts.md, "Sign-in by provider")."""

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import DIGEST, TABLE_OPTIONS


class Identity(Base):
    """Somebody as an OpenID provider knows them, and the account that is theirs."""

    __tablename__ = "identities"
    __table_args__ = TABLE_OPTIONS

    #: SHA-256 of issuer and subject: no two accounts can have the same.
    id: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: The provider's name, as it was configured then.
    provider: Mapped[str] = mapped_column(String(32))
    #: As the provider had it then. NULL when it had none.
    email: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[int] = mapped_column(BigInteger)
