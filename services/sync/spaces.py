"""Make, share and leave spaces (docs/api.md, "Spaces"); `invitations` is how others come in.

Whoever is not a member learns nothing: each call first looks for the caller's own membership, and that it is
not there looks the same whether or not there is such a space. What changes members, invitations or roles
holds the space's row, and looks again.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, insert, select, update

from shared.auth.revocations import raise_clocks
from shared.database.base import db
from shared.database.bulk import execute_count
from shared.database.transaction import transaction
from shared.models import Member, Space, User
from shared.models.space import MEMBER_ROLES
from shared.now import now_ms
from shared.spaces.holding import Held, hold
from shared.spaces.leaving import close_space, leave
from shared.web.errors import Forbidden, NotFound, Problem

log = logging.getLogger("audit")

OWNER = MEMBER_ROLES[0]
#: Of a user, with those that they have left until the purge forgets them: what a pull costs grows with their
#: square.
MAX_SPACES = 200


class LastOwner(Problem):
    """A space has an owner as long as it is there."""

    status, code = 409, "last_owner"
    detail = "This is the last owner. Make another member an owner first, or delete the space."


class TooManySpaces(Problem):
    """The user is in as many spaces as one may be, or was lately."""

    status, code = 409, "too_many_spaces"
    detail = "You are in as many spaces as one may be, those counted that you left lately."


def create_space(user_id: str, name: str) -> Row[Any]:
    """Make a space that its maker owns alone; return it. Raises `TooManySpaces`."""
    space, held = _create(user_id, name)
    raise_clocks({user_id: held.clocks[user_id]}, held.tick)
    log.info("space_created", extra={"space_id": space.id})
    return space


@transaction
def _create(user_id: str, name: str) -> tuple[Row[Any], Held]:
    held = hold([], user_id)
    now, id_ = now_ms(), str(uuid.uuid4())
    db.session.execute(insert(Space).values(id=id_, name=name, created_at=now, last_tick=held.tick))
    join(held, id_, user_id, OWNER)
    held.give([user_id], [])
    return read_space(user_id, id_), held


def list_spaces(user_id: str) -> Sequence[Row[Any]]:
    """Return the spaces that a user is in, in the order in which they were made."""
    with db.session.begin():
        return db.session.execute(_spaces_of(user_id).order_by(Space.created_at, Space.id)).all()


def rename_space(user_id: str, space_id: str, name: str) -> Row[Any]:
    """Give a space of the caller's another name; return it. Raises `NotFound`, `Forbidden`."""
    require_owner(user_id, space_id)
    space = _rename(user_id, space_id, name)
    log.info("space_renamed", extra={"space_id": space_id})
    return space


@transaction
def _rename(user_id: str, space_id: str, name: str) -> Row[Any]:
    hold_as_owner(user_id, space_id)
    db.session.execute(update(Space).where(Space.id == space_id).values(name=name))
    return read_space(user_id, space_id)


def delete_space(user_id: str, space_id: str) -> None:
    """Let all members leave a space for good. Raises `NotFound`, `Forbidden`."""
    require_owner(user_id, space_id)
    held = _delete(user_id, space_id)
    raise_clocks({id_: held.clocks[id_] for id_ in held.members[space_id]}, held.tick)
    log.info("space_deleted", extra={"space_id": space_id})


@transaction
def _delete(user_id: str, space_id: str) -> Held:
    held = hold([space_id], user_id)
    require_role(members_of(held, space_id), user_id, OWNER)
    close_space(held, space_id)
    return held


def list_members(user_id: str, space_id: str) -> Sequence[Row[Any]]:
    """Return the members of a space of the caller's, who joined first first. Raises `NotFound`."""
    with db.session.begin():
        read_space(user_id, space_id)
        return db.session.execute(
            _select_members(space_id).order_by(Member.joined_at, Member.user_id)
        ).all()


def change_role(user_id: str, space_id: str, member_id: str, role: str) -> Row[Any]:
    """Let a member do more or less; return the member. Raises `NotFound`, `Forbidden`, `LastOwner`."""
    require_owner(user_id, space_id)
    member = _change_role(user_id, space_id, member_id, role)
    log.info(
        "space_role_changed", extra={"space_id": space_id, "target_id": member_id, "role": role}
    )
    return member


@transaction
def _change_role(user_id: str, space_id: str, member_id: str, role: str) -> Row[Any]:
    hold_as_owner(user_id, space_id)
    members = {row.user_id: row.role for row in db.session.execute(_select_members(space_id))}
    if member_id not in members:
        raise NotFound
    if role != OWNER:
        _require_other_owner(members, member_id)
    db.session.execute(update(Member).where(_is(member_id, space_id)).values(role=role))
    return db.session.execute(_select_members(space_id).where(Member.user_id == member_id)).one()


