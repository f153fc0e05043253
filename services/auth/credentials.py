"""Opening an account, and proving that it is yours."""

import logging
from typing import Any

from sqlalchemy import bindparam, select, update

from services.auth.rotation import Grant, Lifetimes, open_session
from shared import attempts, metrics
from shared.accounts import add_user
from shared.db import affected, db, look_up, transaction
from shared.models import User
from shared.passwords import hash_password, is_outdated, verify_password
from shared.problems import Problem, Unauthorized

log = logging.getLogger("audit")

#: Built once, since every login runs them.
FIND_USER = select(*User.__table__.c).where(User.email == bindparam("email"))
LOCK_USER = (
    select(User.password, User.is_active).where(User.id == bindparam("id")).with_for_update()
)


class InvalidCredentials(Unauthorized):
    """Unknown e-mail or wrong password: which of them is not said."""

    code = "invalid_credentials"
    detail = "E-mail or password is wrong."


class AccountDisabled(Problem):
    """The password is right, but an administrator has closed the account."""

    status, code = 403, "account_disabled"
    detail = "This account is disabled."


def register(
    email: str, password: str, name: str | None, device_name: str | None, lifetimes: Lifetimes
) -> tuple[User, Grant]:
    """Open an account and its first session. Raises `EmailTaken`."""
    user, grant = _register(email, hash_password(password), name, device_name, lifetimes)
    metrics.REGISTRATIONS.inc()
    log.info("account_registered", extra={"user_id": user.id, "session_id": grant.session_id})
    return user, grant


@transaction
def _register(
    email: str, hashed: str, name: str | None, device_name: str | None, lifetimes: Lifetimes
) -> tuple[User, Grant]:
    user = add_user(email, hashed, name)
    return user, open_session(user.id, device_name, lifetimes)


def login(
    email: str, password: str, device_name: str | None, lifetimes: Lifetimes
) -> tuple[Any, Grant]:
    """Begin a session of the account, whose columns are returned with it.

    Raises `InvalidCredentials`, `TooManyAttempts`, or `AccountDisabled` after a right password.
    """
    email = email.strip().lower()
    try:
        attempts.refuse_when_locked(email)
    except attempts.TooManyAttempts:
        metrics.LOGINS.labels("refused").inc()
        raise
    user = look_up(FIND_USER, {"email": email})
    # Outside of any transaction: hashing is slow on purpose.
    if not verify_password(user.password if user else None, password) or user is None:
        locked = attempts.count_failure(email)
        log.warning(
            "login_locked" if locked else "login_failed",
            extra={"email_hash": attempts.key(email), "user_id": user.id if user else None},
        )
        metrics.LOGINS.labels("locked" if locked else "failed").inc()
        raise InvalidCredentials
    hashed = hash_password(password) if is_outdated(user.password) else None
    grant = _begin(email, user.id, user.password, hashed, device_name, lifetimes)
    metrics.LOGINS.labels("succeeded").inc()
    log.info("login_succeeded", extra={"user_id": user.id, "session_id": grant.session_id})
    return user, grant


@transaction
def _begin(
    email: str,
    user_id: str,
    verified: str,
    rehashed: str | None,
    device_name: str | None,
    lifetimes: Lifetimes,
) -> Grant:
    # What was verified may have changed while it was hashed: locked, or the password replaced.
    failures = attempts.refuse_when_locked(email)
    user = db.session.connection().execute(LOCK_USER, {"id": user_id}).one_or_none()
    if user is None or user.password != verified:
        raise InvalidCredentials
    if not user.is_active:
        raise AccountDisabled
    if failures:
        attempts.forget_failures(email)
    if rehashed:
        affected(update(User).where(User.id == user_id).values(password=rehashed))
    return open_session(user_id, device_name, lifetimes)
