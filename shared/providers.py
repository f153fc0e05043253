"""Whose ID tokens sign people in: `OIDC_PROVIDERS_FILE` (docs/accounts.md, "Sign-in by provider")."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from shared.mail_url import is_loopback

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
FORM = (
    'Write [providers.google], issuer = "https://accounts.google.com", client_ids = ["…"] for each '
    "provider, its name in lower case, up to 32 characters."
)


@dataclass(frozen=True)
class Provider:
    """An OpenID provider, and the apps whose tokens are taken."""

    name: str
    #: Exactly as the tokens' `iss` and the provider's own description have it.
    issuer: str
    client_ids: tuple[str, ...]


def read_providers(path: str) -> dict[str, Provider]:
    """Return the providers of a file by name; none without a file. Raises `OSError` and `ValueError`."""
    if not path:
        return {}
    given = tomllib.loads(Path(path).read_text())
    if given.keys() - {"providers"}:
        raise ValueError(FORM)
    providers = given.get("providers")
    if not isinstance(providers, dict):
        raise ValueError(FORM)
    return {name: _provider(name, values) for name, values in providers.items()}


def _provider(name: str, values: Any) -> Provider:
    if not NAME.fullmatch(name) or not isinstance(values, dict):
        raise ValueError(FORM)
    issuer, client_ids = values.get("issuer"), values.get("client_ids")
    if values.keys() != {"issuer", "client_ids"} or not isinstance(client_ids, list):
        raise ValueError(f"{name}: {FORM}")
    if not client_ids or not all(isinstance(one, str) and one for one in client_ids):
        raise ValueError(f"{name}: client_ids is a list of texts, one at least.")
    if not isinstance(issuer, str) or not is_safe(issuer) or {"?", "#"} & set(issuer):
        raise ValueError(f"{name}: issuer is an https:// URL without a query.")
    return Provider(name, issuer, tuple(client_ids))


def is_safe(url: str) -> bool:
    """Return whether nobody on the way can change what a URL answers: https, or this machine itself."""
    try:
        parts: SplitResult = urlsplit(url)
        host = parts.hostname or ""
        # Read for its errors.
        _ = parts.port
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
