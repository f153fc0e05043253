"""Opening an account, and proving that it is yours."""

import logging
from typing import Any

from sqlalchemy import bindparam, update

from services.auth.sessions import Grant, InvalidCredentials, Lifetimes, open_session
from shared.accounts import codes, lockout
from shared.accounts.mail import has_mail
from shared.accounts.passwords import hash_password, is_outdated
from shared.accounts.users import add_user
from shared.auth.sessions import Profile
from shared.database.bulk import execute_count
from shared.database.transaction import transaction
from shared.models import User
from shared.observability import metrics
from shared.web.errors import Problem

log = logging.getLogger("audit")

#: The counts of failures and, in the same statement, what the account says of itself.
FIND_USER = lockout.FIND_COUNTS.add_columns(
    *(User.__table__.c[name] for name in Profile._fields)
).outerjoin(User, User.email == bindparam("email"))


class AccountDisabled(Problem):
    """The password is right, but an administrator has closed the account."""

    status, code = 403, "account_disabled"
    detail = "This account is disabled."


class EmailNotVerified(Problem):
    """The password is right, but nobody has shown to read the account's mail."""

    status, code = 403, "email_not_verified"
    detail = "Verify the e-mail first, with the code that was sent to it, or choose a new password."


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
    if has_mail():
        codes.send_code(codes.VERIFY, email, user.id)
    return user, open_session(user.id, hashed, device_name, lifetimes)


def login(
    email: str,
    password: str,
    device_name: str | None,
    client: str | None,
    lifetimes: Lifetimes,
    *,
    needs_verified: bool,
) -> tuple[Any, Grant]:
    """Begin a session of the account, whose columns are returned with it.

    `client` is the address that asks. Raises `InvalidCredentials`, `TooManyAttempts`, or after a right
    password `AccountDisabled` and, if the account `needs_verified`, `EmailNotVerified`.
    """
    email = email.strip().lower()
    try:
        attempt, user = lockout.begin(lockout.login_limits(email, client), FIND_USER, email=email)
    except lockout.TooManyAttempts:
        metrics.LOGINS.labels("refused").inc()
        raise
    # Outside of any transaction: hashing is slow on purpose.
    if not lockout.verify(attempt, user.password, password):
        log.warning(
            "login_locked" if attempt.exhausts else "login_failed",
            extra={"email_hash": lockout.key(email), "user_id": user.id},
        )
        metrics.LOGINS.labels("locked" if attempt.exhausts else "failed").inc()
        raise InvalidCredentials
    if not user.is_active or (needs_verified and not user.email_verified):
        transaction(lockout.forget)(attempt)
        raise EmailNotVerified if user.is_active else AccountDisabled
    rehashed = hash_password(password) if is_outdated(user.password) else None
    grant = _begin(attempt, user.id, user.password, rehashed, device_name, lifetimes)
    metrics.LOGINS.labels("succeeded").inc()
    log.info("login_succeeded", extra={"user_id": user.id, "session_id": grant.session_id})
    return user, grant


@transaction
def _begin(
    attempt: lockout.Attempt,
    user_id: str,
    verified: str,
    rehashed: str | None,
    device_name: str | None,
    lifetimes: Lifetimes,
) -> Grant:
    lockout.forget(attempt)
    own = (User.id == user_id, User.password == verified)
    if rehashed and execute_count(update(User).where(*own).values(password=rehashed)):
        verified = rehashed
    # What was verified may have changed meanwhile: the password replaced, the account closed.
    return open_session(user_id, verified, device_name, lifetimes)
