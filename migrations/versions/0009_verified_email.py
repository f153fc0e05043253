"""whether an e-mail is verified, the one that waits to take its place, and all failures of an e-mail"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
release = "0.2.0"


def upgrade() -> None:
    verified = sa.Column("email_verified", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("users", verified)
    op.add_column("users", sa.Column("pending_email", sa.String(255), nullable=True))
    op.create_index("ix_users_pending_email", "users", ["pending_email"])
    op.add_column("login_failures", sa.Column("account_hash", sa.String(64), nullable=True))
    op.create_index("ix_login_failures_account_hash", "login_failures", ["account_hash"])


def downgrade() -> None:
    op.drop_index("ix_login_failures_account_hash", "login_failures")
    op.drop_column("login_failures", "account_hash")
    op.drop_index("ix_users_pending_email", "users")
    op.drop_column("users", "pending_email")
    op.drop_column("users", "email_verified")
