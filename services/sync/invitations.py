"""Invite into spaces, and take invitations up (docs/api.md, "Spaces")."""

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, insert, or_, select

from services.sync.spaces import (
    OWNER,
    hold_as_owner,
    join,
    members_of,
    read_space,
    require_owner,
    require_role,
)
from shared.accounts.mail import count_mail, has_mail, write_mail
from shared.auth.revocations import raise_clocks
from shared.database.base import db
from shared.database.bulk import execute_count
from shared.database.transaction import transaction
from shared.models import Invitation, Space, User
from shared.now import DAY_MS, now_ms
from shared.spaces.holding import Held, hold
from shared.web.errors import NotFound, Problem

log = logging.getLogger("audit")

LIFE_MS = 7 * DAY_MS
#: Open ones of a space: as many as it may have members by default.
MAX_INVITATIONS = 100


class SpaceFull(Problem):
    """The space has as many members as it may have."""

    status, code = 409, "space_full"
    detail = "The space has as many members as it may have."


class TooManyInvitations(Problem):
    """The space has as many open invitations as it may have."""

    status, code = 409, "too_many_invitations"
    detail = f"The space has {MAX_INVITATIONS} open invitations. Withdraw some first."


def invite(user_id: str, space_id: str, email: str, role: str) -> Row[Any]:
    """Offer the holder of an address a place in a space; return the invitation, the only one for it there.

    Whether the address has an account changes nothing. Raises `NotFound`, `Forbidden`,
    `TooManyInvitations`.
    """
    require_owner(user_id, space_id)
    invitation = _invite(user_id, space_id, email, role)
    log.info(
        "space_invited",
        extra={"space_id": space_id, "invitation_id": invitation.id, "role": role},
    )
    return invitation


@transaction
def _invite(user_id: str, space_id: str, email: str, role: str) -> Row[Any]:
    hold_as_owner(user_id, space_id)
    _make_room(space_id, email)
    id_, now = str(uuid.uuid4()), now_ms()
    times = {"created_at": now, "expires_at": now + LIFE_MS}
    new = insert(Invitation).values(id=id_, space_id=space_id, email=email, role=role, **times)
    db.session.execute(new)
    if has_mail() and count_mail("space_invitation", email):
        inviter = db.session.scalar(select(User.email).where(User.id == user_id))
        # Not the space's name: whoever owns one could have us send any text to any address.
        write_mail("space_invitation", None, email, {"email": email, "inviter": inviter})
    return db.session.execute(_select_of(space_id).where(Invitation.id == id_)).one()


def _make_room(space_id: str, email: str) -> None:
    """Delete the invitations that a new one for an address replaces. Raises `TooManyInvitations`."""
    there = select(Invitation.id).where(Invitation.space_id == space_id)
    # By their keys: what is deleted by a condition locks the gap in which another space's would stand.
    over = db.session.scalars(
        there.where(or_(Invitation.email == email, Invitation.expires_at <= now_ms()))
    ).all()
    if over:
        db.session.execute(delete(Invitation).where(Invitation.id.in_(over)))
    count = db.session.scalar(select(func.count()).select_from(there.subquery())) or 0
    if count >= MAX_INVITATIONS:
        raise TooManyInvitations


def list_invitations(user_id: str, space_id: str) -> Sequence[Row[Any]]:
    """Return the open invitations to a space, the oldest first. Raises `NotFound`, `Forbidden`."""
    with db.session.begin():
        require_role({user_id: read_space(user_id, space_id).role}, user_id, OWNER)
        return db.session.execute(
            _select_of(space_id).order_by(Invitation.created_at, Invitation.id)
        ).all()


def withdraw(user_id: str, space_id: str, invitation_id: str) -> None:
    """Take an invitation back. Raises `NotFound`, `Forbidden`."""
    require_owner(user_id, space_id)
    _withdraw(user_id, space_id, invitation_id)
    extra = {"space_id": space_id, "invitation_id": invitation_id}
    log.info("space_invitation_withdrawn", extra=extra)


@transaction
def _withdraw(user_id: str, space_id: str, invitation_id: str) -> None:
    hold_as_owner(user_id, space_id)
    _use(invitation_id, Invitation.space_id == space_id)


def list_my_invitations(user_id: str) -> Sequence[Row[Any]]:
    """Return the open invitations for the caller's address, the oldest first."""
    with db.session.begin():
        return db.session.execute(
            _select_for(user_id).order_by(Invitation.created_at, Invitation.id)
        ).all()


def accept(user_id: str, invitation_id: str, max_members: int) -> Row[Any]:
    """Take an invitation up; return the space. Who is a member already stays in the role that they have.

    Raises `NotFound`, `SpaceFull`, `TooManySpaces`.
    """
    space_id = _space_of(user_id, invitation_id)
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
    members = members_of(held, space_id)
    # The address may be another by now.
    invitation = _find(user_id, invitation_id)
    _use(invitation_id)
    if user_id not in members:
        if len(members) >= max_members:
            raise SpaceFull
        join(held, space_id, user_id, invitation.role)
        held.give([user_id], [space_id])
    return read_space(user_id, space_id), held


def decline(user_id: str, invitation_id: str) -> None:
    """Turn an invitation down. Raises `NotFound`."""
    space_id = _space_of(user_id, invitation_id)
    transaction(_use)(invitation_id)
    extra = {"space_id": space_id, "invitation_id": invitation_id}
    log.info("space_invitation_declined", extra=extra)


def _use(invitation_id: str, *conditions: ColumnElement[bool]) -> None:
    """Delete an open invitation. Raises `NotFound` when somebody was faster."""
    open_ = and_(Invitation.id == invitation_id, Invitation.expires_at > now_ms(), *conditions)
    if not execute_count(delete(Invitation).where(open_)):
        raise NotFound


def _space_of(user_id: str, invitation_id: str) -> str:
    """Return the space of an open invitation for the caller. Raises `NotFound`."""
    with db.session.begin():
        return str(_find(user_id, invitation_id).space_id)


def _find(user_id: str, invitation_id: str) -> Row[Any]:
    """Return an open invitation for the caller, within the caller's transaction. Raises `NotFound`."""
    mine = _select_for(user_id).where(Invitation.id == invitation_id)
    found = db.session.execute(mine).one_or_none()
    if found is None:
        raise NotFound
    return found


def _select_of(space_id: str) -> Select[*tuple[Any, ...]]:
    return select(Invitation.id, Invitation.email, Invitation.role, Invitation.expires_at).where(
        Invitation.space_id == space_id, Invitation.expires_at > now_ms()
    )


def _select_for(user_id: str) -> Select[*tuple[Any, ...]]:
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
