"""Request bodies of the auth service (docs/api.md, "Auth service")."""

from shared.accounts.passwords import NewPassword, Password
from shared.web.schemas import EMAIL_LENGTH, Body, Email, Name, Text

#: Several times what ours have, and less than a server takes in a header.
TOKEN_LENGTH = 4096


class RegisterBody(Body):
    """A new account, and its first session."""

    email = Email(required=True)
    password = NewPassword(required=True)
    name = Name(load_default=None)
    device_name = Name(data_key="deviceName", load_default=None)


class LoginBody(Body):
    """Credentials of an existing account. Rules for new ones do not apply."""

    email = Text(EMAIL_LENGTH, required=True)
    password = Password(required=True)
    device_name = Name(data_key="deviceName", load_default=None)


class RefreshTokenBody(Body):
    """A refresh token, for clients that do not send it as Bearer token."""

    refresh_token = Text(TOKEN_LENGTH, data_key="refreshToken", load_default=None, allow_none=True)