def remove_member(user_id: str, space_id: str, member_id: str) -> None:
    """Let the caller leave a space, or an owner remove somebody.

    Raises `NotFound`, `Forbidden`, `LastOwner`.
    """
    with db.session.begin():
        role = read_space(user_id, space_id).role
    if role != OWNER and member_id != user_id:
        raise Forbidden
    held = _remove(user_id, space_id, member_id)
    raise_clocks({member_id: held.clocks[member_id]}, held.tick)
    log.info("space_left", extra={"space_id": space_id, "target_id": member_id})


@transaction
def _remove(user_id: str, space_id: str, member_id: str) -> Held:
    held = hold([space_id], user_id)
    members = members_of(held, space_id)
    require_role(members, user_id, *([OWNER] if member_id != user_id else MEMBER_ROLES))
    if member_id not in members:
        raise NotFound
    _require_other_owner(members, member_id)
    leave(held, [member_id], space_id)
    return held


def join(held: Held, space_id: str, user_id: str, role: str) -> None:
    """Make a user who is held a member at the tick. One who comes back keeps the tick of having left.

    Raises `TooManySpaces`.
    """
    values = {"role": role, "joined_at": now_ms(), "joined_tick": held.tick, "has_left": False}
    if not execute_count(update(Member).where(_is(user_id, space_id)).values(values)):
        known = select(func.count()).select_from(Member).where(Member.user_id == user_id)
        if (db.session.scalar(known) or 0) >= MAX_SPACES:
            raise TooManySpaces
        db.session.execute(insert(Member).values(user_id=user_id, space_id=space_id, **values))
    db.session.execute(update(User).where(User.id == user_id).values(has_spaces=True))


def _is(user_id: str, space_id: str) -> ColumnElement[bool]:
    return and_(Member.user_id == user_id, Member.space_id == space_id)


def _spaces_of(user_id: str) -> Select[*tuple[Any, ...]]:
    members = (
        select(func.count())
        .where(Member.space_id == Space.id, ~Member.has_left)
        .correlate(Space)
        .scalar_subquery()
        .label("members")
    )
    own = Member.__table__.alias("own")
    return (
        select(Space.id, Space.name, Space.created_at, own.c.role, members)
        .join(own, own.c.space_id == Space.id)
        .where(own.c.user_id == user_id, ~own.c.has_left, Space.deleted_at.is_(None))
    )


def _select_members(space_id: str) -> Select[*tuple[Any, ...]]:
    return (
        select(Member.user_id, User.name, User.email, Member.role, Member.joined_at)
        .join(User, User.id == Member.user_id)
        .where(Member.space_id == space_id, ~Member.has_left)
    )


def read_space(user_id: str, space_id: str) -> Row[Any]:
    """Return a space as a member sees it, within the caller's transaction. Raises `NotFound`."""
    found = db.session.execute(_spaces_of(user_id).where(Space.id == space_id)).one_or_none()
    if found is None:
        raise NotFound
    return found


def require_owner(user_id: str, space_id: str) -> None:
    """Raise `NotFound` or `Forbidden`, before anything is held: strangers hold up nobody."""
    with db.session.begin():
        role = read_space(user_id, space_id).role
    require_role({user_id: role}, user_id, OWNER)


def hold_as_owner(user_id: str, space_id: str) -> None:
    """Hold a space, but no clock, for what takes no tick. Raises `NotFound`, `Forbidden`."""
    # What is read from here on has its snapshot after this.
    db.session.execute(select(Space.id).where(Space.id == space_id).with_for_update())
    require_role({user_id: read_space(user_id, space_id).role}, user_id, OWNER)


def members_of(held: Held, space_id: str) -> Mapping[str, str]:
    """Return the roles of the members of a space that is held. Raises `NotFound` when it was deleted."""
    space = held.spaces.get(space_id)
    if space is None or space.deleted_at is not None:
        raise NotFound
    return held.members[space_id]


def require_role(members: Mapping[str, str], user_id: str, *roles: str) -> None:
    """Raise `NotFound` for who is no member, `Forbidden` for one who has none of the roles."""
    if user_id not in members:
        raise NotFound
    if members[user_id] not in roles:
        raise Forbidden


def _require_other_owner(members: Mapping[str, str], member_id: str) -> None:
    if [id_ for id_, role in members.items() if role == OWNER] == [member_id]:
        raise LastOwner
