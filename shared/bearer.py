"""Who is calling: the access token of a request becomes `g.caller`, or the answer is 401."""

from flask import Flask, g, request

from shared import sessions, tokens
from shared.problems import Unauthorized


def init_app(app: Flask) -> None:
    """Load the public keys."""
    tokens.init_app(app)


def bearer_token() -> str | None:
    """The token of `Authorization: Bearer <token>`, or None when the header is absent or another."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def require_access_token() -> None:
    """Guard of a blueprint: set `g.caller`, or raise `Unauthorized`."""
    token = bearer_token()
    if token is None:
        raise Unauthorized
    claims = tokens.verify_access(token)
    g.caller = sessions.find_caller(claims["sub"], claims["sid"])
    if g.caller is None:
        raise Unauthorized("The session of this token has ended.")
