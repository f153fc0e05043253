"""Who is told what changes: `WEBHOOKS_FILE` (docs/webhooks.md)."""

import base64
import binascii
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.providers import is_safe

NAME = re.compile(r"[a-z0-9-]{1,32}")
#: What a URL is made of. Another character would have to be encoded, and by whom is not said.
URL = re.compile(r"[!-~]+")
SECRET = "whsec_"  # noqa: S105 (what every one begins with)
#: Bytes of a key, by the Standard Webhooks specification.
MIN_SECRET, MAX_SECRET = 24, 64
#: Each has a thread and a connection to the database.
MAX_RECEIVERS = 8
FORM = (
    'Write [webhooks.backoffice], url = "https://…", secrets = ["whsec_…"] for each receiver, its name of '
    f"a-z, 0-9 and -, up to 32 characters; {MAX_RECEIVERS} receivers at most."
)


@dataclass(frozen=True)
class Receiver:
    """A server that is told what changes."""

    name: str
    url: str
    #: The keys that requests to it are signed with, each of them.
    keys: tuple[bytes, ...] = field(repr=False)


def read_receivers(path: str) -> dict[str, Receiver]:
    """Return the receivers of a file by name; none without a file. Raises `OSError` and `ValueError`."""
    if not path:
        return {}
    given = tomllib.loads(Path(path).read_text())
    webhooks = given.get("webhooks")
    if given.keys() != {"webhooks"} or not isinstance(webhooks, dict):
        raise ValueError(FORM)
    if len(webhooks) > MAX_RECEIVERS:
        raise ValueError(FORM)
    return {name: _receiver(name, values) for name, values in webhooks.items()}


def _receiver(name: str, values: Any) -> Receiver:
    if not NAME.fullmatch(name) or not isinstance(values, dict):
        raise ValueError(FORM)
    url, secrets = values.get("url"), values.get("secrets")
    if values.keys() != {"url", "secrets"} or not isinstance(secrets, list) or not secrets:
        raise ValueError(f"{name}: {FORM}")
    if not isinstance(url, str) or not URL.fullmatch(url) or not is_safe(url) or "#" in url:
        raise ValueError(f"{name}: url is an https:// URL, or an http:// URL of this machine.")
    return Receiver(name, url, tuple(_key(name, secret) for secret in secrets))


def _key(name: str, secret: Any) -> bytes:
    """Return what a secret stands for, or raise `ValueError` without repeating it."""
    try:
        if isinstance(secret, str) and secret.startswith(SECRET):
            key = base64.b64decode(secret.removeprefix(SECRET), validate=True)
            if MIN_SECRET <= len(key) <= MAX_SECRET:
                return key
    except binascii.Error:
        pass
    raise ValueError(
        f"{name}: a secret is whsec_ and {MIN_SECRET} to {MAX_SECRET} random bytes in base64:"
        " echo whsec_$(openssl rand -base64 32)."
    )
