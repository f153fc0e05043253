"""ways to sign in besides a password, and accounts without one"""

import sqlalchemy as sa
from alembic import op

from migrations.types import DIGEST, ID, TABLE_OPTIONS

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
release = "0.2.0"


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("id", DIGEST, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("email", sa.String(255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_identities_user_id_users", ondelete="CASCADE"
        ),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"])
    if op.get_bind().dialect.name == "sqlite":
        replace_password("VARCHAR(255)")
    else:
        op.alter_column("users", "password", existing_type=sa.String(255), nullable=True)


def downgrade() -> None:
    # Nobody knows a password with this hash.
    op.execute("UPDATE users SET password = '' WHERE password IS NULL")
    if op.get_bind().dialect.name == "sqlite":
        replace_password("VARCHAR(255) NOT NULL DEFAULT ''")
    else:
        op.alter_column("users", "password", existing_type=sa.String(255), nullable=False)
    op.drop_table("identities")


def replace_password(type_: str) -> None:
    """Give SQLite's column another type in place: replacing the table would delete all users' rows."""
    op.execute(f"ALTER TABLE users ADD COLUMN new_password {type_}")
    op.execute("UPDATE users SET new_password = password")
    op.execute("ALTER TABLE users DROP COLUMN password")
    op.execute("ALTER TABLE users RENAME COLUMN new_password TO password")
