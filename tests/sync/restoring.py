"""A restore of one user's rows: what `make restore` does to all of them, without stopping anything.

Everything here wants an application context of a service.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update

from shared.database.base import db
from shared.models import Restore, User
from shared.models.tables import synced_tables
from shared.now import now_ms


@dataclass(frozen=True)
class Backup:
    """The rows of a user, and the user's clock, as they were."""

    user_id: str
    clock: int
    purged_until: int
    rows: dict[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, user_id: str) -> "Backup":
        with db.session.begin():
            user = db.session.get_one(User, user_id)
            rows = {
                table.name: [
                    dict(row)
                    for row in db.session.execute(
                        select(table.sql).where(table.of(user_id))
                    ).mappings()
                ]
                for table in synced_tables()
            }
            return cls(user_id, user.last_modified_at, user.purged_until, rows)

    def restore(self) -> int:
        """Put it in the place of what is there; return after which tick everything was lost."""
        with db.session.begin():
            present = db.session.scalar(
                select(User.last_modified_at).where(User.id == self.user_id)
            )
            lost_until = max(now_ms(), present or 0)
            for table in reversed(synced_tables()):
                db.session.execute(delete(table.sql).where(table.of(self.user_id)))
            for table in synced_tables():
                if self.rows[table.name]:
                    db.session.execute(insert(table.sql), self.rows[table.name])
            # What a restore knows of those before it stands in the backup, and so is lost too.
            db.session.execute(
                delete(Restore).where(
                    Restore.lost_after >= self.clock, Restore.lost_until <= lost_until
                )
            )
            restore = {"lost_after": self.clock, "lost_until": lost_until}
            db.session.execute(insert(Restore), restore)
            db.session.execute(
                update(User)
                .where(User.id == self.user_id)
                .values(last_modified_at=lost_until + 1, purged_until=self.purged_until)
            )
        return self.clock


def forget_restores(lost_after: list[int]) -> None:
    """Other tests' users have nothing to do with these."""
    with db.session.begin():
        db.session.execute(delete(Restore).where(Restore.lost_after.in_(lost_after)))


def deleted_after(user_id: str, tick: int) -> dict[str, set[str]]:
    """By table, the ids of tombstones with a tick after `tick`."""
    with db.session.begin():
        return {
            table.name: set(
                db.session.scalars(
                    select(table.sql.c.id).where(
                        table.of(user_id), table.sql.c.is_deleted, table.sql.c.updated_at_ms > tick
                    )
                )
            )
            for table in synced_tables()
        }
