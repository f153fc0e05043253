"""The calls of API.md, "Sync service"."""

from typing import Any

from flask import Blueprint, Response, current_app, g, request

from services.sync.config import CONFLICTS
from services.sync.pull import pull_changes
from services.sync.push import push_changes
from services.sync.schemas import Parameters, load_changes
from shared.bearer import require_access_token
from shared.schemas import read_json
from shared.streams import stream
from shared.tables import synced_tables

bp = Blueprint("sync", __name__, url_prefix="/v1/sync")
bp.before_request(require_access_token)


@bp.get("")
@bp.get("/pull")
@bp.post("/pull")
def pull() -> Response:
    """What changed since `last_pulled_at`."""
    body = read_json(optional=True) if request.method == "POST" else {}
    parameters = Parameters(request.args, body)
    pieces = pull_changes(
        g.caller.user_id,
        g.caller.session_id,
        parameters.last_pulled_at(),
        created_as_updated=parameters.flag("send_created_as_updated"),
    )
    return Response(stream(pieces), mimetype="application/json")


@bp.post("")
@bp.post("/push")
def push() -> dict[str, Any]:
    """Apply a device's changes: all of them or none."""
    tables = [table.name for table in synced_tables()]
    changes, in_body = load_changes(read_json(), tables)
    parameters = Parameters(request.args, in_body)
    return push_changes(
        g.caller.user_id,
        g.caller.session_id,
        changes,
        parameters.last_pulled_at(),
        parameters.choice("conflicts", CONFLICTS, current_app.config["SYNC_CONFLICTS"]),
    ).to_wire()
