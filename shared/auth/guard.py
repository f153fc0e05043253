"""Authentication of requests: the access token of a request becomes `g.caller`, or the answer is 401.

flask-jwt-extended verifies a token that is new to the process; what it asks for at each step is below, in
its order. One that was verified before is asked about in the same order, and nothing else is done again.
"""

import re
from typing import Any

from flask import Flask, Response, current_app, g, request
from flask_jwt_extended import get_current_user, verify_jwt_in_request

from shared.auth import revocations, sessions, tokens
from shared.auth.sessions import Caller
from shared.web import bounds
from shared.web.errors import Unauthorized, to_response

Claims = dict[str, Any]

#: One spelling of each token, since limits go by it: one blank, no padding, nothing behind it. A
#: signature's last character stands for two bits, so that only four of them are canonical.
BEARER = re.compile(r"(?i:bearer) ([\w-]+\.[\w-]+\.[\w-]{85}[AQgw])", re.ASCII)

#: What is said of a token whose session has ended.
HAS_ENDED = "The session of this token has ended."


def bearer_token() -> str | None:
    """Return the token of `Authorization: Bearer <token>`, or None when there is no such header."""
    given = BEARER.fullmatch(request.headers.get("Authorization", ""))
    return given and given[1]


def require_access_token() -> None:
    """Guard of a blueprint: set `g.caller`. Raises `Unauthorized` and `RateLimited`."""
    token = bearer_token()
    if token is None or request.method == "OPTIONS":
        # The extension takes other spellings too, and lets OPTIONS pass without any token.
        raise Unauthorized
    claims = tokens.remembered(token)
    if claims is None:
        # It knows the scheme by one case.
        request.environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        verify_jwt_in_request()
        g.caller = get_current_user()
        return
    # What the extension would ask about a token of which it has seen nothing else.
    caller = None if is_revoked({}, claims) else find_caller({}, claims)
    if caller is None:
        raise Unauthorized(HAS_ENDED)
    g.caller = caller


def is_revoked(_header: Claims, claims: Claims) -> bool:
    """Return whether Redis knows that the session has ended. Raises `RateLimited`."""
    # Here it is first known who calls, and nothing was asked of Redis or the database yet.
    bounds.hold_place_of(claims["sub"])
    # A service that reads the account with each request hears from the same row of its session.
    reads_account = current_app.extensions["find_caller"] is sessions.FIND_ACCOUNT
    g.session_in_redis = answer = None if reads_account else revocations.check(claims)
    return answer is not None and answer.is_revoked


def find_caller(_header: Claims, claims: Claims) -> Caller | None:
    """Return the caller, None when the database knows that the session has ended."""
    answer = g.session_in_redis
    if answer is None:
        query = current_app.extensions["find_caller"]
        return sessions.find_caller(claims["sub"], claims["sid"], query)
    return Caller(claims["sub"], claims["sid"], answer.clock)


def init_app(app: Flask) -> None:
    """Load the public keys, and tell flask-jwt-extended what a revoked token, a user and an error are."""
    manager = tokens.init_app(app)
    app.extensions["find_caller"] = sessions.FIND_CALLER
    manager.token_in_blocklist_loader(is_revoked)
    manager.user_lookup_loader(find_caller)

    @manager.revoked_token_loader
    @manager.user_lookup_error_loader
    def has_ended(_header: Claims, _claims: Claims) -> Response:
        return to_response(Unauthorized(HAS_ENDED))

    @manager.expired_token_loader
    def is_expired(_header: Claims, claims: Claims) -> Response:
        return to_response(tokens.expired(claims))

    @manager.invalid_token_loader
    @manager.unauthorized_loader
    def is_invalid(_why: str) -> Response:
        return to_response(Unauthorized())
