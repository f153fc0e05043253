"""Request bodies and answers of the auth service (docs/api.md, "Auth service")."""

from marshmallow import fields, validate

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
