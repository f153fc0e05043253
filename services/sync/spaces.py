"""Make, share and leave spaces (docs/api.md, "Spaces").

Whoever is not a member learns nothing: each call first looks for the caller's own membership, and that it is
not there looks the same whether or not there is such a space. What changes members, invitations or roles
holds the space's row, and looks again.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, or_, select, update

from shared.accounts.mail import count_mail, has_mail, write_mail
from shared.auth.revocations import raise_clocks
from shared.database.base import db
from shared.database.bulk import execute_count
from shared.database.transaction import transaction
from shared.models import Invitation, Member, Space, User
from shared.models.space import MEMBER_ROLES
from shared.now import DAY_MS, now_ms
from shared.spaces.holding import Held, hold
from shared.spaces.leaving import close_space, leave
from shared.web.errors import Forbidden, NotFound, Problem

log = logging.getLogger("audit")

OWNER = MEMBER_ROLES[0]
INVITATION_MS = 7 * DAY_MS
#: Open ones of a space: as many as it may have members by default.
MAX_INVITATIONS = 100
#: Of a user, with those that they have left until the purge forgets them: what a pull costs grows with their
#: square.
MAX_SPACES = 200


class LastOwner(Problem):
    """A space has an owner as long as it is there."""

    status, code = 409, "last_owner"
    detail = "This is the last owner. Make another member an owner first, or delete the space."


class SpaceFull(Problem):
    """The space has as many members as it may have."""

    status, code = 409, "space_full"
    detail = "The space has as many members as it may have."


class TooManySpaces(Problem):
    """The user is in as many spaces as one may be, or was lately."""

    status, code = 409, "too_many_spaces"
    detail = "You are in as many spaces as one may be, those counted that you left lately."


class TooManyInvitations(Problem):
    """The space has as many open invitations as it may have."""

    status, code = 409, "too_many_invitations"
    detail = "The space has 100 open invitations. Withdraw some first."


# Spaces


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
    _join(held, id_, user_id, OWNER)
    held.give([user_id], [])
    return _read(user_id, id_), held


def list_spaces(user_id: str) -> Sequence[Row[Any]]:
    """Return the spaces that a user is in, in the order in which they were made."""
    with db.session.begin():
        return db.session.execute(_spaces_of(user_id).order_by(Space.created_at, Space.id)).all()


def rename_space(user_id: str, space_id: str, name: str) -> Row[Any]:
    """Give a space of the caller's another name; return it. Raises `NotFound`, `Forbidden`."""
    _require_owner(user_id, space_id)
    space = _rename(user_id, space_id, name)
    log.info("space_renamed", extra={"space_id": space_id})
    return space


@transaction
def _rename(user_id: str, space_id: str, name: str) -> Row[Any]:
    _hold_as_owner(user_id, space_id)
    db.session.execute(update(Space).where(Space.id == space_id).values(name=name))
    return _read(user_id, space_id)


def delete_space(user_id: str, space_id: str) -> None:
    """Let all members leave a space for good. Raises `NotFound`, `Forbidden`."""
    _require_owner(user_id, space_id)
    held = _delete(user_id, space_id)
    raise_clocks({id_: held.clocks[id_] for id_ in held.members[space_id]}, held.tick)
    log.info("space_deleted", extra={"space_id": space_id})


@transaction
def _delete(user_id: str, space_id: str) -> Held:
    held = hold([space_id], user_id)
    _require_role(_members(held, space_id), user_id, OWNER)
    close_space(held, space_id)
    return held


# Members


def list_members(user_id: str, space_id: str) -> Sequence[Row[Any]]:
    """Return the members of a space of the caller's, who joined first first. Raises `NotFound`."""
    with db.session.begin():
        _read(user_id, space_id)
        return db.session.execute(
            _select_members(space_id).order_by(Member.joined_at, Member.user_id)
        ).all()


def change_role(user_id: str, space_id: str, member_id: str, role: str) -> Row[Any]:
    """Let a member do more or less; return the member. Raises `NotFound`, `Forbidden`, `LastOwner`."""
    _require_owner(user_id, space_id)
    member = _change_role(user_id, space_id, member_id, role)
    log.info(
        "space_role_changed", extra={"space_id": space_id, "target_id": member_id, "role": role}
    )
    return member


