"""the clock and the loads of reference tables"""

import sqlalchemy as sa
from alembic import op

from migrations.types import TABLE_OPTIONS

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
release = "0.2.0"


def upgrade() -> None:
    op.create_table(
        "reference_loads",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("loaded_at", sa.BigInteger(), nullable=False),
        sa.Column("inserted", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_reference_loads"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_reference_loads_tick", "reference_loads", ["tick"])
    op.create_table(
        "reference_clock",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("purged_until", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="pk_reference_clock"),
        **TABLE_OPTIONS,
    )
    # What whoever loads holds, and the one row of the clock. REPLACE: also when this is run again.
    op.execute(
        "REPLACE INTO reference_loads (number, table_name, tick, loaded_at, inserted, updated, deleted)"
        " VALUES (0, '', 0, 0, 0, 0, 0)"
    )
    op.execute("REPLACE INTO reference_clock (id, mark, tick, purged_until) VALUES (1, 0, 0, 0)")


def downgrade() -> None:
    op.drop_table("reference_clock")
    op.drop_table("reference_loads")
