"""The calls of docs/api.md, "Users service"."""

from typing import Any

from flask import Blueprint, Response, g

from services.users import accounts, administration, schemas
from services.users.accounts import WrongPassword
from services.users.export import export_account
from shared.accounts.lockout import TooManyAttempts
from shared.accounts.users import EmailTaken, LastAdmin
from shared.auth.guard import require_access_token
from shared.auth.sessions import completed
from shared.models import User
from shared.web.calls import call
from shared.web.errors import Forbidden, NotFound
from shared.web.schemas import UserSchema
from shared.web.streams import stream

Fields = dict[str, Any]

me = Blueprint("me", __name__, url_prefix="/v1/users/me")
me.before_request(require_access_token)
admin = Blueprint("admin", __name__, url_prefix="/v1/users")
admin.before_request(require_access_token)


@admin.before_request
def require_admin() -> None:
    """Reject callers who are not administrators."""
    if completed(g.caller).role != "admin":
        raise Forbidden


@me.get("")
@call(answers=UserSchema)
def read_me() -> Response:
    """Return one's own profile."""
    return Response(accounts.read_profile(g.caller), mimetype="application/json")


@me.patch("")
@call(
    takes=schemas.ProfileBody,
    answers=UserSchema,
    errors=(WrongPassword, EmailTaken, TooManyAttempts),
)
def change_me(changes: Fields) -> User:
    """Change one's own name or e-mail."""
    return accounts.change_profile(g.caller, changes)


@me.put("/password")
@call(takes=schemas.NewPasswordBody, errors=(WrongPassword, TooManyAttempts))
def change_my_password(body: Fields) -> None:
    """Change one's own password."""
    accounts.change_password(g.caller, **body)


@me.delete("")
@call(takes=schemas.ConfirmBody, errors=(WrongPassword, TooManyAttempts, LastAdmin))
def delete_me(body: Fields) -> None:
    """Delete one's own account and all its data."""
    accounts.delete_account(g.caller, **body)


@me.get("/export")
@call(answers=schemas.ExportSchema)
def export_me() -> Response:
    """Export all that is stored about oneself, as a download."""
    response = stream(export_account(g.caller))
    response.headers["Content-Disposition"] = 'attachment; filename="export.json"'
    return response


@admin.get("")
@call(takes=schemas.ListParameters, answers=schemas.UsersSchema)
def list_users(parameters: Fields) -> Fields:
    """List accounts, by page and search."""
    users, total = administration.list_users(**parameters)
    page = {"limit": parameters["limit"], "offset": parameters["offset"]}
    return {"users": users, "total": total, **page}


@admin.post("")
@call(takes=schemas.NewAccountBody, answers=UserSchema, status=201, errors=(EmailTaken,))
def create_user(body: Fields) -> User:
    """Make an account."""
    return administration.create_user(**body)


@admin.get("/<id:user_id>")
@call(answers=UserSchema, errors=(NotFound,))
def read_user(user_id: str) -> User:
    """Return an account."""
    return administration.read_user(user_id)


@admin.patch("/<id:user_id>")
@call(takes=schemas.AccountBody, answers=UserSchema, errors=(NotFound, EmailTaken, LastAdmin))
def change_user(changes: Fields, user_id: str) -> User:
    """Change an account."""
    return administration.change_user(user_id, changes)


@admin.delete("/<id:user_id>")
@call(errors=(NotFound, LastAdmin))
def delete_user(user_id: str) -> None:
    """Delete an account and all its data."""
    administration.delete_user(user_id)
