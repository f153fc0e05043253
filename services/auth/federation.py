"""Signing in with an ID token (docs/api.md, "Sign-in by provider")."""

import logging

from sqlalchemy import select

from services.auth.credentials import AccountDisabled, EmailNotVerified
from services.auth.sessions import (
    OPEN_BY_IDENTITY,
    Grant,
    InvalidCredentials,
    Lifetimes,
    open_session,
)
from shared.accounts import codes, id_tokens
from shared.accounts.id_tokens import IdToken
from shared.accounts.identities import IdentityTaken, add_identity
from shared.accounts.mail import has_mail, tell_identities_changed
from shared.accounts.users import EmailTaken, add_user, bump_version, lock_user
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Identity, User
from shared.observability import metrics
from shared.web.errors import Fault, Faults, InvalidRequest, Problem, Unauthorized, Unavailable

log = logging.getLogger("audit")

#: Sign-ins at the same moment make each other look again, once each.
ATTEMPTS = 3


class InvalidIdToken(Unauthorized):
    """Not a token of the provider, for this app, now: what is wrong is not said."""

    code = id_tokens.InvalidIdToken.code
    detail = id_tokens.InvalidIdToken.detail


class AccountExists(Problem):
    """The e-mail has an account, and it is not certain that both are the same person's."""

    status, code = 409, "account_exists"
    detail = "An account with this e-mail exists. Sign in to it and link the provider there."


def sign_in(
    provider: str,
    id_token: str,
    nonce: str | None,
    name: str | None,
    device_name: str | None,
    lifetimes: Lifetimes,
    *,
    needs_verified: bool,
) -> tuple[User, Grant, bool]:
    """Begin a session of the account that an ID token stands for; return it, and whether it is a new one.

    Raises `InvalidIdToken`, `ProviderUnavailable`, `InvalidRequest` for a new subject without an e-mail,
    `AccountExists`, `AccountDisabled`, and `EmailNotVerified` if the account `needs_verified`.
    """
    try:
        token = id_tokens.verify(provider, id_token, nonce)
    except id_tokens.InvalidIdToken as error:
        metrics.SIGN_INS.labels(provider, "refused").inc()
        raise InvalidIdToken from error
    for _ in range(ATTEMPTS):
        try:
            user, grant, outcome = _sign_in(token, name, device_name, lifetimes, needs_verified)
            break
        except (EmailTaken, IdentityTaken, InvalidCredentials):
            # By a sign-in at the same moment, whose account this one finds; or the account was closed or
            # the identity unlinked meanwhile, as this one finds it.
            continue
    else:
        raise Unavailable
    metrics.SIGN_INS.labels(provider, outcome).inc()
    fields = {"user_id": user.id, "session_id": grant.session_id, "provider": provider}
    is_new = outcome == "registered"
    if is_new:
        metrics.REGISTRATIONS.inc()
    elif outcome == "linked":
        log.info("identity_linked", extra=fields)
    log.info("account_registered" if is_new else "login_succeeded", extra=fields)
    return user, grant, is_new


@transaction
def _sign_in(
    token: IdToken,
    name: str | None,
    device_name: str | None,
    lifetimes: Lifetimes,
    needs_verified: bool,
) -> tuple[User, Grant, str]:
    user, outcome = _find_owner(token), "succeeded"
    if user is None:
        user, outcome = _find_namesake(token), "linked"
        if user is None:
            user, outcome = _register(token, name), "registered"
    if not user.is_active:
        # Which undoes what was linked.
        raise AccountDisabled
    if token.email_verified and not user.email_verified:
        _vouch(user, token)
    # Registering answers with tokens, as it does with a password.
    if needs_verified and not user.email_verified and outcome != "registered":
        raise EmailNotVerified
    grant = open_session(user.id, token.identity, device_name, lifetimes, OPEN_BY_IDENTITY)
    return user, grant, outcome


def _find_owner(token: IdToken) -> User | None:
    """Return the account that an identity is linked to."""
    query = select(User).join(Identity, Identity.user_id == User.id)
    user: User | None = db.session.scalar(query.where(Identity.id == token.identity))
    return user


def _find_namesake(token: IdToken) -> User | None:
    """Return the account with a token's e-mail, linked to its identity. Raises `AccountExists`.

    Whoever registered somebody else's address first must not get their data; so both the provider and we
    must know that it is read by whom it belongs to.
    """
    if token.email is None:
        faults = Faults()
        faults.add("idToken", Fault("It must have an e-mail: ask the provider for it.", "no_email"))
        raise InvalidRequest(faults)
    found = db.session.scalar(select(User.id).where(User.email == token.email))
    if found is None:
        return None
    user = lock_user(found)
    if user is None or user.email != token.email:
        # Deleted since, or it has another e-mail by now: to be looked at again.
        raise EmailTaken
    if not (token.email_verified and user.email_verified):
        raise AccountExists
    add_identity(user.id, token)
    tell_identities_changed(user, "identity_added", token.provider)
    return user


def _vouch(user: User, token: IdToken) -> None:
    """Take an account's e-mail for verified when the provider holds the same one to be."""
    db.session.refresh(user, with_for_update=True)
    if user.email == token.email:
        user.email_verified = True
        bump_version(user)
        db.session.flush()


def _register(token: IdToken, name: str | None) -> User:
    email = str(token.email)
    user = add_user(email, None, name, email_verified=token.email_verified)
    add_identity(user.id, token)
    if not token.email_verified and has_mail():
        codes.send_code(codes.VERIFY, email, user.id)
    return user
