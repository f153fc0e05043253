"""Making data old: the ticks of a user, moved into the past."""

from sqlalchemy import update

import services.sync
from shared.database.base import db
from shared.models import User
from shared.models.tables import synced_tables
from shared.now import DAY_MS
from tests.api import Device


def age(device: Device, days: int) -> None:
    """Let all that the device's user has done so far have happened `days` earlier."""
    by = days * DAY_MS
    with services.sync.create_app().app_context(), db.session.begin():
        for table in synced_tables():
            c = table.sql.c
            values = {"created_at_ms": c.created_at_ms - by, "updated_at_ms": c.updated_at_ms - by}
            db.session.execute(update(table.sql).where(table.of(device.user_id)).values(values))
        clock = {
            "last_modified_at": User.last_modified_at - by,
            "purged_until": User.purged_until - by,
        }
        db.session.execute(update(User).where(User.id == device.user_id).values(clock))
    device.last_pulled_at -= by
