"""The providers that open an account: listing, linking and unlinking them."""

import logging
from collections.abc import Sequence
from typing import Any

from services.users.administration import lock
from shared.accounts import id_tokens
from shared.accounts.id_tokens import IdToken
from shared.accounts.identities import IdentityTaken, LastWayIn, add_identity, read_identities
from shared.accounts.mail import tell_identities_changed
from shared.auth.sessions import Caller, require_living
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Identity, User
from shared.web.errors import NotFound

log = logging.getLogger("audit")


def list_identities(user_id: str) -> Sequence[Identity]:
    """Return an account's identities. Raises `NotFound`."""
    with db.session.begin():
        if db.session.get(User, user_id) is None:
            raise NotFound
        return read_identities(user_id)


def link(caller: Caller, body: dict[str, Any]) -> Identity:
    """Let an ID token's subject open the caller's account; no matter if it does already.

    Raises `InvalidIdToken`, `ProviderUnavailable`, `IdentityTaken`, and `Unauthorized` when the caller's
    session has ended meanwhile.
    """
    identity, is_new = _link(caller, id_tokens.verify(**body))
    if is_new:
        log.info("identity_linked", extra={"provider": identity.provider})
    return identity


@transaction
def _link(caller: Caller, token: IdToken) -> tuple[Identity, bool]:
    user = lock(caller.user_id)
    # Whoever was locked out meanwhile, by a new password for one, must not come back by this.
    require_living(caller)
    identity = db.session.get(Identity, token.identity, populate_existing=True)
    if identity is None:
        tell_identities_changed(user, "identity_added", token.provider)
        return add_identity(user.id, token), True
    if identity.user_id != user.id:
        raise IdentityTaken
    return identity, False


def unlink(user_id: str, provider: str) -> None:
    """Let a provider open an account no more; its sessions go on. Raises `NotFound`, `LastWayIn`."""
    _unlink(user_id, provider)
    log.info("identity_unlinked", extra={"target_id": user_id, "provider": provider})


@transaction
def _unlink(user_id: str, provider: str) -> None:
    user = lock(user_id)
    identities = read_identities(user_id)
    removed = [one for one in identities if one.provider == provider]
    if not removed:
        raise NotFound
    if user.password is None and len(removed) == len(identities):
        raise LastWayIn
    for one in removed:
        db.session.delete(one)
    tell_identities_changed(user, "identity_removed", provider)
