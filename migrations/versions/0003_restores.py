"""restores, and indexes that find what can be purged without passing every old row"""

import sqlalchemy as sa
from alembic import op

from migrations.types import TABLE_OPTIONS

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
release = "0.1.0"


def upgrade() -> None:
    op.create_table(
        "restores",
        sa.Column("lost_after", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lost_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lost_after", name="pk_restores"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    for table in ("projects", "tasks"):
        op.create_index(f"ix_{table}_tombstones", table, ["is_deleted", "updated_at_ms"])
        op.drop_index(f"ix_{table}_updated_at_ms", table)


def downgrade() -> None:
    for table in ("projects", "tasks"):
        op.create_index(f"ix_{table}_updated_at_ms", table, ["updated_at_ms"])
        op.drop_index(f"ix_{table}_tombstones", table)
    op.drop_index("ix_sessions_expires_at", "sessions")
    op.drop_table("restores")
