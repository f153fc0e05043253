"""Request bodies of the auth service (docs/api.md, "Auth service")."""

from shared.passwords import NewPassword, Password
from shared.schemas import Body, Email, Name, Text


class RegisterBody(Body):
    """A new account, and its first session."""

    email = Email(required=True)
    password = NewPassword(required=True)
    name = Name(load_default=None)
    device_name = Name(data_key="deviceName", load_default=None)


class LoginBody(Body):
    """Credentials of an existing account. Rules for new ones do not apply."""

    email = Text(required=True)
    password = Password(required=True)
    device_name = Name(data_key="deviceName", load_default=None)


class RefreshTokenBody(Body):
    """A refresh token, for clients that do not send it as Bearer token."""

    refresh_token = Text(data_key="refreshToken", load_default=None, allow_none=True)
