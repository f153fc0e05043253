"""Mails that a development stack shows."""

import re
from typing import Any

from tests.api import Api, Device

CODE = re.compile(r"^[0-9A-Z]{11,}$", re.MULTILINE)


def mails(api: Api, email: str, about: str = "") -> list[dict[str, Any]]:
    """The mails of an address whose subject has `about` in it, the newest first."""
    with api.client.open("/mail/messages.json") as response:
        shown: list[dict[str, Any]] = response.json
    return [mail for mail in shown if mail["to"] == email and about in mail["subject"]]


def newest_code(api: Api, email: str, about: str) -> str:
    [code] = CODE.findall(mails(api, email, about)[0]["text"])
    return str(code)


def verification_code(api: Api, email: str) -> str:
    return newest_code(api, email, "verify")


def forgot(api: Api, email: str) -> str:
    """Ask for a code for a new password; return the newest that the address has."""
    answer = api.post("/auth/password/forgot", {"email": email})
    assert (answer.status_code, answer.data) == (202, b"")
    return newest_code(api, email, "new password")


def verify(device: Device, email: str | None = None) -> None:
    """Verify an e-mail of a device's user with the code that was sent there."""
    email = email or device.email
    body = {"email": email, "code": verification_code(device.api, email)}
    answer = device.api.post("/auth/email/verify", body)
    assert answer.status_code == 204, answer.text
