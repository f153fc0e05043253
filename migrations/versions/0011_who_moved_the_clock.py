"""which session moved a user's sync clock last: it is not to be nudged for that"""

import sqlalchemy as sa
from alembic import op

from migrations.types import ID

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
release = "0.2.0"


def upgrade() -> None:
    op.add_column("users", sa.Column("pushed_by", ID, nullable=True))
    op.add_column("users", sa.Column("pushed_since", sa.BigInteger(), nullable=True))
    op.add_column("users", sa.Column("pushed_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "pushed_at")
    op.drop_column("users", "pushed_since")
    op.drop_column("users", "pushed_by")
