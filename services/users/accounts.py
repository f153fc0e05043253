"""Read, change and delete the caller's account."""

import logging
from typing import Any

import orjson

from shared import redis
from shared.accounts import lockout
from shared.accounts.passwords import hash_password
from shared.accounts.users import LastAdmin, bump_version, flush_user, is_last_admin
from shared.auth.revocations import Ended, announce, drop_clock
from shared.auth.sessions import FIND_ACCOUNT, Caller, completed, end_sessions, find_caller
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import User
from shared.web.errors import Fault, Faults, InvalidRequest, Problem, Unauthorized
from shared.web.schemas import UserSchema

log = logging.getLogger("audit")

PROFILE = UserSchema()
PROFILE_SECONDS = 300


class WrongPassword(Problem):
    """The password that confirms a change is not the account's."""

    status, code = 403, "wrong_password"
    detail = "The password is wrong."


def read_profile(caller: Caller) -> bytes:
    """Return the `user` object of the caller, as JSON.

    The copy in Redis begins with its version, and is used while that is the database's.
    """
    caller = completed(caller, FIND_ACCOUNT)
    key, version = redis.profile_key(caller.user_id), f"{caller.profile_version} ".encode()
    copy = redis.get(key)
    if copy and copy.startswith(version):
        return copy.removeprefix(version)
    profile = orjson.dumps(PROFILE.dump(caller.account))
    if redis.put(key, version + profile, PROFILE_SECONDS):
        # Whoever changed or deleted the account meanwhile dropped the copy before it was there.
        now = find_caller(caller.user_id, caller.session_id)
        if now is None or now.profile_version != caller.profile_version:
            redis.drop(key)
    return profile


def change_profile(caller: Caller, changes: dict[str, Any]) -> User:
    """Set `name` and `email`, as far as given. A new e-mail needs `current_password`.

    Raises `WrongPassword`, `TooManyAttempts`, `EmailTaken`, or `InvalidRequest` without a password.
    """
    changes = dict(changes)
    password = changes.pop("current_password", None)
    user = _read(caller)
    new_email = changes.get("email", user.email) != user.email
    if new_email:
        if password is None:
            faults = Faults()
            faults.add("currentPassword", Fault("Required to change the e-mail.", "required"))
            raise InvalidRequest(faults)
        _confirm(caller, user, password)
    user = _change(caller, user.password if new_email else None, changes)
    redis.drop(redis.profile_key(user.id))
    if new_email:
        log.info("email_changed")
    return user


def change_password(caller: Caller, current_password: str, new_password: str) -> None:
    """Replace the password; every other session of the account ends.

    Raises `WrongPassword`, `TooManyAttempts`.
    """
    user = _read(caller)
    _confirm(caller, user, current_password)
    ended = _set_password(caller, user.password, hash_password(new_password))
    announce(user.id, ended)
    redis.drop(redis.profile_key(user.id))
    log.info("password_changed", extra={"sessions": len(ended)})


def delete_account(caller: Caller, password: str) -> None:
    """Delete the account with all its data. Raises `WrongPassword`, `TooManyAttempts`, `LastAdmin`."""
    user = _read(caller)
    _confirm(caller, user, password)
    announce(user.id, _delete(caller, user.password))
    redis.drop(redis.profile_key(user.id))
    drop_clock(user.id)
    log.info("account_deleted")


def _read(caller: Caller) -> User:
    with db.session.begin():
        user = db.session.get(User, caller.user_id)
    if user is None:
        # Deleted since the guard let the caller in.
        raise Unauthorized
    return user


def _confirm(caller: Caller, user: User, password: str) -> None:
    """Raise unless `password` is the user's. Raises `TooManyAttempts`, too."""
    attempt, _ = lockout.begin(lockout.confirmation_limits(caller.session_id))
    if not lockout.verify(attempt, user.password, password):
        log.warning("confirmation_locked" if attempt.exhausts else "confirmation_failed")
        raise WrongPassword
    transaction(lockout.forget)(attempt)


def _lock(caller: Caller, verified: str | None) -> User:
    """Return the row, held until the transaction ends, while its password is still the `verified` one."""
    user = db.session.get(User, caller.user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise Unauthorized
    if verified not in (None, user.password):
        raise WrongPassword
    return user


@transaction
def _change(caller: Caller, verified: str | None, changes: dict[str, Any]) -> User:
    user = _lock(caller, verified)
    for column, value in changes.items():
        setattr(user, column, value)
    if db.session.is_modified(user):
        bump_version(user)
    flush_user()
    return user


@transaction
def _set_password(caller: Caller, verified: str, hashed: str) -> list[Ended]:
    user = _lock(caller, verified)
    user.password = hashed
    bump_version(user)
    return end_sessions(caller.user_id, keep=caller.session_id)


@transaction
def _delete(caller: Caller, verified: str) -> list[Ended]:
    user = _lock(caller, verified)
    if is_last_admin(user):
        raise LastAdmin
    # Before they go with the account.
    ended = end_sessions(user.id)
    db.session.delete(user)
    return ended
