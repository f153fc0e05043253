"""Request bodies and answers of the calls of spaces (docs/api.md, "Spaces")."""

from typing import Any

from marshmallow import fields, validate

from shared.models.space import MEMBER_ROLES
from shared.web.schemas import NAME_LENGTH, Answer, Body, Email, Length, Text, Time


class Role(fields.String):
    """What a member may do."""

    def __init__(self, **kwargs: Any) -> None:
        explained = {
            "description": "`owner` may do everything, `writer` reads and writes rows, `reader` reads.",
            "examples": ["writer"],
        }
        super().__init__(validate=validate.OneOf(MEMBER_ROLES), metadata=explained, **kwargs)


class SpaceBody(Body):
    """What a space is called."""

    name = Text(
        NAME_LENGTH,
        Length(min=1),
        required=True,
        metadata={"description": "The name of the space.", "examples": ["Our garden"]},
    )


class RoleBody(Body):
    """What a member may do from now on."""

    role = Role(required=True)


class InvitationBody(RoleBody):
    """Whom to invite, and as what."""

    email = Email(
        required=True,
        metadata={"description": "The address of whom to invite.", "examples": ["bea@example.com"]},
    )


class SpaceSchema(Answer):
    """A space as a member sees it."""

    id = fields.String()
    name = fields.String()
    role = Role()
    created_at = Time()
    members = fields.Integer(validate=validate.Range(min=1))


class SpacesSchema(Answer):
    """The spaces that somebody is in."""

    spaces = fields.List(fields.Nested(SpaceSchema))


class MemberSchema(Answer):
    """Somebody who is in a space."""

    user_id = fields.String()
    name = fields.String(allow_none=True)
    email = fields.String()
    role = Role()
    joined_at = Time()


class MembersSchema(Answer):
    """All of them."""

    members = fields.List(fields.Nested(MemberSchema))


class InvitationSchema(Answer):
    """An open invitation, as an owner of the space sees it."""

    id = fields.String()
    email = fields.String()
    role = Role()
    expires_at = Time()


class InvitationsSchema(Answer):
    """All of them."""

    invitations = fields.List(fields.Nested(InvitationSchema))


class MyInvitationSchema(Answer):
    """An open invitation, as the invited sees it."""

    id = fields.String()
    space_id = fields.String()
    space_name = fields.String()
    role = Role()
    expires_at = Time()


class MyInvitationsSchema(Answer):
    """All of them."""

    invitations = fields.List(fields.Nested(MyInvitationSchema))
