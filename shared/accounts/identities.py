"""Rules for identities that hold whichever service changes them."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from shared.accounts.id_tokens import IdToken
from shared.database.base import db
from shared.models import Identity
from shared.now import now_ms
from shared.web.errors import Problem


class IdentityTaken(Problem):
    """The identity is linked to another account."""

    status, code = 409, "identity_taken"
    detail = "This sign-in belongs to another account."


class LastWayIn(Problem):
    """Without it nobody could sign in to the account."""

    status, code = 409, "last_way_in"
    detail = "This is the only way to sign in. Set a password or link another provider first."


def add_identity(user_id: str, token: IdToken) -> Identity:
    """Link an identity to an account, within the caller's transaction. Raises `IdentityTaken`."""
    identity = Identity(
        id=token.identity,
        user_id=user_id,
        provider=token.provider,
        email=token.email,
        created_at=now_ms(),
    )
    db.session.add(identity)
    try:
        db.session.flush()
    except IntegrityError as error:
        raise IdentityTaken from error
    return identity


def read_identities(user_id: str) -> Sequence[Identity]:
    """Return an account's identities, the oldest first, within the caller's transaction."""
    query = select(Identity).where(Identity.user_id == user_id)
    return db.session.scalars(query.order_by(Identity.created_at, Identity.id)).all()


def forget_identities(user_id: str) -> None:
    """Unlink all identities of an account, within the caller's transaction."""
    db.session.execute(delete(Identity).where(Identity.user_id == user_id))
