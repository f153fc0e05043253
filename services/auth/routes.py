"""The calls of docs/api.md, "Auth service"."""

from typing import Any

from flask import Blueprint, current_app, g, request

from services.auth import (
    credentials,
    federation,
    recovery,
    rotation,
    schemas,
    sessions,
    signing,
    verification,
)
from shared.accounts.codes import InvalidCode
from shared.accounts.id_tokens import providers
from shared.accounts.lockout import TooManyAttempts
from shared.accounts.mail import MailNotConfigured, has_mail
from shared.accounts.users import EmailTaken
from shared.auth import tokens
from shared.auth.guard import bearer_token, require_access_token
from shared.web.calls import Created, call
from shared.web.errors import NotFound, Unauthorized

Fields = dict[str, Any]

#: Open to everybody: these calls take credentials, or a token that may be a refresh token.
public = Blueprint("public", __name__, url_prefix="/v1/auth")
protected = Blueprint("protected", __name__, url_prefix="/v1/auth")
protected.before_request(require_access_token)


@public.post("/register")
@call(
    takes=schemas.RegisterBody,
    answers=schemas.SignedInSchema,
    status=201,
    errors=(EmailTaken,),
)
def register(body: Fields) -> Fields:
    """Open an account and a session."""
    user, grant = credentials.register(**body, lifetimes=lifetimes())
    return signing.mint_pair(grant) | {"user": user}


@public.post("/login")
@call(
    takes=schemas.LoginBody,
    answers=schemas.SignedInSchema,
    errors=(
        credentials.InvalidCredentials,
        credentials.AccountDisabled,
        credentials.EmailNotVerified,
        TooManyAttempts,
    ),
)
def login(body: Fields) -> Fields:
    """Begin a session of an existing account."""
    needs_verified = current_app.config["REQUIRE_VERIFIED_EMAIL"]
    user, grant = credentials.login(
        **body, client=request.remote_addr, lifetimes=lifetimes(), needs_verified=needs_verified
    )
    return signing.mint_pair(grant) | {"user": user}


@public.get("/methods")
@call(answers=schemas.MethodsSchema)
def list_methods() -> Fields:
    """Say how people may sign in here."""
    return {"password": True, "mail": has_mail(), "providers": list(providers().values())}


@public.post("/oidc")
@call(
    takes=schemas.SignInBody,
    answers=schemas.SignedInSchema,
    errors=(
        federation.InvalidIdToken,
        federation.AccountExists,
        credentials.AccountDisabled,
        credentials.EmailNotVerified,
    ),
    may_create=True,
)
def sign_in(body: Fields) -> Any:
    """Begin a session with a provider's ID token, in a new account if there is none yet (201)."""
    needs_verified = current_app.config["REQUIRE_VERIFIED_EMAIL"]
    user, grant, is_new = federation.sign_in(
        **body, lifetimes=lifetimes(), needs_verified=needs_verified
    )
    answer = signing.mint_pair(grant) | {"user": user}
    return Created(answer) if is_new else answer


@public.post("/refresh")
@call(
    takes=schemas.RefreshTokenBody,
    answers=schemas.TokensSchema,
    errors=(Unauthorized, tokens.TokenExpired, rotation.TokenReused),
)
def refresh(body: Fields) -> Fields:
    """Replace a refresh token by a new pair of tokens."""
    claims = tokens.verify(presented_token(body), ("refresh",))
    grant = rotation.rotate(claims["sub"], claims["sid"], claims["jti"], lifetimes())
    return signing.mint_pair(grant)


@public.post("/logout")
@call(takes=schemas.RefreshTokenBody, errors=(Unauthorized,))
def logout(body: Fields) -> None:
    """End the session of an access or refresh token, even of one that has expired."""
    claims = tokens.verify(presented_token(body), ("access", "refresh"), allow_expired=True)
    sessions.log_out(claims["sub"], claims["sid"])


@public.post("/password/forgot")
@call(takes=schemas.ForgotBody, status=202, errors=(MailNotConfigured,))
def forgot_password(body: Fields) -> None:
    """Send a code for a new password."""
    recovery.send_reset_code(**body)


@public.post("/password/reset")
@call(takes=schemas.ResetBody, errors=(InvalidCode, MailNotConfigured))
def reset_password(body: Fields) -> None:
    """Replace a forgotten password."""
    recovery.reset_password(**body)


@protected.post("/email/send-code")
@call(status=202, errors=(MailNotConfigured,))
def send_verification_code() -> None:
    """Send a code to verify the caller's e-mail."""
    verification.send_verification_code(g.caller)


@public.post("/email/verify")
@call(takes=schemas.VerifyBody, errors=(InvalidCode, EmailTaken, MailNotConfigured))
def verify_email(body: Fields) -> None:
    """Verify an e-mail; a changed one takes effect."""
    verification.verify_email(**body)


@protected.post("/logout-all")
@call()
def logout_all() -> None:
    """End every session of the account."""
    sessions.log_out_everywhere(g.caller)


@protected.get("/sessions")
@call(answers=schemas.SessionsSchema)
def list_sessions() -> Fields:
    """List the account's sessions, one for each device login."""
    return {"sessions": sessions.list_sessions(g.caller)}


@protected.delete("/sessions/<id:session_id>")
@call(errors=(NotFound,))
def end_session(session_id: str) -> None:
    """End one session of the account."""
    sessions.end_session(g.caller, session_id)


@public.get("/jwks.json")
@call(answers=schemas.JwksSchema)
def jwks() -> Fields:
    """Return the public keys that verify access tokens."""
    return {"keys": tokens.public_jwks()}


def lifetimes() -> sessions.Lifetimes:
    """Return the lifetimes that this instance was configured with."""
    configured: sessions.Lifetimes = current_app.extensions["lifetimes"]
    return configured


def presented_token(body: Fields) -> str:
    """Return `refreshToken` of the body, or else the Bearer token. Raises `Unauthorized`.

    The body's counts: HTTP libraries put the access token on every request.
    """
    token = body["refresh_token"] or bearer_token()
    if not token:
        raise Unauthorized("A token is required, as Bearer token or as refreshToken in the body.")
    return str(token)
