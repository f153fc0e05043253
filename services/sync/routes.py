"""The calls of docs/api.md, "Sync service"."""

from dataclasses import replace
from typing import Any, ClassVar

from flask import Blueprint, Response, g, jsonify, request

from services.sync import cursor
from services.sync.parameters import PullParameters, PushParameters
from services.sync.plan import SyncConflict
from services.sync.pull import pull_changes, pull_page
from services.sync.push import push_changes
from services.sync.schemas import PulledSchema, PushedSchema
from services.sync.selection import PullRequest
from services.sync.spelling import tell_of
from shared.auth.guard import require_access_token
from shared.observability import metrics
from shared.reference_clock import has_load_after
from shared.web.bounds import takes_large_bodies
from shared.web.calls import call
from shared.web.errors import Problem
from shared.web.streams import stream

bp = Blueprint("sync", __name__, url_prefix="/v1/sync")
bp.before_request(require_access_token)
#: The token comes with the first message.
live = Blueprint("live", __name__, url_prefix="/v1/sync")


class UpgradeRequired(Problem):
    """The call is there for WebSockets alone."""

    status, code = 426, "upgrade_required"
    detail = "Connect with a WebSocket."
    sends: ClassVar[dict[str, str]] = {"Upgrade": "websocket"}


@bp.get("")
@bp.get("/pull")
@bp.post("/pull")
@call(takes=PullParameters, answers=PulledSchema, errors=(cursor.InvalidCursor,))
def pull(parameters: dict[str, Any]) -> Response:
    """Pull what changed since `last_pulled_at`, whole or by pages of `limit` rows."""
    request_ = PullRequest(
        g.caller,
        parameters["last_pulled_at"],
        parameters.get("send_created_as_updated", False),
        parameters.get("migration"),
    )
    limit, text = parameters.get("limit"), parameters.get("cursor")
    if limit is None:
        return stream(pull_changes(request_))
    position = None if text is None else cursor.read(text, request_, limit)
    return stream(pull_page(request_, limit, position))


@bp.post("")
@bp.post("/push")
@takes_large_bodies
@call(takes=PushParameters, answers=PushedSchema, errors=(SyncConflict,))
def push(parameters: dict[str, Any]) -> Response:
    """Apply a device's changes: all of them or none."""
    metrics.PAYLOAD_BYTES.labels("pushed").observe(request.content_length or 0)
    pushed = push_changes(g.caller.user_id, g.caller.session_id, **parameters)
    if has_load_after(parameters["last_pulled_at"], g.caller.clock):
        pushed = replace(pushed, up_to_date=False)
    tell_of(pushed.ignored)
    return jsonify(pushed.to_wire())


@live.get("/live")
@call(status=101, errors=(UpgradeRequired,))
def nudges() -> Response:
    """Open a WebSocket, on which the server says when there is something to pull."""
    # One that asks for an upgrade goes to services/sync/live.
    raise UpgradeRequired
