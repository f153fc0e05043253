"""The calls of docs/api.md, "Sync service"."""

import logging
from typing import Any

from flask import Blueprint, Response, current_app, g, request

from services.sync import cursor
from services.sync.config import CONFLICTS
from services.sync.pull import pull_changes, pull_page
from services.sync.push import push_changes
from services.sync.schemas import Parameters, invalid, load_changes
from services.sync.selection import PullRequest
from shared.auth.guard import require_access_token
from shared.models.tables import synced_tables
from shared.observability import metrics
from shared.web.bounds import takes_large_bodies
from shared.web.schemas import read_json
from shared.web.streams import stream

log = logging.getLogger(__name__)

bp = Blueprint("sync", __name__, url_prefix="/v1/sync")
bp.before_request(require_access_token)


@bp.get("")
@bp.get("/pull")
@bp.post("/pull")
def pull() -> Response | dict[str, Any]:
    """What changed since `last_pulled_at`, whole or by pages of `limit` rows."""
    body = read_json(optional=True) if request.method == "POST" else {}
    parameters = Parameters(request.args, body)
    request_ = PullRequest(
        g.caller,
        parameters.last_pulled_at(),
        parameters.flag("send_created_as_updated"),
        parameters.migration(),
    )
    limit = parameters.limit()
    text = parameters.get("cursor")
    if limit is None:
        if text is not None:
            raise invalid("limit", "A cursor goes with the limit of its pull.")
        return stream(pull_changes(request_))
    position = None if text is None else cursor.read(text, request_, limit)
    return pull_page(request_, limit, position)


@bp.post("")
@bp.post("/push")
@takes_large_bodies
def push() -> dict[str, Any]:
    """Apply a device's changes: all of them or none."""
    tables = [table.name for table in synced_tables()]
    metrics.PAYLOAD_BYTES.labels("pushed").observe(request.content_length or 0)
    most = current_app.config["MAX_PUSH_RECORDS"]
    changes, in_body = load_changes(read_json(), tables, most)
    parameters = Parameters(request.args, in_body)
    pushed = push_changes(
        g.caller.user_id,
        g.caller.session_id,
        changes,
        parameters.last_pulled_at(),
        parameters.choice("conflicts", CONFLICTS, current_app.config["SYNC_CONFLICTS"]),
    )
    if pushed.ignored:
        # Lines for people are read by those who build the app; elsewhere the metric is enough.
        level = logging.WARNING if current_app.config["LOG_TEXT"] else logging.DEBUG
        log.log(level, "columns_ignored", extra={"columns": pushed.ignored})
    return pushed.to_wire()
