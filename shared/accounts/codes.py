"""Codes that prove that somebody reads an address's mail (docs/api.md, "Codes by mail").

A code is bound to a purpose, an account and an address, lives 30 minutes and works once; five wrong tries
void it. An owner is the id of an account, or for an address without an account the address.
"""

import hmac
import logging
import re
import secrets
from typing import Any

from sqlalchemy import Select, delete, select, update

from shared.accounts import lockout
from shared.accounts.digests import digest
from shared.accounts.mail import count_mail, require_mail, write_mail
from shared.database.base import db
from shared.database.bulk import execute_count, upsert
from shared.database.transaction import transaction
from shared.models import MailCode
from shared.now import now_ms
from shared.web.errors import Problem

log = logging.getLogger("audit")

#: Purposes, and the names of the mails that carry their codes.
RESET, VERIFY = "reset", "verify"
#: What is logged of a wrong try.
FAILED = {RESET: "reset_failed", VERIFY: "verification_failed"}

LIFE_MS = 30 * 60 * 1000
MAX_FAILURES = 5
#: Crockford's Base32: no two of its characters look alike. Twelve have 60 random bits.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 12
#: What people read and type instead.
LOOKALIKES = str.maketrans("OIL", "011")


class InvalidCode(Problem):
    """Wrong, expired, used or void: which of them is not said."""

    status, code = 403, "invalid_code"
    detail = "The code is wrong or has expired. Ask for a new one."


def send_code(purpose: str, address: str, user_id: str | None) -> bool:
    """Write a mail with a new code, which voids the one before of the same account and purpose.

    Within the caller's transaction. False, and nothing written, when three such mails went to the address
    in an hour. Without an account the same is written, but never sent.
    """
    if not count_mail("address", address):
        return False
    code = _make_code(purpose, address, user_id)
    recipient = address if user_id else None
    write_mail(purpose, user_id, recipient, {"email": address, "code": code}, LIFE_MS)
    return True


def _make_code(purpose: str, address: str, user_id: str | None) -> str:
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    row: dict[str, Any] = {
        "id": code_id(purpose, user_id, address),
        "user_id": user_id,
        "code_hash": digest(purpose, address, code),
        "failures": 0,
        "expires_at": now_ms() + LIFE_MS,
    }
    table: Any = MailCode.__table__
    db.session.execute(upsert(table, row.keys() - {"id"}), row)
    return code


def check_code(purpose: str, accounts: Select[str], email: str, code: str) -> str:
    """Return whose code it is among `accounts`, which selects the ids of all that it may be.

    In a transaction of its own, since a wrong try stays counted for all of them.
    Raises `InvalidCode`, `MailNotConfigured`.
    """
    require_mail()
    owner = _check(purpose, accounts, email, code)
    if owner is None:
        log.warning(FAILED[purpose], extra={"email_hash": lockout.key(email)})
        raise InvalidCode
    return owner


@transaction
def _check(purpose: str, accounts: Select[str], email: str, code: str) -> str | None:
    owners = db.session.scalars(accounts).all()
    ids = [code_id(purpose, owner, email) for owner in owners or (None,)]
    # Held from here on.
    found = db.session.execute(
        select(MailCode.user_id, MailCode.code_hash)
        .where(
            MailCode.id.in_(ids), MailCode.expires_at > now_ms(), MailCode.failures < MAX_FAILURES
        )
        .order_by(MailCode.id)
        .with_for_update()
    )
    given = digest(purpose, email, normalize(code))
    for row in found:
        if hmac.compare_digest(row.code_hash, given):
            owner: str | None = row.user_id
            return owner
    db.session.execute(
        update(MailCode).where(MailCode.id.in_(ids)).values(failures=MailCode.failures + 1)
    )
    return None


def use_code(purpose: str, owner: str, address: str, code: str) -> None:
    """Make a checked code worthless, within the caller's transaction. Raises `InvalidCode` when it is."""
    used = execute_count(
        delete(MailCode).where(
            MailCode.id == code_id(purpose, owner, address),
            MailCode.code_hash == digest(purpose, address, normalize(code)),
            MailCode.expires_at > now_ms(),
            MailCode.failures < MAX_FAILURES,
        )
    )
    if not used:
        raise InvalidCode


def code_id(purpose: str, user_id: str | None, address: str) -> str:
    """Return what a code is kept under: its account, or without one its address.

    Apart, since anybody may give the id of an account for an address.
    """
    return digest(purpose, user_id) if user_id else digest(purpose, "address", address)


def normalize(code: str) -> str:
    """Return a code as it was made, however it was typed."""
    return re.sub(r"[\W_]", "", code).upper().translate(LOOKALIKES)
