"""The first message of a socket: who is there, and what they know."""

from typing import Any

import orjson

from shared.auth import revocations, sessions, tokens
from shared.web.errors import Unauthorized


class Refused(Exception):
    """A socket that is to be closed, with which code."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason


def read_hello(text: str | bytes) -> tuple[str, int]:
    """Return the token and the tick of a first message. Raises `Refused`."""
    refused = Refused(4400, "The first message must be {accessToken, lastPulledAt}.")
    try:
        hello = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError as error:
        raise refused from error
    if not isinstance(hello, dict):
        raise refused
    token, since = hello.get("accessToken"), hello.get("lastPulledAt")
    if not isinstance(token, str) or (since is not None and (type(since) is not int or since < 0)):
        raise refused
    return token, since or 0


def verify(token: str) -> dict[str, Any]:
    """Return the claims of the access token of a session that lives. Raises `Unauthorized`."""
    claims = tokens.verify(token, ("access",))
    answer = revocations.check(claims)
    if answer is None:
        is_alive = sessions.find_caller(claims["sub"], claims["sid"]) is not None
    else:
        is_alive = not answer.is_revoked
    if not is_alive:
        raise Unauthorized("The session of this token has ended.")
    return claims
