"""Who is calling: the access token of a request becomes `g.caller`, or the answer is 401."""

import re

from flask import Flask, g, request

from shared import sessions, tokens
from shared.problems import Unauthorized

BEARER = re.compile(r"bearer ([A-Za-z0-9._-]+)", re.IGNORECASE | re.ASCII)


def init_app(app: Flask) -> None:
    """Load the public keys."""
    tokens.init_app(app)


def bearer_token() -> str | None:
    """Return the token of `Authorization: Bearer <token>`, or None when there is no such header.

    One blank, and the characters of a JWT alone: with another spelling of the same token a limit
    per token could be walked around (docs/api.md, "Conventions" says the same of paths).
    """
    match = BEARER.fullmatch(request.headers.get("Authorization", ""))
    return match[1] if match else None


def require_access_token() -> None:
    """Guard of a blueprint: set `g.caller`, or raise `Unauthorized`."""
    token = bearer_token()
    if token is None:
        raise Unauthorized
    claims = tokens.verify_access(token)
    g.caller = sessions.find_caller(claims["sub"], claims["sid"])
    if g.caller is None:
        raise Unauthorized("The session of this token has ended.")
