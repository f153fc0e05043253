"""Mails that a development stack keeps."""

import os
import re
from functools import cache
from typing import Any

from flask import Flask
from sqlalchemy import select

import services.auth
from services.auth.messages import write_message
from shared.database.base import db
from shared.models import Mail
from tests.api import Api, Device

CODE = re.compile(r"^[0-9A-Z]{11,}$", re.MULTILINE)


@cache
def auth_service(_database: str) -> Flask:
    """One for each backend."""
    return services.auth.create_app()


def mails(email: str, about: str = "") -> list[dict[str, Any]]:
    """The mails of an address whose subject has `about` in it, the newest first.

    They are read from the outbox: the page of the mails would write everybody's newest forty for it.
    """
    theirs = select(Mail.template, Mail.content).where(Mail.recipient == email)
    with auth_service(os.environ["DATABASE_URL"]).app_context():
        with db.session.begin():
            kept = db.session.execute(theirs.order_by(Mail.created_at.desc(), Mail.id)).all()
        found = [{"to": email} | vars(write_message(*mail)) for mail in kept]
    return [mail for mail in found if about in mail["subject"]]


def newest_code(email: str, about: str) -> str:
    [code] = CODE.findall(mails(email, about)[0]["text"])
    return str(code)


def verification_code(email: str) -> str:
    return newest_code(email, "verify")


def forgot(api: Api, email: str) -> str:
    """Ask for a code for a new password; return the newest that the address has."""
    answer = api.post("/auth/password/forgot", {"email": email})
    assert (answer.status_code, answer.data) == (202, b"")
    return newest_code(email, "new password")


def verify(device: Device, email: str | None = None) -> None:
    """Verify an e-mail of a device's user with the code that was sent there."""
    email = email or device.email
    body = {"email": email, "code": verification_code(email)}
    answer = device.api.post("/auth/email/verify", body)
    assert answer.status_code == 204, answer.text
