"""The calls of docs/api.md, "Sync service"."""

import logging
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request

from services.sync import cursor
from services.sync.parameters import PullParameters, PushParameters
from services.sync.pull import pull_changes, pull_page
from services.sync.push import SyncConflict, push_changes
from services.sync.schemas import PulledSchema, PushedSchema
from services.sync.selection import PullRequest
from shared.auth.guard import require_access_token
from shared.observability import metrics
from shared.web.bounds import takes_large_bodies
from shared.web.calls import call
from shared.web.streams import stream

log = logging.getLogger(__name__)

bp = Blueprint("sync", __name__, url_prefix="/v1/sync")
bp.before_request(require_access_token)


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
    if pushed.ignored:
        # Lines for people are read by those who build the app; elsewhere the metric is enough.
        level = logging.WARNING if current_app.config["LOG_TEXT"] else logging.DEBUG
        log.log(level, "columns_ignored", extra={"columns": pushed.ignored})
    return jsonify(pushed.to_wire())
