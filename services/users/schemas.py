"""Request bodies of the users service (API.md, "Users service")."""

from marshmallow import validate

from shared.schemas import NAME_LENGTH, Body, Email, Text


class ProfileBody(Body):
    """What somebody may change about themselves."""

    name = Text(allow_none=True, validate=validate.Length(max=NAME_LENGTH))
    email = Email()
    current_password = Text(data_key="currentPassword")
