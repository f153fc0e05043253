"""Accounts of others, for administrators."""

import logging
from typing import Any

from sqlalchemy import func, or_, select

from shared import redis
from shared.accounts.passwords import hash_password
from shared.accounts.users import LastAdmin, add_user, bump_version, flush_user, is_last_admin
from shared.auth.revocations import Ended, announce, drop_clock
from shared.auth.sessions import end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import User
from shared.web.errors import NotFound

log = logging.getLogger("audit")


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


def create_user(
    email: str,
    password: str,
    name: str | None = None,
    *,
    role: str = "user",
    is_active: bool = True,
) -> User:
    """Make an account. Raises `EmailTaken`."""
    hashed = hash_password(password)
    user = transaction(add_user)(email, hashed, name, role=role, is_active=is_active)
    log.info("account_created_by_admin", extra={"target_id": user.id, "role": role})
    return user


def change_user(user_id: str, changes: dict[str, Any]) -> User:
    """Set what is given; a disabled account's sessions end.

    Raises `NotFound`, `EmailTaken`, `LastAdmin`.
    """
    user, ended = _change(user_id, changes)
    announce(user_id, ended)
    redis.drop(redis.profile_key(user_id))
    log.info("account_changed_by_admin", extra={"target_id": user_id, "fields": sorted(changes)})
    return user


@transaction
def _change(user_id: str, changes: dict[str, Any]) -> tuple[User, list[Ended]]:
    user = _lock(user_id)
    demoted = changes.get("role", "admin") != "admin" or not changes.get("is_active", True)
    if demoted and is_last_admin(user):
        raise LastAdmin
    for column, value in changes.items():
        setattr(user, column, value)
    if db.session.is_modified(user):
        bump_version(user)
    flush_user()
    return user, [] if user.is_active else end_sessions(user_id)


def delete_user(user_id: str) -> None:
    """Delete an account with all its data. Raises `NotFound`, `LastAdmin`."""
    announce(user_id, _delete(user_id))
    redis.drop(redis.profile_key(user_id))
    drop_clock(user_id)
    log.info("account_deleted_by_admin", extra={"target_id": user_id})


@transaction
def _delete(user_id: str) -> list[Ended]:
    user = _lock(user_id)
    if is_last_admin(user):
        raise LastAdmin
    # Before they go with the account.
    ended = end_sessions(user_id)
    db.session.delete(user)
    return ended


def _lock(user_id: str) -> User:
    user = db.session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise NotFound
    return user


def promote_to_admin(email: str) -> bool:
    """Make the account with this e-mail an active administrator; return whether there is one."""
    user_id = _promote(email)
    if user_id is None:
        return False
    redis.drop(redis.profile_key(user_id))
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