@transaction
def _change_role(user_id: str, space_id: str, member_id: str, role: str) -> Row[Any]:
    _hold_as_owner(user_id, space_id)
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
        role = _read(user_id, space_id).role
    if role != OWNER and member_id != user_id:
        raise Forbidden
    held = _remove(user_id, space_id, member_id)
    raise_clocks({member_id: held.clocks[member_id]}, held.tick)
    log.info("space_left", extra={"space_id": space_id, "target_id": member_id})


@transaction
def _remove(user_id: str, space_id: str, member_id: str) -> Held:
    held = hold([space_id], user_id)
    members = _members(held, space_id)
    _require_role(members, user_id, *([OWNER] if member_id != user_id else MEMBER_ROLES))
    if member_id not in members:
        raise NotFound
    _require_other_owner(members, member_id)
    leave(held, [member_id], space_id)
    return held


# Invitations


def invite(user_id: str, space_id: str, email: str, role: str) -> Row[Any]:
    """Offer the holder of an address a place in a space; return the invitation, the only one for it there.

    Whether the address has an account changes nothing. Raises `NotFound`, `Forbidden`,
    `TooManyInvitations`.
    """
    _require_owner(user_id, space_id)
    invitation = _invite(user_id, space_id, email, role)
    log.info(
        "space_invited",
        extra={"space_id": space_id, "invitation_id": invitation.id, "role": role},
    )
    return invitation


@transaction
def _invite(user_id: str, space_id: str, email: str, role: str) -> Row[Any]:
    _hold_as_owner(user_id, space_id)
    now = now_ms()
    there = select(Invitation.id).where(Invitation.space_id == space_id)
    # By their keys: what is deleted by a condition locks the gap in which another space's would stand.
    over = db.session.scalars(
        there.where(or_(Invitation.email == email, Invitation.expires_at <= now))
    ).all()
    if over:
        db.session.execute(delete(Invitation).where(Invitation.id.in_(over)))
    if (
        db.session.scalar(select(func.count()).select_from(there.subquery())) or 0
    ) >= MAX_INVITATIONS:
        raise TooManyInvitations
    id_ = str(uuid.uuid4())
    db.session.execute(
        insert(Invitation).values(
            id=id_,
            space_id=space_id,
            email=email,
            role=role,
            created_at=now,
            expires_at=now + INVITATION_MS,
        )
    )
    if has_mail() and count_mail("space_invitation", email):
        inviter = db.session.scalar(select(User.email).where(User.id == user_id))
        # Not the space's name: whoever owns one could have us send any text to any address.
        content = {"email": email, "inviter": inviter}
        write_mail("space_invitation", None, email, content)
    return db.session.execute(_select_invitations(space_id).where(Invitation.id == id_)).one()


def list_invitations(user_id: str, space_id: str) -> Sequence[Row[Any]]:
    """Return the open invitations to a space, the oldest first. Raises `NotFound`, `Forbidden`."""
    with db.session.begin():
        _require_role({user_id: _read(user_id, space_id).role}, user_id, OWNER)
        return db.session.execute(
            _select_invitations(space_id).order_by(Invitation.created_at, Invitation.id)
        ).all()


def withdraw(user_id: str, space_id: str, invitation_id: str) -> None:
    """Take an invitation back. Raises `NotFound`, `Forbidden`."""
    _require_owner(user_id, space_id)
    _withdraw(user_id, space_id, invitation_id)
    extra = {"space_id": space_id, "invitation_id": invitation_id}
    log.info("space_invitation_withdrawn", extra=extra)


@transaction
def _withdraw(user_id: str, space_id: str, invitation_id: str) -> None:
    _hold_as_owner(user_id, space_id)
    _use(invitation_id, Invitation.space_id == space_id)


def list_my_invitations(user_id: str) -> Sequence[Row[Any]]:
    """Return the open invitations for the caller's address, the oldest first."""
    with db.session.begin():
        return db.session.execute(
            _invitations_for(user_id).order_by(Invitation.created_at, Invitation.id)
        ).all()


def accept(user_id: str, invitation_id: str, max_members: int) -> Row[Any]:
    """Take an invitation up; return the space. Who is a member already stays in the role that they have.

    Raises `NotFound`, `SpaceFull`, `TooManySpaces`.
    """
    space_id = _invitation_of(user_id, invitation_id).space_id
    space, held = _accept(user_id, invitation_id, space_id, max_members)
    if user_id not in held.members[space_id]:
        raise_clocks({user_id: held.clocks[user_id]}, held.tick)
        log.info("space_joined", extra={"space_id": space_id, "invitation_id": invitation_id})
    return space


