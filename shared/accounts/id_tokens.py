"""Verifying ID tokens of OpenID providers (docs/api.md, "Sign-in by provider")."""

import hashlib
import hmac
import logging
from dataclasses import dataclass
from typing import Any

import jwt
from flask import Flask, current_app
from jwt.exceptions import InvalidTokenError, PyJWTError
from marshmallow import ValidationError

from shared.accounts.digests import digest
from shared.accounts.issuers import issuer_of
from shared.now import now_ms
from shared.providers import Provider, read_providers
from shared.web.errors import Fault, Problem
from shared.web.schemas import Body, Email, Text

log = logging.getLogger("audit")

#: Signatures that only the provider can make.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
LEEWAY_S = 60
#: What confirms a change was issued so long ago at most.
MAX_AGE_S = 10 * 60
REQUIRED = ["iss", "aud", "sub", "exp", "iat"]

#: Several times what providers send.
TOKEN_LENGTH = 16 * 1024
NONCE_LENGTH = 255
#: As OpenID Connect has it.
MAX_SUBJECT = 255


class InvalidIdToken(Problem):
    """Not a token of the provider, for this app, now; or not of an identity of the caller's."""

    status, code = 403, "invalid_id_token"
    detail = "The ID token is not valid here. Sign in with the provider again."


@dataclass(frozen=True)
class IdToken:
    """What a verified token says."""

    provider: str
    #: What stands for the issuer's subject.
    identity: str
    #: In lower case; None when there is none that could be an address.
    email: str | None
    email_verified: bool
    #: Seconds.
    issued_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether it is young enough to confirm a change."""
        return now_ms() / 1000 - self.issued_at <= MAX_AGE_S


class ProviderName(Text):
    """The name of a provider that is configured."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(32, **kwargs)

    def _validate(self, value: Any) -> None:
        super()._validate(value)
        if value not in providers():
            raise ValidationError(Fault("There is no such provider.", "unknown_provider"))


class IdTokenBody(Body):
    """An ID token, and what the app gave the provider to put into it."""

    provider = ProviderName(required=True)
    id_token = Text(TOKEN_LENGTH, required=True)
    nonce = Text(NONCE_LENGTH, load_default=None, allow_none=True)


def init_app(app: Flask) -> None:
    """Load the providers that the service was configured with."""
    app.extensions["providers"] = read_providers(app.config["OIDC_PROVIDERS_FILE"])


def providers() -> dict[str, Provider]:
    """Return the configured providers by name."""
    configured: dict[str, Provider] = current_app.extensions["providers"]
    return configured


def verify(provider: str, id_token: str, nonce: str | None) -> IdToken:
    """Return what a token of a configured provider says. Raises `InvalidIdToken`, `ProviderUnavailable`."""
    try:
        claims = _decode(providers()[provider], id_token)
        return _read(provider, claims, nonce)
    # The others are for half a surrogate pair in a claim, and for a time beyond all numbers.
    except (PyJWTError, UnicodeEncodeError, OverflowError) as error:
        log.warning("id_token_refused", extra={"provider": provider, "cause": str(error)[:100]})
        raise InvalidIdToken from error


def _decode(provider: Provider, id_token: str) -> dict[str, Any]:
    header = jwt.get_unverified_header(id_token)
    # Before the issuer is asked for any key.
    if header.get("alg") not in ALGORITHMS or not isinstance(header.get("kid"), str):
        raise InvalidTokenError("no algorithm of ours, or no kid")
    key = issuer_of(provider.issuer).find_key(header["kid"])
    if key is None:
        raise InvalidTokenError("unknown kid")
    claims: dict[str, Any] = jwt.decode(
        id_token,
        key,
        algorithms=ALGORITHMS,
        issuer=provider.issuer,
        audience=provider.client_ids,
        leeway=LEEWAY_S,
        options={"require": REQUIRED, "enforce_minimum_key_length": True},
    )
    return claims


def _read(provider: str, claims: dict[str, Any], nonce: str | None) -> IdToken:
    if not fits(claims.get("nonce"), nonce):
        raise InvalidTokenError("another nonce")
    if not 0 < len(claims["sub"]) <= MAX_SUBJECT:
        raise InvalidTokenError("no subject")
    try:
        email = Email().deserialize(claims.get("email"))
    except ValidationError:
        email = None
    # The sign for Kelvin is a "k" in lower case, and the address somebody else's.
    if email and email.isascii() and not claims["email"].isascii():
        email = None
    verified = claims.get("email_verified")
    return IdToken(
        provider=provider,
        identity=digest(claims["iss"], claims["sub"]),
        email=email,
        # Apple writes it as text.
        email_verified=verified is True or verified == "true",
        issued_at=float(claims["iat"]),
    )


def fits(claimed: Any, nonce: str | None) -> bool:
    """Return whether a token has the nonce that was sent, or its SHA-256 as Apple has it; or neither."""
    if claimed is None or nonce is None:
        return claimed is nonce
    hashed = hashlib.sha256(nonce.encode()).hexdigest()
    # Both are compared, so that the time tells nothing.
    same = [hmac.compare_digest(str(claimed).encode(), one.encode()) for one in (nonce, hashed)]
    return isinstance(claimed, str) and any(same)
