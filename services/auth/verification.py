"""Proving that an e-mail is one's own: at the beginning, and before a changed one takes effect."""

import logging

from sqlalchemy import or_, select

from shared.accounts import codes
from shared.accounts.codes import VERIFY, InvalidCode
from shared.accounts.mail import require_mail
from shared.accounts.users import lock_user, set_email
from shared.auth.sessions import Caller
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import User
from shared.web.errors import Unauthorized

log = logging.getLogger("audit")


def send_verification_code(caller: Caller) -> None:
    """Send a code to the address that the caller's account is to have. Raises `MailNotConfigured`."""
    require_mail()
    if _send(caller.user_id):
        log.info("verification_requested")


@transaction
def _send(user_id: str) -> bool:
    user = db.session.get(User, user_id)
    if user is None:
        # Deleted since the guard let the caller in.
        raise Unauthorized
    return codes.send_code(VERIFY, user.pending_email or user.email, user_id)


def verify_email(email: str, code: str) -> None:
    """Take an e-mail for verified; one that waits for that takes effect.

    Raises `InvalidCode`, `MailNotConfigured`, or `EmailTaken` when it became somebody else's meanwhile.
    """
    email = email.strip().lower()
    # Several accounts may wait for the same address: it is theirs who have the code.
    waiting = select(User.id).where(or_(User.email == email, User.pending_email == email))
    user_id = codes.check_code(VERIFY, waiting, email, code)
    is_new = _verify(user_id, email, code)
    log.info("email_changed" if is_new else "email_verified", extra={"user_id": user_id})


@transaction
def _verify(user_id: str, email: str, code: str) -> bool:
    user = lock_user(user_id)
    # Deleted since, or it has another address by now.
    if user is None or email not in (user.email, user.pending_email):
        raise InvalidCode
    codes.use_code(VERIFY, user_id, email, code)
    is_new = email != user.email
    set_email(user, email, is_verified=True)
    return is_new
