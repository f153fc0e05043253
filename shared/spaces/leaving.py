"""Leaving a space, alone or all together (docs/design.md, "Spaces")."""

from collections.abc import Collection

from sqlalchemy import delete, update

from shared import outbox
from shared.database.base import db
from shared.models import Invitation, Member, Space
from shared.now import now_ms
from shared.spaces.holding import Held


def leave(held: Held, user_ids: Collection[str], space_id: str) -> None:
    """Let members of a space that is held leave it at the tick, which becomes theirs and the space's."""
    db.session.execute(
        update(Member)
        .where(Member.space_id == space_id, Member.user_id.in_(list(user_ids)))
        .values(has_left=True, left_tick=held.tick)
    )
    held.give(user_ids, [space_id])


def close_space(held: Held, space_id: str) -> None:
    """Delete a space that is held: all leave it at the tick. The purge removes its rows, one day."""
    db.session.execute(update(Space).where(Space.id == space_id).values(deleted_at=now_ms()))
    db.session.execute(delete(Invitation).where(Invitation.space_id == space_id))
    leave(held, held.members[space_id].keys(), space_id)
    outbox.note_gone(space_id, held.tick)
