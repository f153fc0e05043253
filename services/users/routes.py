"""The calls of docs/api.md, "Users service"."""

from typing import Any

from flask import Blueprint, Response, g, request
from marshmallow import ValidationError

from services.users import accounts, administration, schemas
from services.users.export import export_account
from shared.auth.guard import require_access_token
from shared.web.errors import Forbidden, InvalidParameter, flatten
from shared.web.schemas import read_json, user_json
from shared.web.streams import stream

me = Blueprint("me", __name__, url_prefix="/v1/users/me")
me.before_request(require_access_token)
admin = Blueprint("admin", __name__, url_prefix="/v1/users")
admin.before_request(require_access_token)


@admin.before_request
def require_admin() -> None:
    """Everybody else is told so."""
    if g.caller.role != "admin":
        raise Forbidden


@me.get("")
def read_me() -> Response:
    """One's own profile."""
    return Response(accounts.read_profile(g.caller), mimetype="application/json")


@me.patch("")
def change_me() -> dict[str, Any]:
    """Change one's own name or e-mail."""
    changes = schemas.ProfileBody().load(read_json())
    return user_json(accounts.change_profile(g.caller, changes))


@me.put("/password")
def change_my_password() -> tuple[str, int]:
    """Change one's own password."""
    accounts.change_password(g.caller, **schemas.NewPasswordBody().load(read_json()))
    return "", 204


@me.delete("")
def delete_me() -> tuple[str, int]:
    """Delete one's own account and all its data."""
    accounts.delete_account(g.caller, **schemas.ConfirmBody().load(read_json()))
    return "", 204


@me.get("/export")
def export_me() -> Response:
    """All that is stored about oneself, as a download."""
    response = stream(export_account(g.caller))
    response.headers["Content-Disposition"] = 'attachment; filename="export.json"'
    return response


@admin.get("")
def list_users() -> dict[str, Any]:
    """Accounts, by page and search."""
    try:
        parameters = schemas.ListParameters().load(request.args.to_dict())
    except ValidationError as error:
        raise InvalidParameter(flatten(error.messages)) from error
    users, total = administration.list_users(**parameters)
    page = {"limit": parameters["limit"], "offset": parameters["offset"]}
    return {"users": [user_json(user) for user in users], "total": total, **page}


@admin.post("")
def create_user() -> tuple[dict[str, Any], int]:
    """Make an account."""
    body = schemas.NewAccountBody().load(read_json())
    return user_json(administration.create_user(**body)), 201


@admin.get("/<id:user_id>")
def read_user(user_id: str) -> dict[str, Any]:
    """An account."""
    return user_json(administration.read_user(user_id))


@admin.patch("/<id:user_id>")
def change_user(user_id: str) -> dict[str, Any]:
    """Change an account."""
    changes = schemas.AccountBody().load(read_json())
    return user_json(administration.change_user(user_id, changes))


@admin.delete("/<id:user_id>")
def delete_user(user_id: str) -> tuple[str, int]:
    """Delete an account and all its data."""
    administration.delete_user(user_id)
    return "", 204
