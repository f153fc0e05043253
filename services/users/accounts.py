"""Reading and changing an account."""

from typing import Any

from sqlalchemy.exc import IntegrityError

from shared.db import db, transaction
from shared.models import User
from shared.now import now_ms
from shared.passwords import verify_password
from shared.problems import EmailTaken, Problem, Unauthorized


class WrongPassword(Problem):
    """The password that confirms a change is not the account's."""

    status, code = 403, "wrong_password"
    detail = "The password is wrong."


def read_account(user_id: str) -> User:
    """The account. Raises `Unauthorized` when it was deleted a moment ago."""
    with db.session.begin():
        user = db.session.get(User, user_id)
    if user is None:
        raise Unauthorized
    return user


def change_profile(user_id: str, changes: dict[str, Any]) -> User:
    """Set `name` and `email`, as far as given. A new e-mail needs `current_password`.

    Raises `WrongPassword`, `EmailTaken`.
    """
    changes = dict(changes)
    password = changes.pop("current_password", "")
    user = read_account(user_id)
    if changes.get("email", user.email) != user.email and not verify_password(
        user.password, password
    ):
        raise WrongPassword
    return _change(user_id, changes)


@transaction
def _change(user_id: str, changes: dict[str, Any]) -> User:
    user = db.session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise Unauthorized
    for column, value in changes.items():
        setattr(user, column, value)
    if db.session.is_modified(user):
        user.updated_at = now_ms()
    try:
        db.session.flush()
    except IntegrityError as error:
        raise EmailTaken from error
    return user
