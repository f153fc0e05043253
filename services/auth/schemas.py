"""Request bodies of the auth service (API.md, "Auth service")."""

from marshmallow import fields, validate

from shared.schemas import NAME_LENGTH, PASSWORD_LENGTH, Body, Email, Text


class RegisterBody(Body):
    """A new account, and its first session."""

    email = Email(required=True)
    password = Text(required=True, validate=PASSWORD_LENGTH)
    name = Text(load_default=None, allow_none=True, validate=validate.Length(max=NAME_LENGTH))
    device_name = Text(
        data_key="deviceName",
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=NAME_LENGTH),
    )


class LoginBody(Body):
    """Credentials of an existing account. Rules for new passwords do not apply to old ones."""

    email = Text(required=True)
    password = Text(required=True, validate=validate.Length(max=PASSWORD_LENGTH.max))
    device_name = RegisterBody._declared_fields["device_name"]


class RefreshTokenBody(Body):
    """A refresh token, for clients that do not send it as Bearer token."""

    refresh_token = fields.String(data_key="refreshToken", load_default=None, allow_none=True)
