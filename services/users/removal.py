"""Remove an account, all that is its user's alone, and what spaces have of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from shared import outbox
from shared.accounts.mail import forget_mail
from shared.auth.revocations import Ended, announce, drop_clock, raise_clocks
from shared.auth.sessions import end_sessions
from shared.database.base import db
from shared.database.transaction import ATTEMPTS, transaction
from shared.models import Member, User
from shared.models.tables import synced_tables
from shared.spaces.holding import hold
from shared.spaces.leaving import close_space
from shared.web.errors import Unavailable


class JoinedMeanwhile(Unavailable):
    """The user is in a space that is not held, though they were not a moment ago."""


@dataclass(frozen=True)
class Removed:
    """What is to be told once an account is gone: sessions that ended, and users whose clocks moved."""

    ended: list[Ended]
    moved: set[str]
    tick: int


def remove_account(user_id: str, find: Callable[[], User]) -> None:
    """Delete an account with all its data.

    A space that it owns alone passes to the writer who joined first, or else is deleted. `find` returns
    the account's row, held, or raises why it is not to be deleted.
    """
    for attempt in range(ATTEMPTS):
        try:
            removed = _remove(user_id, _spaces_of(user_id), find)
            break
        except JoinedMeanwhile:
            if attempt == ATTEMPTS - 1:
                raise
    announce(user_id, removed.ended)
    drop_clock(user_id)
    raise_clocks(dict.fromkeys(removed.moved, removed.tick), removed.tick)


def _spaces_of(user_id: str) -> list[str]:
    with db.session.begin():
        return _find_spaces(user_id)


def _find_spaces(user_id: str) -> list[str]:
    query = select(Member.space_id).where(Member.user_id == user_id, ~Member.has_left)
    return list(db.session.scalars(query))


@transaction
def _remove(user_id: str, space_ids: list[str], find: Callable[[], User]) -> Removed:
    # Spaces before users, as everywhere.
    held = hold(space_ids)
    user = find()
    # A snapshot that begins with the user's row held: whoever lets them in holds that, too.
    if not held.spaces.keys() >= set(_find_spaces(user_id)):
        raise JoinedMeanwhile
    moved: set[str] = set()
    for space_id, members in held.members.items():
        if user_id in members and not _hand_over(space_id, user_id, members):
            close_space(held, space_id)
            moved |= members.keys()
    # Before they go with the account.
    ended = end_sessions(user_id)
    forget_mail(user_id)
    for table in synced_tables():
        db.session.execute(delete(table.sql).where(table.of(user_id)))
    # After all that was told of the space.
    outbox.note_gone(user_id, max(held.tick, user.last_modified_at + 1))
    db.session.delete(user)
    return Removed(ended, moved - {user_id}, held.tick)


def _hand_over(space_id: str, user_id: str, members: Mapping[str, str]) -> bool:
    """See to it that a space has an owner without a user; return False when nobody can be one."""
    if members[user_id] != "owner" or "owner" in [
        members[id_] for id_ in members if id_ != user_id
    ]:
        return True
    heir = db.session.scalar(
        select(Member.user_id)
        .where(
            Member.space_id == space_id,
            Member.user_id != user_id,
            Member.role == "writer",
            ~Member.has_left,
        )
        .order_by(Member.joined_at, Member.user_id)
        .limit(1)
    )
    if heir is None:
        return False
    db.session.execute(
        update(Member)
        .where(Member.space_id == space_id, Member.user_id == heir)
        .values(role="owner")
    )
    return True
