"""The calls of docs/api.md, "Auth service"."""

from typing import Any

from flask import Blueprint, current_app, g, request

from services.auth import credentials, devices, rotation, schemas, signing
from shared.auth import tokens
from shared.auth.guard import bearer_token, require_access_token
from shared.web.errors import Unauthorized
from shared.web.schemas import read_json, user_json

#: Open to everybody: these calls take credentials, or a token that may be a refresh token.
public = Blueprint("public", __name__, url_prefix="/v1/auth")
protected = Blueprint("protected", __name__, url_prefix="/v1/auth")
protected.before_request(require_access_token)


@public.post("/register")
def register() -> tuple[dict[str, Any], int]:
    """Open an account and a session."""
    body = schemas.RegisterBody().load(read_json())
    user, grant = credentials.register(**body, lifetimes=lifetimes())
    return signing.mint_pair(grant) | {"user": user_json(user)}, 201


@public.post("/login")
def login() -> dict[str, Any]:
    """Begin a session of an existing account."""
    body = schemas.LoginBody().load(read_json())
    user, grant = credentials.login(**body, client=request.remote_addr, lifetimes=lifetimes())
    return signing.mint_pair(grant) | {"user": user_json(user)}


@public.post("/refresh")
def refresh() -> dict[str, Any]:
    """Replace a refresh token by a new pair of tokens."""
    claims = tokens.verify(presented_token(), ("refresh",))
    grant = rotation.rotate(claims["sub"], claims["sid"], claims["jti"], lifetimes())
    return signing.mint_pair(grant)


@public.post("/logout")
def logout() -> tuple[str, int]:
    """End the session of an access or refresh token, even of one that has expired."""
    claims = tokens.verify(presented_token(), ("access", "refresh"), allow_expired=True)
    devices.log_out(claims["sub"], claims["sid"])
    return "", 204


@protected.post("/logout-all")
def logout_all() -> tuple[str, int]:
    """End every session of the account."""
    devices.log_out_everywhere(g.caller)
    return "", 204


@protected.get("/sessions")
def list_sessions() -> dict[str, Any]:
    """The account's sessions, one for each device login."""
    return {"sessions": devices.list_sessions(g.caller)}


@protected.delete("/sessions/<id:session_id>")
def end_session(session_id: str) -> tuple[str, int]:
    """End one session of the account."""
    devices.end_session(g.caller, session_id)
    return "", 204


@public.get("/jwks.json")
def jwks() -> dict[str, Any]:
    """The public keys that verify access tokens."""
    return {"keys": tokens.public_jwks()}


def lifetimes() -> rotation.Lifetimes:
    """The lifetimes that this instance was configured with."""
    configured: rotation.Lifetimes = current_app.extensions["lifetimes"]
    return configured


def presented_token() -> str:
    """Return `refreshToken` of the body, or else the Bearer token. Raises `Unauthorized`.

    The body's counts: HTTP libraries put the access token on every request.
    """
    body = schemas.RefreshTokenBody().load(read_json(optional=True))
    token = body["refresh_token"] or bearer_token()
    if not token:
        raise Unauthorized("A token is required, as Bearer token or as refreshToken in the body.")
    return str(token)
