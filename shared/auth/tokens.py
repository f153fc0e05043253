"""Verifying tokens with public keys, chosen by `kid` (docs/api.md, "Signing")."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from flask import Flask, current_app, g
from flask_jwt_extended import JWTManager, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.algorithms import OKPAlgorithm
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidTokenError,
    PyJWTError,
)
from jwt.utils import base64url_encode

from shared.now import now_ms
from shared.web.errors import Unauthorized

log = logging.getLogger(__name__)

ALGORITHM = "EdDSA"
LEEWAY_SECONDS = 5
PEM_END = "-----END PUBLIC KEY-----"

#: Ids as we make them, and no others: a table of ASCII cannot be asked for anything else.
CLAIMED_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: Tokens that a process remembers.
MAX_VERIFIED = 4096
#: In seconds: a JavaScript number's whole range, in milliseconds.
MAX_TIME = 2**53 // 1000


class TokenExpired(Unauthorized):
    """Only the age is wrong: the app should refresh."""

    code = "token_expired"
    detail = "The token has expired."


def jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """Return `key` as a JSON Web Key (RFC 8037), its `kid` being its thumbprint (RFC 7638)."""
    own: dict[str, str] = OKPAlgorithm.to_jwk(key, as_dict=True)
    canonical = f'{{"crv":"{own["crv"]}","kty":"{own["kty"]}","x":"{own["x"]}"}}'
    kid = base64url_encode(hashlib.sha256(canonical.encode()).digest()).decode()
    return own | {"kid": kid, "use": "sig", "alg": ALGORITHM}


def read_public_keys(path: Path) -> dict[str, Ed25519PublicKey]:
    """Return the Ed25519 keys of a PEM file that may hold several, by `kid`."""
    keys = {}
    for block in path.read_text().split(PEM_END)[:-1]:
        key = load_pem_public_key((block.lstrip() + PEM_END).encode())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"{path} holds a key that is not Ed25519")
        keys[jwk(key)["kid"]] = key
    if not keys:
        raise ValueError(f"{path} holds no public key")
    return keys


class PublicKeys:
    """The keys of one reading of a file, and the claims of the access tokens that they verified.

    So a signature is computed once and not with each request, and what a key verified is forgotten
    together with the key.
    """

    def __init__(self, path: Path) -> None:
        self.read_at = path.stat().st_mtime_ns
        self.by_kid = read_public_keys(path)
        self.verified: dict[str, dict[str, Any]] = {}

    def remember(self, token: str, claims: dict[str, Any]) -> None:
        """Keep the claims of a token that one of these keys verified."""
        if len(self.verified) >= MAX_VERIFIED:
            self.verified.clear()
        self.verified[token] = claims


class KeyRing:
    """The public keys of a file, read again when it was replaced: a new key needs no restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = PublicKeys(path)

    def current(self) -> PublicKeys:
        """Return the present keys. One that was removed from the file verifies nothing any more."""
        try:
            if self.path.stat().st_mtime_ns != self.keys.read_at:
                self.keys = PublicKeys(self.path)
        except (OSError, ValueError) as error:
            # Half-written or gone for a moment: what was valid stays valid until it can be read.
            log.warning("public_keys_unreadable", extra={"cause": type(error).__name__})
        return self.keys


class TokenManager(JWTManager):
    """flask-jwt-extended, with two things that none of its loaders can do.

    A verified access token is remembered, and a token that comes from the future is ours by its
    signature: the machine's clock was set back, and nobody is to be logged out for that.
    """

    def _decode_jwt_from_config(
        self, encoded_token: str, csrf_value: str | None = None, allow_expired: bool = False
    ) -> dict[str, Any]:
        g.public_keys = keys = _key_ring().current()
        try:
            claims = super()._decode_jwt_from_config(encoded_token, csrf_value, allow_expired)
        except ImmatureSignatureError:
            claims = _decode_from_the_future(encoded_token)
        if claims["type"] == "access" and not allow_expired:
            keys.remember(encoded_token, claims)
        return claims


def _key_ring() -> KeyRing:
    ring: KeyRing = current_app.extensions["public_keys"]
    return ring


def remembered(token: str) -> dict[str, Any] | None:
    """Return the claims of an access token that one of the present keys has verified before.

    None for any other, and for one that has expired since.
    """
    claims = _key_ring().current().verified.get(token)
    if claims is None or claims["exp"] + LEEWAY_SECONDS <= now_ms() / 1000:
        return None
    return claims


