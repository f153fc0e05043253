"""Accounts of others, for administrators."""

import logging
from typing import Any

from sqlalchemy import func, or_, select

from services.users.removal import remove_account
from shared.accounts import codes, lockout
from shared.accounts.mail import has_mail, require_mail
from shared.accounts.passwords import hash_password
from shared.accounts.users import (
    LastAdmin,
    add_user,
    bump_version,
    is_last_admin,
    lock_user,
    set_email,
)
from shared.auth.revocations import Ended, announce
from shared.auth.sessions import end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import User
from shared.web.errors import NotFound, Problem

log = logging.getLogger("audit")


class TooManyCodes(Problem):
    """Three codes went to the address within an hour."""

    status, code = 429, "too_many_codes"
    detail = "Three codes were sent to this address within an hour. Try again later."


def list_users(limit: int, offset: int, q: str) -> tuple[list[User], int]:
    """Return accounts in the order of their creation whose e-mail or name contains `q`, and their number."""
    query = select(User)
    if q:
        wanted = q.lower()
        query = query.where(
            or_(
                User.email.contains(wanted, autoescape=True),
                func.lower(User.name).contains(wanted, autoescape=True),
            )
        )
    with db.session.begin():
        total = db.session.scalar(select(func.count()).select_from(query.subquery())) or 0
        page = query.order_by(User.created_at, User.id).limit(limit).offset(offset)
        return list(db.session.scalars(page)), total


def read_user(user_id: str) -> User:
    """Return an account. Raises `NotFound`."""
    with db.session.begin():
        user = db.session.get(User, user_id)
    if user is None:
        raise NotFound
    return user


def find_user(email: str) -> str:
    """Return the id of the account with an e-mail. Raises `NotFound`."""
    with db.session.begin():
        user_id: str | None = db.session.scalar(select(User.id).where(User.email == email))
    if user_id is None:
        raise NotFound("There is no account with this e-mail.")
    return user_id


def create_user(
    email: str,
    password: str | None,
    name: str | None = None,
    *,
    role: str = "user",
    is_active: bool = True,
    email_verified: bool = False,
) -> User:
    """Make an account, without a password one whose user must reset it. Raises `EmailTaken`."""
    user = transaction(add_user)(
        email,
        hash_password(password) if password is not None else None,
        name,
        role=role,
        is_active=is_active,
        email_verified=email_verified,
    )
    log.info("account_created_by_admin", extra={"target_id": user.id, "role": role})
    return user


def change_user(user_id: str, changes: dict[str, Any]) -> User:
    """Set what is given; a disabled account's sessions end.

    An e-mail takes effect at once; one that is not given as verified gets a code, if there is mail.

    Raises `NotFound`, `EmailTaken`, `LastAdmin`.
    """
    user, ended = _change(user_id, changes)
    announce(user_id, ended)
    log.info("account_changed_by_admin", extra={"target_id": user_id, "fields": sorted(changes)})
    return user


@transaction
def _change(user_id: str, changes: dict[str, Any]) -> tuple[User, list[Ended]]:
    user = lock(user_id)
    demoted = changes.get("role", "admin") != "admin" or not changes.get("is_active", True)
    if demoted and is_last_admin(user):
        raise LastAdmin
    # Read anew by each run of the transaction.
    email = changes.get("email", user.email)
    is_verified = changes.get("email_verified", user.email_verified and email == user.email)
    for column in changes.keys() & {"name", "role", "is_active"}:
        setattr(user, column, changes[column])
    if (email, is_verified) != (user.email, user.email_verified):
        is_new = email != user.email
        set_email(user, email, is_verified=is_verified)
        if is_new and not is_verified and has_mail():
            codes.send_code(codes.VERIFY, email, user_id)
    elif db.session.is_modified(user):
        bump_version(user)
    return user, [] if user.is_active else end_sessions(user_id)


def send_code(user_id: str, purpose: str) -> None:
    """Send a code to an account's address. Raises `NotFound`, `TooManyCodes`, `MailNotConfigured`."""
    require_mail()
    _send_code(user_id, purpose)
    log.info("code_sent_by_admin", extra={"target_id": user_id, "purpose": purpose})


@transaction
def _send_code(user_id: str, purpose: str) -> None:
    user = db.session.get(User, user_id)
    if user is None:
        raise NotFound
    pending = user.pending_email if purpose == codes.VERIFY else None
    if not codes.send_code(purpose, pending or user.email, user_id):
        raise TooManyCodes


def end_all_sessions(user_id: str) -> None:
    """End every session of an account. Raises `NotFound`."""
    ended = _end_all_sessions(user_id)
    announce(user_id, ended)
    log.info("sessions_ended_by_admin", extra={"target_id": user_id, "sessions": len(ended)})


@transaction
def _end_all_sessions(user_id: str) -> list[Ended]:
    lock(user_id)
    return end_sessions(user_id)


def unlock(user_id: str) -> None:
    """Let an account's passwords be tried again at once. Raises `NotFound`."""
    _unlock(user_id)
    log.info("unlocked_by_admin", extra={"target_id": user_id})


@transaction
def _unlock(user_id: str) -> None:
    lockout.lift(lock(user_id).email)


def delete_user(user_id: str) -> None:
    """Delete an account with all its data. Raises `NotFound`, `LastAdmin`."""

    def find() -> User:
        user = lock(user_id)
        if is_last_admin(user):
            raise LastAdmin
        return user

    remove_account(user_id, find)
    log.info("account_deleted_by_admin", extra={"target_id": user_id})


def lock(user_id: str) -> User:
    """Return an account's row, held until the transaction ends. Raises `NotFound`."""
    user = lock_user(user_id)
    if user is None:
        raise NotFound
    return user


def promote_to_admin(email: str) -> bool:
    """Make the account with this e-mail an active administrator; return whether there is one."""
    user_id = _promote(email)
    if user_id is None:
        return False
    log.info("administrator_appointed", extra={"target_id": user_id})
    return True


@transaction
def _promote(email: str) -> str | None:
    user = db.session.scalar(select(User).where(User.email == email).with_for_update())
    if user is None:
        return None
    user.role, user.is_active = "admin", True
    bump_version(user)
    return user.id
