"""Changes that wait to be told to receivers (docs/webhooks.md)."""

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import ID, LONG_TEXT, RECORD_ID, TABLE_OPTIONS


class WebhookChange(Base):
    """One change for one receiver, from the transaction that makes it until it is put into a batch.

    In the order in which they are told: the oldest are read by the key alone. `""` where there is no
    space, table or id, since a key takes no NULL.
    """

    __tablename__ = "webhook_outbox"
    __table_args__ = TABLE_OPTIONS

    receiver: Mapped[str] = mapped_column(ID, primary_key=True)
    tick: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    space_id: Mapped[str] = mapped_column(ID, primary_key=True)
    #: The table's name in SQL.
    table_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    row_id: Mapped[str] = mapped_column(RECORD_ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    #: When, by the clock of whoever wrote it.
    written_at: Mapped[int] = mapped_column(BigInteger)


class WebhookBatch(Base):
    """Changes that are told together, from their choice until the receiver has taken them."""

    __tablename__ = "webhook_batches"
    __table_args__ = (
        Index("ix_webhook_batches_receiver_made_at", "receiver", "made_at"),
        TABLE_OPTIONS,
    )

    #: The `webhook-id`.
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    receiver: Mapped[str] = mapped_column(ID)
    #: The same at every attempt.
    body: Mapped[str] = mapped_column(LONG_TEXT)
    #: How many.
    changes: Mapped[int] = mapped_column(Integer)
    #: When the oldest of them was written.
    oldest_at: Mapped[int] = mapped_column(BigInteger)
    #: In the order of which they are told: later than that of any other of the receiver.
    made_at: Mapped[int] = mapped_column(BigInteger, index=True)
    attempts: Mapped[int] = mapped_column(Integer)
    #: When it was given up. NULL: it is to be told.
    failed_at: Mapped[int | None] = mapped_column(BigInteger)


class WebhookReceiver(Base):
    """How it goes with a receiver, and which process tells it."""

    __tablename__ = "webhook_receivers"
    __table_args__ = TABLE_OPTIONS

    name: Mapped[str] = mapped_column(ID, primary_key=True)
    #: The process that may tell it something, and until when. NULL: none did yet.
    holder: Mapped[str | None] = mapped_column(ID)
    held_until: Mapped[int] = mapped_column(BigInteger)
    #: Attempts that failed since one succeeded, and when the first of them did. NULL: none.
    failures: Mapped[int] = mapped_column(Integer)
    failing_since: Mapped[int | None] = mapped_column(BigInteger)
    #: When it is tried next.
    next_at: Mapped[int] = mapped_column(BigInteger)


#: What only those who change rows and who tells of it use.
WEBHOOK_TABLES = {model.__tablename__ for model in (WebhookChange, WebhookBatch, WebhookReceiver)}
