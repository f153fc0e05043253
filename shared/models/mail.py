"""Mail that waits to be sent, and the codes that it carries (docs/accounts.md, "Mail")."""

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import DIGEST, ID, TABLE_OPTIONS


class Mail(Base):
    """One mail, from the transaction that causes it until a mail server has taken it.

    No foreign keys: whoever asks for a code waits for nobody who holds the account's row.
    """

    __tablename__ = "mail_outbox"
    __table_args__ = TABLE_OPTIONS

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    #: NULL, like `recipient`, for an address without an account: written all the same, and never sent.
    user_id: Mapped[str | None] = mapped_column(ID, index=True)
    recipient: Mapped[str | None] = mapped_column(String(255))
    #: The template's name, and what it is filled with, as JSON.
    template: Mapped[str] = mapped_column(String(32))
    content: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    #: When it is tried next; of one that is being sent, until when its sender holds it.
    next_at: Mapped[int] = mapped_column(BigInteger, index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    #: When it is of no use any more.
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class MailCode(Base):
    """The one code that is good for a purpose and an account."""

    __tablename__ = "mail_codes"
    __table_args__ = TABLE_OPTIONS

    #: SHA-256 of purpose and account; of purpose and address where there is no account.
    id: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    #: Whose it is; NULL for an address without an account.
    user_id: Mapped[str | None] = mapped_column(ID, index=True)
    #: SHA-256 of purpose, address and code; a code itself is never kept here.
    code_hash: Mapped[str] = mapped_column(String(64))
    failures: Mapped[int]
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class MailAddress(Base):
    """When the last three codes went to an address, or the last three notices of a kind."""

    __tablename__ = "mail_addresses"
    __table_args__ = TABLE_OPTIONS

    #: SHA-256 of it and what went there.
    address_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: Milliseconds; 0 for never.
    last_at: Mapped[int] = mapped_column(BigInteger, index=True)
    second_last_at: Mapped[int] = mapped_column(BigInteger)
    third_last_at: Mapped[int] = mapped_column(BigInteger)
