"""ids of up to 128 characters, and relations that the server keeps instead of the database"""

from alembic import op

from migrations.types import ID, RECORD_ID

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
release = "0.2.0"
# Both releases delete and insert parents and children by themselves; neither needs the foreign key, and
# what the older one writes fits the wider columns.
unused_since = "0.1.0"

FOREIGN_KEY = "fk_tasks_user_id_project_id"
COLUMNS = (("tasks", "id", False), ("tasks", "project_id", True), ("projects", "id", False))


def upgrade() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_constraint(FOREIGN_KEY, type_="foreignkey")
    for table, column, nullable in COLUMNS:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(
                column, type_=RECORD_ID, existing_type=ID, existing_nullable=nullable
            )


def downgrade() -> None:
    dialect = op.get_bind().dialect
    if dialect.name == "sqlite":
        for table, column, nullable in COLUMNS:
            with op.batch_alter_table(table) as batch:
                batch.alter_column(
                    column, type_=ID, existing_type=RECORD_ID, existing_nullable=nullable
                )
        with op.batch_alter_table("tasks") as tasks:
            key = ["user_id", "project_id"]
            tasks.create_foreign_key(
                FOREIGN_KEY, "projects", key, ["user_id", "id"], ondelete="CASCADE"
            )
        return
    # What is narrowed is copied: a downgrade is not for tables in use.
    for table, column, nullable in COLUMNS:
        null = "NULL" if nullable else "NOT NULL"
        type_ = ID.compile(dialect)
        op.execute(f"ALTER TABLE {table} MODIFY {column} {type_} {null}, ALGORITHM=COPY")
    op.execute(
        f"ALTER TABLE tasks ADD CONSTRAINT {FOREIGN_KEY} FOREIGN KEY (user_id, project_id)"
        " REFERENCES projects (user_id, id) ON DELETE CASCADE, ALGORITHM=COPY"
    )
