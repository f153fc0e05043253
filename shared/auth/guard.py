"""Who is calling: the access token of a request becomes `g.caller`, or the answer is 401."""

import re

from flask import Flask, g, request

from shared.auth import sessions, tokens
from shared.web import bounds
from shared.web.errors import Unauthorized

#: One spelling of each token, since limits go by it: one blank, no padding, nothing behind it. A
#: signature's last character stands for two bits, so that only four of them are canonical.
BEARER = re.compile(r"(?i:bearer) ([\w-]+\.[\w-]+\.[\w-]{85}[AQgw])", re.ASCII)


def init_app(app: Flask) -> None:
    """Load the public keys."""
    tokens.init_app(app)


def bearer_token() -> str | None:
    """Return the token of `Authorization: Bearer <token>`, or None when there is no such header."""
    given = BEARER.fullmatch(request.headers.get("Authorization", ""))
    return given and given[1]


def require_access_token() -> None:
    """Guard of a blueprint: set `g.caller`. Raises `Unauthorized` and `RateLimited`."""
    token = bearer_token()
    if token is None:
        raise Unauthorized
    claims = tokens.verify_access(token)
    bounds.hold_place_of(claims["sub"])
    g.caller = sessions.find_caller(claims["sub"], claims["sid"])
    if g.caller is None:
        raise Unauthorized("The session of this token has ended.")
