"""Getting back into an account whose password is forgotten."""

import logging

from sqlalchemy import Select, select

from shared.accounts import codes, lockout
from shared.accounts.codes import RESET, InvalidCode
from shared.accounts.identities import forget_identities
from shared.accounts.mail import require_mail, tell_password_changed
from shared.accounts.passwords import hash_password
from shared.accounts.users import bump_version, lock_user
from shared.auth.revocations import Ended, announce
from shared.auth.sessions import end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import User

log = logging.getLogger("audit")


def send_reset_code(email: str) -> None:
    """Send a code for a new password, if there is such an account. Raises `MailNotConfigured`.

    An address without an account costs the same statements, so that the time does not tell.
    """
    require_mail()
    email = email.strip().lower()
    if _send(email):
        log.info("reset_requested", extra={"email_hash": lockout.key(email)})


@transaction
def _send(email: str) -> bool:
    return codes.send_code(RESET, email, db.session.scalar(_accounts(email)))


def reset_password(email: str, code: str, new_password: str) -> None:
    """Replace a forgotten password, or give an account its first.

    Sessions, a lockout and a change of the e-mail end with it.

    Raises `InvalidCode`, `MailNotConfigured`.
    """
    email = email.strip().lower()
    # Before hashing, which is slow on purpose.
    user_id = codes.check_code(RESET, _accounts(email), email, code)
    ended = _reset(user_id, email, code, hash_password(new_password))
    announce(user_id, ended)
    log.info("password_reset", extra={"user_id": user_id, "sessions": len(ended)})


def _accounts(email: str) -> Select[str]:
    return select(User.id).where(User.email == email)


@transaction
def _reset(user_id: str, email: str, code: str, hashed: str) -> list[Ended]:
    user = lock_user(user_id)
    # Deleted since, or its e-mail is another by now.
    if user is None or user.email != email:
        raise InvalidCode
    codes.use_code(RESET, user_id, email, code)
    user.password = hashed
    if not user.email_verified:
        # Whoever opened the account may not be who reads its mail, and is not to stay in it.
        forget_identities(user_id)
    user.email_verified = True
    # Whoever asked for that may be the one who is to be locked out.
    user.pending_email = None
    bump_version(user)
    lockout.lift(email)
    tell_password_changed(user)
    return end_sessions(user_id)
