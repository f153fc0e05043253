"""mail that waits to be sent, and the codes that it carries"""

import sqlalchemy as sa
from alembic import op

from migrations.types import DIGEST, ID, TABLE_OPTIONS

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
release = "0.2.0"


def upgrade() -> None:
    op.create_table(
        "mail_outbox",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("recipient", sa.String(255), nullable=True),
        sa.Column("template", sa.String(32), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mail_outbox"),
        **TABLE_OPTIONS,
    )
    for column in ("user_id", "next_at", "expires_at"):
        op.create_index(f"ix_mail_outbox_{column}", "mail_outbox", [column])
    op.create_table(
        "mail_codes",
        sa.Column("id", DIGEST, nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mail_codes"),
        **TABLE_OPTIONS,
    )
    for column in ("user_id", "expires_at"):
        op.create_index(f"ix_mail_codes_{column}", "mail_codes", [column])
    op.create_table(
        "mail_addresses",
        sa.Column("address_hash", sa.String(64), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("second_last_at", sa.BigInteger(), nullable=False),
        sa.Column("third_last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address_hash", name="pk_mail_addresses"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_mail_addresses_last_at", "mail_addresses", ["last_at"])


def downgrade() -> None:
    op.drop_table("mail_addresses")
    op.drop_table("mail_codes")
    op.drop_table("mail_outbox")
