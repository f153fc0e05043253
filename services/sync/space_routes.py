"""The calls of docs/api.md, "Spaces"."""

from typing import Any

from flask import Blueprint, current_app, g
from sqlalchemy import Row

from services.sync import invitations, spaces
from services.sync import space_schemas as schemas
from services.sync.invitations import SpaceFull, TooManyInvitations
from services.sync.spaces import LastOwner, TooManySpaces
from shared.auth.guard import require_access_token
from shared.web.calls import call
from shared.web.errors import Forbidden, NotFound

Fields = dict[str, Any]

bp = Blueprint("spaces", __name__, url_prefix="/v1/spaces")
bp.before_request(require_access_token)


@bp.post("")
@call(takes=schemas.SpaceBody, answers=schemas.SpaceSchema, status=201, errors=(TooManySpaces,))
def create_space(body: Fields) -> Row[Any]:
    """Make a space to share rows in."""
    return spaces.create_space(g.caller.user_id, **body)


@bp.get("")
@call(answers=schemas.SpacesSchema)
def list_spaces() -> Fields:
    """List the spaces that one is in."""
    return {"spaces": spaces.list_spaces(g.caller.user_id)}


@bp.patch("/<id:space_id>")
@call(takes=schemas.SpaceBody, answers=schemas.SpaceSchema, errors=(NotFound, Forbidden))
def rename_space(body: Fields, space_id: str) -> Row[Any]:
    """Give a space another name."""
    return spaces.rename_space(g.caller.user_id, space_id, **body)


@bp.delete("/<id:space_id>")
@call(errors=(NotFound, Forbidden))
def delete_space(space_id: str) -> None:
    """Delete a space and all its rows."""
    spaces.delete_space(g.caller.user_id, space_id)


@bp.get("/<id:space_id>/members")
@call(answers=schemas.MembersSchema, errors=(NotFound,))
def list_members(space_id: str) -> Fields:
    """List the members of a space."""
    return {"members": spaces.list_members(g.caller.user_id, space_id)}


@bp.patch("/<id:space_id>/members/<id:user_id>")
@call(
    takes=schemas.RoleBody,
    answers=schemas.MemberSchema,
    errors=(NotFound, Forbidden, LastOwner),
)
def change_role(body: Fields, space_id: str, user_id: str) -> Row[Any]:
    """Change what a member may do."""
    return spaces.change_role(g.caller.user_id, space_id, user_id, **body)


@bp.delete("/<id:space_id>/members/<id:user_id>")
@call(errors=(NotFound, Forbidden, LastOwner))
def remove_member(space_id: str, user_id: str) -> None:
    """Remove a member from a space, or leave it."""
    spaces.remove_member(g.caller.user_id, space_id, user_id)


@bp.post("/<id:space_id>/invitations")
@call(
    takes=schemas.InvitationBody,
    answers=schemas.InvitationSchema,
    status=201,
    errors=(NotFound, Forbidden, TooManyInvitations),
)
def invite(body: Fields, space_id: str) -> Row[Any]:
    """Invite the holder of an address into a space."""
    return invitations.invite(g.caller.user_id, space_id, **body)


@bp.get("/<id:space_id>/invitations")
@call(answers=schemas.InvitationsSchema, errors=(NotFound, Forbidden))
def list_invitations(space_id: str) -> Fields:
    """List the open invitations to a space."""
    return {"invitations": invitations.list_invitations(g.caller.user_id, space_id)}


@bp.delete("/<id:space_id>/invitations/<id:invitation_id>")
@call(errors=(NotFound, Forbidden))
def withdraw(space_id: str, invitation_id: str) -> None:
    """Withdraw an invitation."""
    invitations.withdraw(g.caller.user_id, space_id, invitation_id)


@bp.get("/invitations")
@call(answers=schemas.MyInvitationsSchema)
def list_my_invitations() -> Fields:
    """List the open invitations for oneself."""
    return {"invitations": invitations.list_my_invitations(g.caller.user_id)}


@bp.post("/invitations/<id:invitation_id>/accept")
@call(answers=schemas.SpaceSchema, errors=(NotFound, SpaceFull, TooManySpaces))
def accept(invitation_id: str) -> Row[Any]:
    """Accept an invitation."""
    max_members = current_app.config["SPACE_MAX_MEMBERS"]
    return invitations.accept(g.caller.user_id, invitation_id, max_members)


@bp.post("/invitations/<id:invitation_id>/decline")
@call(errors=(NotFound,))
def decline(invitation_id: str) -> None:
    """Decline an invitation."""
    invitations.decline(g.caller.user_id, invitation_id)
