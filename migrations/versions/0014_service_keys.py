"""keys by which an app's own servers call"""

import sqlalchemy as sa
from alembic import op

from migrations.types import DIGEST, ID, TABLE_OPTIONS

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
release = "0.2.0"


def upgrade() -> None:
    op.create_table(
        "service_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("living_name", ID, nullable=True),
        sa.Column("key_hash", DIGEST, nullable=False),
        sa.Column("scopes", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_service_keys"),
        sa.UniqueConstraint("key_hash", name="uq_service_keys_key_hash"),
        sa.UniqueConstraint("living_name", name="uq_service_keys_living_name"),
        **TABLE_OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("service_keys")
