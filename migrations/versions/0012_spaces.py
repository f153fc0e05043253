"""spaces, their members and invitations; rows that belong to a space instead of a user"""

import sqlalchemy as sa
from alembic import op

from migrations.types import ID, RECORD_ID, TABLE_OPTIONS

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
release = "0.2.0"
# The release before needs the foreign keys only to delete an account's rows with it. What it leaves
# behind while both run is removed by the next purge, like the rows of every space that is no more.
unused_since = "0.1.0"


def owned_tables() -> list[tuple[str, str]]:
    """Return each synced table, an app's own included, with the name of its foreign key to users."""
    found = sa.inspect(op.get_bind())
    return [
        (table, str(key["name"]))
        for table in sorted(found.get_table_names())
        if found.get_pk_constraint(table)["constrained_columns"] == ["user_id", "id"]
        for key in found.get_foreign_keys(table)
        if key["constrained_columns"] == ["user_id"] and key["referred_table"] == "users"
    ]


def reference(table: str, column: str) -> sa.ForeignKeyConstraint:
    """Return a foreign key of `table` whose rows go with what they name."""
    parent = {"user_id": "users", "space_id": "spaces"}[column]
    name = f"fk_{table}_{column}_{parent}"
    return sa.ForeignKeyConstraint([column], [f"{parent}.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("has_spaces", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "spaces",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_tick", sa.BigInteger(), nullable=False),
        sa.Column("purged_until", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_spaces"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_spaces_deleted_at", "spaces", ["deleted_at"])
    op.create_table(
        "members",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("space_id", ID, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("joined_tick", sa.BigInteger(), nullable=False),
        sa.Column("left_tick", sa.BigInteger(), nullable=True),
        sa.Column("has_left", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("user_id", "space_id", name="pk_members"),
        reference("members", "user_id"),
        reference("members", "space_id"),
        sa.Index("ix_members_space_id", "space_id"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_members_left_tick", "members", ["left_tick"])
    op.create_table(
        "invitations",
        sa.Column("id", ID, nullable=False),
        sa.Column("space_id", ID, nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        reference("invitations", "space_id"),
        sa.Index("ix_invitations_space_id_email", "space_id", "email", unique=True),
        **TABLE_OPTIONS,
    )
    for column in ("email", "expires_at"):
        op.create_index(f"ix_invitations_{column}", "invitations", [column])
    op.create_table(
        "resends",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("table_name", sa.String(64), nullable=False),
        sa.Column("row_id", RECORD_ID, nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "table_name", "row_id", name="pk_resends"),
        reference("resends", "user_id"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_resends_tick", "resends", ["tick"])
    for table, key in owned_tables():
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(key, type_="foreignkey")


def downgrade() -> None:
    found = sa.inspect(op.get_bind())
    for table in sorted(found.get_table_names()):
        if found.get_pk_constraint(table)["constrained_columns"] != ["user_id", "id"]:
            continue
        # What belongs to a space has nobody to go back to.
        op.execute(f"DELETE FROM {table} WHERE user_id NOT IN (SELECT id FROM users)")  # noqa: S608
        key = f"fk_{table}_user_id"
        if op.get_bind().dialect.name == "sqlite":
            with op.batch_alter_table(table) as batch:
                batch.create_foreign_key(key, "users", ["user_id"], ["id"], ondelete="CASCADE")
        else:
            # MySQL adds no checked foreign key in place: a downgrade is not for tables in use.
            op.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {key} FOREIGN KEY (user_id)"
                " REFERENCES users (id) ON DELETE CASCADE, ALGORITHM=COPY"
            )
    for table in ("resends", "invitations", "members", "spaces"):
        op.drop_table(table)
    op.drop_column("users", "has_spaces")
