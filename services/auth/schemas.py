"""Request bodies and answers of the auth service (docs/api.md, "Auth service")."""

from marshmallow import fields, validate

from shared.accounts.id_tokens import IdTokenBody
from shared.accounts.passwords import NewPassword, Password
from shared.web.schemas import (
    EMAIL_LENGTH,
    Answer,
    Body,
    DeviceSession,
    Email,
    Name,
    Text,
    UserSchema,
)

#: Several times what ours have, and less than a server takes in a header.
TOKEN_LENGTH = 4096
#: A code as people type it, with whatever between its characters.
CODE_LENGTH = 64


class RegisterBody(Body):
    """A new account, and its first session."""

    email = Email(required=True)
    password = NewPassword(required=True)
    name = Name(load_default=None)
    device_name = Name(load_default=None)


class LoginBody(Body):
    """Credentials of an existing account. Rules for new ones do not apply."""

    email = Text(EMAIL_LENGTH, required=True)
    password = Password(required=True)
    device_name = Name(load_default=None)


class SignInBody(IdTokenBody):
    """An ID token, and what a new account is to be called."""

    name = Name(load_default=None)
    device_name = Name(load_default=None)


class ForgotBody(Body):
    """The e-mail of an account whose password is forgotten."""

    email = Text(EMAIL_LENGTH, required=True)


class VerifyBody(Body):
    """An e-mail, and the code that was sent there."""

    email = Text(EMAIL_LENGTH, required=True)
    code = Text(CODE_LENGTH, required=True)


class ResetBody(VerifyBody):
    """A new password, and the code that was sent for it."""

    new_password = NewPassword(required=True)


class RefreshTokenBody(Body):
    """A refresh token, for clients that do not send it as Bearer token."""

    is_optional = True

    refresh_token = Text(TOKEN_LENGTH, load_default=None, allow_none=True)


class TokensSchema(Answer):
    """An access token, and the refresh token that is exchanged for the next pair."""

    access_token = fields.String()
    refresh_token = fields.String()
    token_type = fields.String(validate=validate.Equal("Bearer"))
    expires_in = fields.Integer(metadata={"description": "Seconds."})


class SignedInSchema(TokensSchema):
    """The tokens of a new session, and whose it is."""

    user = fields.Nested(UserSchema)


class ProviderSchema(Answer):
    """A provider whose ID tokens are taken."""

    name = fields.String()
    issuer = fields.String()
    client_ids = fields.List(fields.String())


class MethodsSchema(Answer):
    """What this server offers to those who sign in."""

    password = fields.Boolean()
    mail = fields.Boolean(metadata={"description": "Whether codes are sent by mail."})
    providers = fields.List(fields.Nested(ProviderSchema))


class SessionSchema(DeviceSession):
    """A live session of the caller's account."""

    current = fields.Boolean()


class SessionsSchema(Answer):
    """All of them."""

    sessions = fields.List(fields.Nested(SessionSchema))


class JwkSchema(Answer):
    """A public key (RFC 8037)."""

    kty = fields.String()
    crv = fields.String()
    x = fields.String()
    kid = fields.String()
    use = fields.String()
    alg = fields.String()


class JwksSchema(Answer):
    """The keys that verify access tokens."""

    keys = fields.List(fields.Nested(JwkSchema))
