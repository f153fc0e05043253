"""Settings of the auth service alone."""

import re
from pathlib import Path
from typing import Any

from environs import Env, ValidationError, validate

from shared.config import load_accounts, readable

POSITIVE = validate.Range(min=1)


def is_link(text: str) -> None:
    """Refuse what no path can be put behind."""
    if text and not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s?#]*", text):
        raise ValidationError("Write a URL without a query, https://api.example.com for one.")


def is_folder(path: str) -> None:
    """Refuse what is no folder."""
    if path and not Path(path).is_dir():
        raise ValidationError("No folder.")


def load(env: Env) -> dict[str, Any]:
    """Load and validate this service's settings."""
    accounts = load_accounts(env)
    # A link that leads nowhere is found out by those who need it.
    default = {} if accounts["MAIL_URL"] else {"default": ""}
    return accounts | {
        "APP_LINK": env.str("APP_LINK", "", validate=is_link),
        "MAIL_TEMPLATES": env.str("MAIL_TEMPLATES", "", validate=is_folder),
        "PUBLIC_URL": env.str("PUBLIC_URL", validate=is_link, **default),
        "JWT_PRIVATE_KEY_FILE": env.path("JWT_PRIVATE_KEY_FILE", validate=readable),
        "REFRESH_REPEAT_SECONDS": env.int("REFRESH_REPEAT_SECONDS", 30, validate=POSITIVE),
        "REQUIRE_VERIFIED_EMAIL": env.bool("REQUIRE_VERIFIED_EMAIL", False),
        "REFRESH_TOKEN_SECONDS": env.int(
            "REFRESH_TOKEN_SECONDS", 7 * 24 * 60 * 60, validate=POSITIVE
        ),
        "SESSION_SECONDS": env.int("SESSION_SECONDS", 90 * 24 * 60 * 60, validate=POSITIVE),
    }
