"""Request bodies and parameters of the users service (docs/api.md, "Users service")."""

from marshmallow import fields, validate

from shared.accounts.passwords import NewPassword, Password
from shared.web.schemas import Body, Email, Name, Text

ROLES = ("user", "admin")


class ProfileBody(Body):
    """What somebody may change about themselves."""

    name = Name()
    email = Email()
    current_password = Password(data_key="currentPassword")


class NewPasswordBody(Body):
    """A new password, confirmed by the present one."""

    current_password = Password(data_key="currentPassword", required=True)
    new_password = NewPassword(data_key="newPassword", required=True)


class ConfirmBody(Body):
    """The password that confirms what cannot be undone."""

    password = Password(required=True)


class AccountBody(Body):
    """What an administrator may change about an account."""

    name = Name()
    email = Email()
    is_active = fields.Boolean(data_key="isActive", truthy={True}, falsy={False})
    role = fields.String(validate=validate.OneOf(ROLES))


class NewAccountBody(AccountBody):
    """A new account, made by an administrator."""

    email = Email(required=True)
    password = NewPassword(required=True)


class ListParameters(Body):
    """Which accounts to list."""

    limit = fields.Integer(load_default=50, validate=validate.Range(min=1, max=200))
    offset = fields.Integer(load_default=0, validate=validate.Range(min=0, max=2**31))
    q = Text(255, load_default="")
