"""revoked sessions in a table of their own, and until when a session's access tokens live"""

import sqlalchemy as sa
from alembic import op

from migrations.types import ID, TABLE_OPTIONS

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
release = "0.1.0"


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_revocations"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_revocations_revoked_at", "revocations", ["revoked_at"])
    op.create_index("ix_revocations_until", "revocations", ["until"])
    op.add_column("sessions", sa.Column("access_until", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "access_until")
    op.drop_table("revocations")
