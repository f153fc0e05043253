"""Confirming a change: by the password, or without one by a fresh ID token (docs/api.md, "Confirming")."""

import logging
from dataclasses import dataclass
from typing import Any

from shared.accounts import id_tokens, lockout
from shared.accounts.id_tokens import InvalidIdToken
from shared.accounts.users import lock_user
from shared.auth.sessions import Caller
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Identity, User
from shared.web.errors import Fault, Faults, InvalidRequest, Problem, Unauthorized
from shared.web.schemas import camel

log = logging.getLogger("audit")


class WrongPassword(Problem):
    """The password that confirms a change is not the account's."""

    status, code = 403, "wrong_password"
    detail = "The password is wrong."


@dataclass(frozen=True)
class Proof:
    """What has confirmed a change: the hash of the password, or an identity of an account without one."""

    password: str | None
    identity: str | None


def confirm(caller: Caller, given: dict[str, Any], field: str) -> Proof:
    """Return what confirms a change, taken out of `given`; `field` is its name for the password.

    Raises `WrongPassword`, `TooManyAttempts`, `InvalidIdToken`, `ProviderUnavailable`, or
    `InvalidRequest` without what the account confirms with.
    """
    with db.session.begin():
        user = db.session.get(User, caller.user_id)
    if user is None:
        # Deleted since the guard let the caller in.
        raise Unauthorized
    if user.password is None:
        require(given, "provider", "id_token")
        return _confirm_by_token(given)
    require(given, field)
    _confirm_by_password(caller, user.password, given[field])
    return Proof(user.password, None)


def require(given: dict[str, Any], *names: str) -> None:
    """Raise `InvalidRequest` when a field that the account confirms with is missing."""
    faults = Faults()
    for name in names:
        if given.get(name) is None:
            faults.add(camel(name), Fault("Required to confirm the change.", "required"))
    if faults:
        raise InvalidRequest(faults)


def _confirm_by_password(caller: Caller, stored: str, password: str) -> None:
    attempt, _ = lockout.begin(lockout.confirmation_limits(caller.session_id))
    if not lockout.verify(attempt, stored, password):
        log.warning("confirmation_locked" if attempt.exhausts else "confirmation_failed")
        raise WrongPassword
    transaction(lockout.forget)(attempt)


def _confirm_by_token(given: dict[str, Any]) -> Proof:
    token = id_tokens.verify(given["provider"], given["id_token"], given.get("nonce"))
    if not token.is_fresh:
        log.warning("confirmation_failed", extra={"provider": token.provider})
        raise InvalidIdToken
    # Whose it is, is looked at with the row held.
    return Proof(None, token.identity)


def hold(caller: Caller, proof: Proof | None = None) -> User:
    """Return the caller's row, held until the transaction ends.

    Raises `WrongPassword` or `InvalidIdToken` when the `proof` no longer holds.
    """
    user = lock_user(caller.user_id)
    if user is None:
        raise Unauthorized
    if proof and proof.password != user.password:
        raise WrongPassword
    if proof and proof.identity:
        identity = db.session.get(Identity, proof.identity, populate_existing=True)
        if identity is None or identity.user_id != user.id:
            log.warning("confirmation_failed")
            raise InvalidIdToken
    return user
