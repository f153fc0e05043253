"""Writing mail: a row beside whatever causes it, sent by the auth service (docs/accounts.md, "Mail")."""

import uuid
from typing import Any

import orjson
from flask import current_app
from sqlalchemy import delete, insert, select, update

from shared.accounts.digests import digest
from shared.database.base import db
from shared.database.bulk import insert_or_update
from shared.models import Mail, MailAddress, MailCode, User
from shared.now import DAY_MS, now_ms
from shared.web.errors import Problem

HOUR_MS = 60 * 60 * 1000


class MailNotConfigured(Problem):
    """A call that needs mail, on a server that sends none."""

    status, code = 501, "mail_not_configured"
    detail = "This server sends no mail."


def has_mail() -> bool:
    """Return whether mail is configured."""
    return bool(current_app.config["MAIL_URL"])


def require_mail() -> None:
    """Raise `MailNotConfigured` where no mail is configured."""
    if not has_mail():
        raise MailNotConfigured


def write_mail(
    template: str,
    user_id: str | None,
    recipient: str | None,
    content: dict[str, Any],
    life_ms: int = DAY_MS,
) -> None:
    """Put a mail into the outbox, within the caller's transaction. Without a recipient it is never sent."""
    now = now_ms()
    db.session.execute(
        insert(Mail).values(
            id=str(uuid.uuid4()),
            user_id=user_id,
            recipient=recipient,
            template=template,
            content=orjson.dumps(content).decode(),
            attempts=0,
            next_at=now,
            created_at=now,
            expires_at=now + life_ms,
        )
    )


def count_mail(kind: str, address: str) -> bool:
    """Count a mail of a kind to an address, whose row is then held; False, and nothing counted, for a
    fourth within an hour.
    """
    key, now = digest(kind, address), now_ms()
    table = MailAddress.__table__
    new = {"address_hash": key, "last_at": 0, "second_last_at": 0, "third_last_at": 0}
    keep = [("address_hash", table.c.address_hash)]
    db.session.execute(insert_or_update(table, [new], keep))
    last, second, third = db.session.execute(
        select(table.c.last_at, table.c.second_last_at, table.c.third_last_at)
        .where(table.c.address_hash == key)
        .with_for_update()
    ).one()
    # A time ahead of the clock was written by a wrong one.
    if now - HOUR_MS < third <= now:
        return False
    db.session.execute(
        update(MailAddress)
        .where(MailAddress.address_hash == key)
        .values(last_at=now, second_last_at=last, third_last_at=second)
    )
    return True


def tell(template: str, user: User, address: str, **content: str) -> None:
    """Tell an address what becomes of an account, if there is mail, within the caller's transaction.

    Three times an hour of the same: anybody may open an account with somebody else's address, and change
    it over and over.
    """
    if has_mail() and count_mail(template, address):
        write_mail(template, user.id, address, {"email": address, **content})


def tell_password_changed(user: User) -> None:
    """Tell the account's address that the password is another."""
    tell("password_changed", user, user.email)


def tell_identities_changed(user: User, template: str, provider: str) -> None:
    """Tell the account's address that a provider opens it (`identity_added`) or no longer does."""
    tell(template, user, user.email, provider=provider)


def tell_email_changed(user: User, before: str) -> None:
    """Tell the address that the account had before that it has another."""
    tell("email_changed", user, before)


def tell_email_will_change(user: User) -> None:
    """Tell the account's address that another waits to take its place."""
    tell("email_will_change", user, user.email)


def forget_mail(user_id: str) -> None:
    """Delete what waits for an account and its codes, within the caller's transaction."""
    for table in (Mail, MailCode):
        db.session.execute(delete(table).where(table.user_id == user_id))
