"""Opening an account, and proving that it is yours."""

import uuid

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from services.auth.rotation import Grant, Lifetimes, open_session
from shared.db import db, transaction
from shared.models import User
from shared.now import now_ms
from shared.passwords import hash_password, verify_password
from shared.problems import EmailTaken, Problem, Unauthorized


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
    return _register(email, hash_password(password), name, device_name, lifetimes)


@transaction
def _register(
    email: str, hashed: str, name: str | None, device_name: str | None, lifetimes: Lifetimes
) -> tuple[User, Grant]:
    now = now_ms()
    user = User(
        id=str(uuid.uuid4()),
        email=email,
        password=hashed,
        name=name,
        role="user",
        is_active=True,
        created_at=now,
        updated_at=now,
        last_modified_at=now,
    )
    db.session.add(user)
    try:
        # Written first, asked never: a look before the insert would be a race.
        db.session.flush()
    except IntegrityError as error:
        raise EmailTaken from error
    return user, open_session(user.id, device_name, lifetimes)


def login(
    email: str, password: str, device_name: str | None, lifetimes: Lifetimes
) -> tuple[User, Grant]:
    """Begin a session. Raises `InvalidCredentials`, or `AccountDisabled` after a right password."""
    with db.session.begin():
        user = db.session.scalar(select(User).where(User.email == email.strip().lower()))
    # Outside of any transaction: hashing is slow on purpose.
    if not verify_password(user.password if user else None, password) or user is None:
        raise InvalidCredentials
    if not user.is_active:
        raise AccountDisabled
    return user, _begin(user.id, device_name, lifetimes)


_begin = transaction(open_session)
