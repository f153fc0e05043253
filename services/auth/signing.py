"""Minting tokens. The private key is known to this service alone."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flask import Flask, current_app
from flask_jwt_extended import create_access_token, create_refresh_token

from services.auth.rotation import Grant
from shared.now import now_ms
from shared.tokens import jwk


def init_app(app: Flask) -> None:
    """Load the private key; refuse to start with one whose tokens nobody would accept."""
    path = app.config["JWT_PRIVATE_KEY_FILE"]
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} is not an Ed25519 private key")
    kid = jwk(key.public_key())["kid"]
    if kid not in app.extensions["public_keys"].current():
        raise ValueError(f"{app.config['JWT_PUBLIC_KEYS_FILE']} lacks the public key of {path}")
    app.extensions["signing_kid"] = kid
    app.extensions["flask-jwt-extended"].encode_key_loader(lambda _identity: key)


def mint_pair(grant: Grant) -> dict[str, Any]:
    """A new access token, and the refresh token of `grant`: the same text for the same grant.

    The same text, because Ed25519 signatures are deterministic and every claim comes from the
    grant: so a repeated refresh is answered alike though no token is stored.
    """
    seconds = current_app.config["ACCESS_TOKEN_SECONDS"]
    now = now_ms() // 1000
    headers = {"kid": current_app.extensions["signing_kid"]}
    issued = grant.issued_at // 1000
    return {
        "accessToken": create_access_token(
            grant.user_id,
            expires_delta=False,
            additional_headers=headers,
            additional_claims={
                "sid": grant.session_id,
                "iat": now,
                "nbf": now,
                "exp": now + seconds,
            },
        ),
        "refreshToken": create_refresh_token(
            grant.user_id,
            expires_delta=False,
            additional_headers=headers,
            additional_claims={
                "sid": grant.session_id,
                "jti": grant.refresh_jti,
                "iat": issued,
                "nbf": issued,
                "exp": grant.expires_at // 1000,
            },
        ),
        "tokenType": "Bearer",
        "expiresIn": seconds,
    }
