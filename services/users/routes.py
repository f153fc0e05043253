"""The calls of API.md, "Users service"."""

from typing import Any

from flask import Blueprint, g

from services.users import accounts, schemas
from shared.bearer import require_access_token
from shared.schemas import read_json, user_json

bp = Blueprint("users", __name__, url_prefix="/v1/users")
bp.before_request(require_access_token)


@bp.get("/me")
def read_me() -> dict[str, Any]:
    """One's own profile."""
    return user_json(accounts.read_account(g.caller.user_id))


@bp.patch("/me")
def change_me() -> dict[str, Any]:
    """Change one's own name or e-mail."""
    changes = schemas.ProfileBody().load(read_json())
    return user_json(accounts.change_profile(g.caller.user_id, changes))
