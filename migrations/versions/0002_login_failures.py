"""login failures, and an index that finds the administrators"""

import sqlalchemy as sa
from alembic import op

from migrations.types import TABLE_OPTIONS

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
release = "0.1.0"


def upgrade() -> None:
    op.create_table(
        "login_failures",
        sa.Column("email_hash", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("first_failed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("email_hash", name="pk_login_failures"),
        sa.Index("ix_login_failures_first_failed_at", "first_failed_at"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_users_role", "users", ["role"])


def downgrade() -> None:
    op.drop_index("ix_users_role", "users")
    op.drop_table("login_failures")