def init_app(app: Flask) -> JWTManager:
    """Set flask-jwt-extended up to verify our tokens and no others."""
    app.extensions["public_keys"] = KeyRing(app.config["JWT_PUBLIC_KEYS_FILE"])
    app.config.update(
        JWT_ALGORITHM=ALGORITHM,
        # Tokens travel in headers only, and nothing random may be in a refresh token.
        JWT_COOKIE_CSRF_PROTECT=False,
        JWT_DECODE_ALGORITHMS=[ALGORITHM],
        JWT_DECODE_AUDIENCE=app.config["JWT_AUDIENCE"],
        JWT_DECODE_ISSUER=app.config["JWT_ISSUER"],
        # Two machines' clocks are never quite the same.
        JWT_DECODE_LEEWAY=LEEWAY_SECONDS,
        JWT_ENCODE_AUDIENCE=app.config["JWT_AUDIENCE"],
        JWT_ENCODE_ISSUER=app.config["JWT_ISSUER"],
    )
    manager = TokenManager(app)

    @manager.decode_key_loader
    def public_key(header: dict[str, Any], claims: dict[str, Any]) -> Ed25519PublicKey:
        # Looked at before the signature, so that nothing behind it meets a claim that it cannot read.
        if not is_well_formed(claims, app.config["JWT_AUDIENCE"]):
            raise InvalidTokenError("not the claims of our tokens")
        key: Ed25519PublicKey | None = g.public_keys.by_kid.get(header.get("kid", ""))
        if key is None:
            raise InvalidTokenError("unknown kid")
        return key

    return manager


def is_well_formed(claims: dict[str, Any], audience: str) -> bool:
    """Return whether every claim is there and of the kind that we mint (docs/api.md, "Signing")."""
    ids = [claims.get(name) for name in ("sub", "sid", "jti")]
    times = [claims.get(name) for name in ("iat", "nbf", "exp")]
    return (
        all(isinstance(id_, str) and CLAIMED_ID.fullmatch(id_) for id_ in ids)
        and all(type(time) is int and 0 <= time < MAX_TIME for time in times)
        # Without one, or with any but "refresh", flask-jwt-extended takes it for an access token.
        and claims.get("type") in ("access", "refresh")
        # RFC 7519 would take a list as well.
        and claims.get("aud") == audience
    )


def verify(token: str, kinds: tuple[str, ...], *, allow_expired: bool = False) -> dict[str, Any]:
    """Return the claims of a token of ours whose `type` is one of `kinds`.

    For calls that take a token in their body or of either type. Raises `TokenExpired` when only its age
    is wrong, else `Unauthorized`.
    """
    try:
        claims: dict[str, Any] = decode_token(token, allow_expired=allow_expired)
    except ExpiredSignatureError as error:
        raise expired(error.jwt_data, kinds) from error  # type: ignore[attr-defined]
    except (PyJWTError, JWTExtendedException) as error:
        raise Unauthorized from error
    if claims["type"] not in kinds:
        raise Unauthorized
    return claims


def expired(claims: dict[str, Any], kinds: tuple[str, ...] = ("access",)) -> Unauthorized:
    """Return the error for a token of which only the age is wrong, unless it has the wrong type too."""
    return TokenExpired() if claims["type"] in kinds else Unauthorized()


def _decode_from_the_future(token: str) -> dict[str, Any]:
    """Return the claims of a token that was issued later than now.

    Raises `InvalidTokenError` when something else is wrong with it too.
    """
    config = current_app.config
    kid = jwt.get_unverified_header(token)["kid"]
    claims: dict[str, Any] = jwt.decode(
        token,
        g.public_keys.by_kid[kid],
        algorithms=[ALGORITHM],
        audience=config["JWT_AUDIENCE"],
        issuer=config["JWT_ISSUER"],
        # One that expires after it was issued has not expired.
        options={"verify_nbf": False, "verify_iat": False, "verify_exp": False},
    )
    if max(claims["iat"], claims["nbf"]) > claims["exp"]:
        raise InvalidTokenError("expires before it was issued")
    return claims


def public_jwks() -> list[dict[str, str]]:
    """Return every key that verifies tokens now, as JWKs."""
    return [jwk(key) for key in _key_ring().current().by_kid.values()]
