"""Rules for accounts that hold whichever service changes them."""

import uuid

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from shared.accounts.mail import tell_email_changed
from shared.database.base import db
from shared.models import User
from shared.now import now_ms
from shared.reference_clock import cover
from shared.web.errors import Problem


class EmailTaken(Problem):
    """An account with this e-mail exists."""

    status, code = 409, "email_taken"
    detail = "An account with this e-mail already exists."


class LastAdmin(Problem):
    """Without the last administrator nobody could promote another."""

    status, code = 409, "last_admin"
    detail = "This is the last administrator. Make somebody else an administrator first."


def lock_user(user_id: str) -> User | None:
    """Return an account's row as it is by now, held until the transaction ends; None when it is gone."""
    return db.session.get(User, user_id, with_for_update=True, populate_existing=True)


def is_last_admin(user: User) -> bool:
    """Return whether no other active administrator is left, within the caller's transaction.

    Holds all administrators until it ends, so that two of them cannot remove each other.
    """
    if user.role != "admin" or not user.is_active:
        return False
    admins = db.session.scalars(
        select(User.id).where(User.role == "admin", User.is_active).with_for_update()
    )
    return set(admins) == {user.id}


def add_user(
    email: str,
    hashed: str | None,
    name: str | None,
    *,
    role: str = "user",
    is_active: bool = True,
    email_verified: bool = False,
) -> User:
    """Return a new account with its sync clock set, within the caller's transaction. Raises `EmailTaken`.

    Without a password nobody can log in with one.
    """
    now = now_ms()
    user = User(
        id=str(uuid.uuid4()),
        email=email,
        email_verified=email_verified,
        password=hashed,
        name=name,
        role=role,
        is_active=is_active,
        created_at=now,
        updated_at=now,
        last_modified_at=now,
    )
    db.session.add(user)
    flush_user()
    cover(now)
    return user


def set_email(user: User, email: str, *, is_verified: bool) -> None:
    """Set an account's e-mail and whether it is verified; the one before is told, if there is mail.

    Within the caller's transaction, which holds the account's row. Raises `EmailTaken`.
    """
    before = user.email
    user.email, user.email_verified = email, is_verified
    bump_version(user)
    if email != before:
        user.pending_email = None
        flush_user()
        tell_email_changed(user, before)


def flush_user() -> None:
    """Write pending changes. Raises `EmailTaken`: looking before writing would be a race."""
    try:
        db.session.flush()
    except IntegrityError as error:
        raise EmailTaken from error


def bump_version(user: User) -> None:
    """Note that a profile changed: `updated_at` names its version, so it never stands still."""
    user.updated_at = max(now_ms(), user.updated_at + 1)
