"""the refresh tokens replaced shortly before the previous one"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
release = "0.1.0"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("earlier", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "earlier")
