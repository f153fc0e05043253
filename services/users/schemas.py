"""Request bodies, parameters and answers of the users service (docs/api.md, "Users service")."""

from typing import Any

from marshmallow import fields, validate

from shared.accounts.codes import RESET, VERIFY
from shared.accounts.id_tokens import NONCE_LENGTH, TOKEN_LENGTH, IdTokenBody, ProviderName
from shared.accounts.passwords import NewPassword, Password
from shared.models.space import MEMBER_ROLES
from shared.models.tables import SyncedTable
from shared.web.records import Id, by_table, columns
from shared.web.schemas import (
    ROLES,
    Answer,
    Body,
    DeviceSession,
    Email,
    Name,
    Query,
    Text,
    Time,
    UserSchema,
)


class ConfirmedBody(Body):
    """What confirms a change of an account without a password: a fresh ID token of an identity of it."""

    provider = ProviderName()
    id_token = Text(TOKEN_LENGTH)
    nonce = Text(NONCE_LENGTH, allow_none=True)


class ProfileBody(ConfirmedBody):
    """The changes that users may make to their own account."""

    name = Name()
    email = Email()
    current_password = Password()


class NewPasswordBody(ConfirmedBody):
    """A new password, confirmed by the present one."""

    current_password = Password()
    new_password = NewPassword(required=True)


class ConfirmBody(ConfirmedBody):
    """The password that confirms what cannot be undone."""

    password = Password()


class LinkBody(IdTokenBody):
    """An ID token whose subject is to open the account."""


class AccountBody(Body):
    """The changes that an administrator may make to an account."""

    name = Name()
    email = Email()
    is_active = fields.Boolean(truthy={True}, falsy={False})
    role = fields.String(validate=validate.OneOf(ROLES))
    email_verified = fields.Boolean(truthy={True}, falsy={False})


class CodeBody(Body):
    """What a code is to be good for."""

    purpose = fields.String(required=True, validate=validate.OneOf((VERIFY, RESET)))


class NewAccountBody(AccountBody):
    """A new account, made by an administrator."""

    email = Email(required=True)
    password = NewPassword(required=True)


class ListParameters(Query):
    """The parameters that select the accounts to list."""

    limit = fields.Integer(load_default=50, validate=validate.Range(min=1, max=200))
    offset = fields.Integer(load_default=0, validate=validate.Range(min=0, max=2**31))
    q = Text(255, load_default="")


class UsersSchema(Answer):
    """A page of accounts, and how many there are in all."""

    users = fields.List(fields.Nested(UserSchema))
    total = fields.Integer(validate=validate.Range(min=0))
    limit = fields.Integer(validate=validate.Range(min=0))
    offset = fields.Integer(validate=validate.Range(min=0))


class IdentitySchema(Answer):
    """A provider that opens the account, and the e-mail that it had there."""

    provider = fields.String()
    email = fields.String(allow_none=True)
    created_at = Time()


class IdentitiesSchema(Answer):
    """All of them."""

    identities = fields.List(fields.Nested(IdentitySchema))


class ExportedSession(DeviceSession):
    """A session, live or ended."""

    revoked_at = Time(allow_none=True)


class ExportedSpace(Answer):
    """A shared space that the user is in."""

    id = fields.String()
    name = fields.String()
    role = fields.String(validate=validate.OneOf(MEMBER_ROLES))
    joined_at = Time()


def exported(table: SyncedTable) -> fields.Field[Any]:
    """Return the field of a table's records, tombstones included."""
    members = {
        "id": Id(),
        **columns(table, with_orphans=True),
        "is_deleted": fields.Boolean(data_key="_deleted"),
    }
    return fields.List(fields.Nested(Answer.from_dict(members, name=f"{table.name}.exported")))


class ExportSchema(Answer):
    """All that is stored about somebody."""

    user = fields.Nested(UserSchema)
    sessions = fields.List(fields.Nested(ExportedSession))
    identities = fields.List(fields.Nested(IdentitySchema), metadata={"optional": True})
    spaces = fields.List(fields.Nested(ExportedSpace), metadata={"optional": True})
    records = fields.Nested(lambda: by_table(Answer, exported, "ExportedRecords"))
