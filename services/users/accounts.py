"""Read, change and delete the caller's account."""

import logging
from typing import Any

from sqlalchemy import select

from services.users.confirmation import Proof, confirm, hold
from services.users.removal import remove_account
from shared.accounts import codes
from shared.accounts.mail import (
    has_mail,
    tell_email_will_change,
    tell_password_changed,
)
from shared.accounts.passwords import hash_password
from shared.accounts.users import EmailTaken, LastAdmin, bump_version, is_last_admin, set_email
from shared.auth.revocations import Ended, announce
from shared.auth.sessions import Caller, end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import User

log = logging.getLogger("audit")


def change_profile(caller: Caller, changes: dict[str, Any]) -> User:
    """Set `name` and `email`, as far as given. A new e-mail is to be confirmed.

    With mail it only waits until it is verified (services/auth/verification.py); the present one given
    again takes that back.

    Raises `EmailTaken`, and what `confirm` does.
    """
    new_email = "email" in changes and changes["email"] != _read_email(caller)
    proof = confirm(caller, changes, "current_password") if new_email else None
    user = _change(caller, proof, changes)
    if new_email:
        log.info("email_change_asked" if has_mail() else "email_changed")
    return user


def _read_email(caller: Caller) -> str | None:
    with db.session.begin():
        email: str | None = db.session.scalar(select(User.email).where(User.id == caller.user_id))
    return email


def change_password(caller: Caller, new_password: str, **given: Any) -> None:
    """Replace the password, or set the first; every other session of the account ends.

    Raises what `confirm` does.
    """
    proof = confirm(caller, given, "current_password")
    ended = _set_password(caller, proof, hash_password(new_password))
    announce(caller.user_id, ended)
    log.info("password_changed", extra={"sessions": len(ended)})


def delete_account(caller: Caller, given: dict[str, Any]) -> None:
    """Delete the account with all its data. Raises `LastAdmin`, and what `confirm` does."""
    proof = confirm(caller, given, "password")

    def find() -> User:
        user = hold(caller, proof)
        if is_last_admin(user):
            raise LastAdmin
        return user

    remove_account(caller.user_id, find)
    log.info("account_deleted")


@transaction
def _change(caller: Caller, proof: Proof | None, changes: dict[str, Any]) -> User:
    user = hold(caller, proof)
    user.name = changes.get("name", user.name)
    if "email" in changes:
        _ask_for_email(user, changes["email"])
    if db.session.is_modified(user):
        bump_version(user)
    return user


def _ask_for_email(user: User, email: str) -> None:
    if email == user.email:
        user.pending_email = None
    elif not has_mail():
        set_email(user, email, is_verified=False)
    else:
        # Sooner than its owner would find out; what decides is the database, once it is verified.
        if db.session.scalar(select(User.id).where(User.email == email)):
            raise EmailTaken
        user.pending_email = email
        codes.send_code(codes.VERIFY, email, user.id)
        tell_email_will_change(user)


@transaction
def _set_password(caller: Caller, proof: Proof, hashed: str) -> list[Ended]:
    user = hold(caller, proof)
    user.password = hashed
    bump_version(user)
    tell_password_changed(user)
    return end_sessions(caller.user_id, keep=caller.session_id)
