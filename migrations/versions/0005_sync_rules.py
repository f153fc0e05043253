"""what sync decides by: where sessions began, what was purged, repeats of creations"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
release = "0.1.0"

TABLES = ("projects", "tasks")
DAY_MS = 24 * 60 * 60 * 1000


def upgrade() -> None:
    # What was purged before, nobody recorded: no account of today is believed to know every deletion
    # of before yesterday. As a default, so that no row is touched; new accounts are given a 0.
    yesterday = str(time.time_ns() // 1_000_000 - DAY_MS)
    op.add_column(
        "users",
        sa.Column("purged_until", sa.BigInteger(), nullable=False, server_default=yesterday),
    )
    op.add_column("sessions", sa.Column("began_at_tick", sa.BigInteger(), nullable=True))
    for table in TABLES:
        op.add_column(table, sa.Column("repeated_at_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "repeated_at_ms")
    op.drop_column("sessions", "began_at_tick")
    op.drop_column("users", "purged_until")
