"""Minting tokens. The private key is known to this service alone."""

import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flask import Flask, current_app

from services.auth.sessions import Grant
from shared.auth.tokens import ALGORITHM, jwk
from shared.now import now_ms


def init_app(app: Flask) -> None:
    """Load the private key; refuse to start with one whose tokens nobody would accept."""
    path = app.config["JWT_PRIVATE_KEY_FILE"]
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} is not an Ed25519 private key")
    kid = jwk(key.public_key())["kid"]
    if kid not in app.extensions["public_keys"].current().by_kid:
        raise ValueError(f"{app.config['JWT_PUBLIC_KEYS_FILE']} lacks the public key of {path}")
    app.extensions["signing_key"] = kid, key


def mint_pair(grant: Grant) -> dict[str, Any]:
    """Return a new access token, and the refresh token of `grant`: the same text for the same grant.

    The same text, because Ed25519 signatures are deterministic and every claim comes from the
    grant: so a repeated refresh is answered alike though no token is stored.
    """
    now = now_ms() // 1000
    # Not beyond its session's end.
    expires = min(grant.access_until, grant.expires_at) // 1000
    issued = grant.issued_at // 1000
    return {
        "access_token": _mint(grant, "access", uuid.uuid4().hex, now, expires),
        "refresh_token": _mint(
            grant, "refresh", grant.refresh_jti, issued, grant.expires_at // 1000
        ),
        "token_type": "Bearer",
        "expires_in": max(expires - now, 0),
    }


def _mint(grant: Grant, kind: str, jti: str, issued: int, expires: int) -> str:
    config = current_app.config
    kid, key = current_app.extensions["signing_key"]
    claims = {
        # First, so that the gateway finds the user in it without reading JSON.
        "sub": grant.user_id,
        "sid": grant.session_id,
        "jti": jti,
        "type": kind,
        "iss": config["JWT_ISSUER"],
        "aud": config["JWT_AUDIENCE"],
        "iat": issued,
        "nbf": issued,
        "exp": expires,
    }
    return jwt.encode(claims, key, ALGORITHM, headers={"kid": kid})