@transaction
def _accept(
    user_id: str, invitation_id: str, space_id: str, max_members: int
) -> tuple[Row[Any], Held]:
    held = hold([space_id], user_id)
    members = _members(held, space_id)
    # The address may be another by now.
    invitation = db.session.execute(
        _invitations_for(user_id).where(Invitation.id == invitation_id)
    ).one_or_none()
    if invitation is None:
        raise NotFound
    _use(invitation_id)
    if user_id not in members:
        if len(members) >= max_members:
            raise SpaceFull
        _join(held, space_id, user_id, invitation.role)
        held.give([user_id], [space_id])
    return _read(user_id, space_id), held


def decline(user_id: str, invitation_id: str) -> None:
    """Turn an invitation down. Raises `NotFound`."""
    space_id = _invitation_of(user_id, invitation_id).space_id
    transaction(_use)(invitation_id)
    extra = {"space_id": space_id, "invitation_id": invitation_id}
    log.info("space_invitation_declined", extra=extra)


def _use(invitation_id: str, *conditions: ColumnElement[bool]) -> None:
    """Delete an open invitation. Raises `NotFound` when somebody was faster."""
    open_ = and_(Invitation.id == invitation_id, Invitation.expires_at > now_ms(), *conditions)
    if not execute_count(delete(Invitation).where(open_)):
        raise NotFound


def _invitation_of(user_id: str, invitation_id: str) -> Row[Any]:
    with db.session.begin():
        found = db.session.execute(
            _invitations_for(user_id).where(Invitation.id == invitation_id)
        ).one_or_none()
    if found is None:
        raise NotFound
    return found


# What is there, and who may


def _join(held: Held, space_id: str, user_id: str, role: str) -> None:
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


def _select_invitations(space_id: str) -> Select[*tuple[Any, ...]]:
    return select(Invitation.id, Invitation.email, Invitation.role, Invitation.expires_at).where(
        Invitation.space_id == space_id, Invitation.expires_at > now_ms()
    )


def _invitations_for(user_id: str) -> Select[*tuple[Any, ...]]:
    """Select what is open for the address of an account; where there is mail, only for a verified one."""
    return (
        select(
            Invitation.id,
            Invitation.space_id,
            Space.name.label("space_name"),
            Invitation.role,
            Invitation.expires_at,
        )
        .join(User, User.email == Invitation.email)
        .join(Space, Space.id == Invitation.space_id)
        .where(
            User.id == user_id,
            Invitation.expires_at > now_ms(),
            Space.deleted_at.is_(None),
            *([User.email_verified] if has_mail() else []),
        )
    )


def _read(user_id: str, space_id: str) -> Row[Any]:
    """Return a space as a member sees it, within the caller's transaction. Raises `NotFound`."""
    found = db.session.execute(_spaces_of(user_id).where(Space.id == space_id)).one_or_none()
    if found is None:
        raise NotFound
    return found


def _require_owner(user_id: str, space_id: str) -> None:
    """Raise `NotFound` or `Forbidden`, before anything is held: strangers hold up nobody."""
    with db.session.begin():
        role = _read(user_id, space_id).role
    _require_role({user_id: role}, user_id, OWNER)


def _hold_as_owner(user_id: str, space_id: str) -> None:
    """Hold a space, but no clock, for what takes no tick. Raises `NotFound`, `Forbidden`."""
    # What is read from here on has its snapshot after this.
    db.session.execute(select(Space.id).where(Space.id == space_id).with_for_update())
    _require_role({user_id: _read(user_id, space_id).role}, user_id, OWNER)


def _members(held: Held, space_id: str) -> Mapping[str, str]:
    """Return the roles of the members of a space that is held. Raises `NotFound` when it was deleted."""
    space = held.spaces.get(space_id)
    if space is None or space.deleted_at is not None:
        raise NotFound
    return held.members[space_id]


def _require_role(members: Mapping[str, str], user_id: str, *roles: str) -> None:
    if user_id not in members:
        raise NotFound
    if members[user_id] not in roles:
        raise Forbidden


def _require_other_owner(members: Mapping[str, str], member_id: str) -> None:
    if [id_ for id_, role in members.items() if role == OWNER] == [member_id]:
        raise LastOwner
