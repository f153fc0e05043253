"""The calls of docs/api.md, "Users service"."""

from typing import Any

from flask import Blueprint, Response, g

from services.users import accounts, administration, identities, schemas
from services.users.administration import TooManyCodes
from services.users.confirmation import WrongPassword
from services.users.export import export_account
from shared.accounts.id_tokens import InvalidIdToken
from shared.accounts.identities import IdentityTaken, LastWayIn
from shared.accounts.lockout import TooManyAttempts
from shared.accounts.mail import MailNotConfigured
from shared.accounts.users import EmailTaken, LastAdmin
from shared.auth.guard import require_access_token
from shared.models import Identity, User
from shared.web.calls import call
from shared.web.errors import Forbidden, NotFound
from shared.web.schemas import UserSchema
from shared.web.streams import stream

Fields = dict[str, Any]

#: What a change that is to be confirmed may fail with.
UNCONFIRMED = (WrongPassword, TooManyAttempts, InvalidIdToken)

me = Blueprint("me", __name__, url_prefix="/v1/users/me")
me.before_request(require_access_token)
admin = Blueprint("admin", __name__, url_prefix="/v1/users")
admin.before_request(require_access_token)


@admin.before_request
def require_admin() -> None:
    """Reject callers who are not administrators."""
    if g.caller.role != "admin":
        raise Forbidden


@me.get("")
@call(answers=UserSchema)
def read_me() -> Any:
    """Return one's own profile."""
    return g.caller.profile


@me.patch("")
@call(
    takes=schemas.ProfileBody,
    answers=UserSchema,
    errors=(*UNCONFIRMED, EmailTaken),
)
def change_me(changes: Fields) -> User:
    """Change one's own name or e-mail."""
    return accounts.change_profile(g.caller, changes)


@me.put("/password")
@call(takes=schemas.NewPasswordBody, errors=UNCONFIRMED)
def change_my_password(body: Fields) -> None:
    """Change one's own password, or set the first."""
    accounts.change_password(g.caller, **body)


@me.delete("")
@call(takes=schemas.ConfirmBody, errors=(*UNCONFIRMED, LastAdmin))
def delete_me(body: Fields) -> None:
    """Delete one's own account and all its data."""
    accounts.delete_account(g.caller, body)


@me.get("/export")
@call(answers=schemas.ExportSchema)
def export_me() -> Response:
    """Export all that is stored about oneself, as a download."""
    response = stream(export_account(g.caller))
    response.headers["Content-Disposition"] = 'attachment; filename="export.json"'
    return response


@me.get("/identities")
@call(answers=schemas.IdentitiesSchema)
def list_my_identities() -> Fields:
    """List the providers that open one's own account."""
    return {"identities": identities.list_identities(g.caller.user_id)}


@me.post("/identities")
@call(
    takes=schemas.LinkBody,
    answers=schemas.IdentitySchema,
    status=201,
    errors=(InvalidIdToken, IdentityTaken),
)
def link_identity(body: Fields) -> Identity:
    """Let a provider open one's own account."""
    return identities.link(g.caller, body)


@me.delete("/identities/<id:provider>")
@call(errors=(NotFound, LastWayIn))
def unlink_identity(provider: str) -> None:
    """Let a provider open one's own account no more."""
    identities.unlink(g.caller.user_id, provider)


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


@admin.post("/<id:user_id>/send-code")
@call(takes=schemas.CodeBody, status=202, errors=(NotFound, TooManyCodes, MailNotConfigured))
def send_code(body: Fields, user_id: str) -> None:
    """Send a code to an account's address."""
    administration.send_code(user_id, **body)


@admin.get("/<id:user_id>/identities")
@call(answers=schemas.IdentitiesSchema, errors=(NotFound,))
def list_identities(user_id: str) -> Fields:
    """List the providers that open an account."""
    return {"identities": identities.list_identities(user_id)}


@admin.delete("/<id:user_id>/identities/<id:provider>")
@call(errors=(NotFound, LastWayIn))
def unlink_identity_of(user_id: str, provider: str) -> None:
    """Let a provider open an account no more."""
    identities.unlink(user_id, provider)


@admin.delete("/<id:user_id>/sessions")
@call(errors=(NotFound,))
def end_sessions(user_id: str) -> None:
    """End every session of an account."""
    administration.end_all_sessions(user_id)


@admin.delete("/<id:user_id>/lockout")
@call(errors=(NotFound,))
def unlock(user_id: str) -> None:
    """Let an account's passwords be tried again."""
    administration.unlock(user_id)
