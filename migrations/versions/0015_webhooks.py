"""what is to be told to receivers of webhooks"""

import sqlalchemy as sa
from alembic import op

from migrations.types import ID, LONG_TEXT, RECORD_ID, TABLE_OPTIONS

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
release = "0.2.0"


def upgrade() -> None:
    op.create_table(
        "webhook_outbox",
        sa.Column("receiver", ID, nullable=False),
        sa.Column("tick", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", ID, nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("row_id", RECORD_ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("written_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            *("receiver", "tick", "space_id", "table_name", "row_id"), name="pk_webhook_outbox"
        ),
        **TABLE_OPTIONS,
    )
    op.create_table(
        "webhook_batches",
        sa.Column("id", ID, nullable=False),
        sa.Column("receiver", ID, nullable=False),
        sa.Column("body", LONG_TEXT, nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("oldest_at", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_batches"),
        sa.Index("ix_webhook_batches_receiver_made_at", "receiver", "made_at"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_webhook_batches_made_at", "webhook_batches", ["made_at"])
    op.create_table(
        "webhook_receivers",
        sa.Column("name", ID, nullable=False),
        sa.Column("holder", ID, nullable=True),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_webhook_receivers"),
        **TABLE_OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("webhook_receivers")
    op.drop_table("webhook_batches")
    op.drop_table("webhook_outbox")
