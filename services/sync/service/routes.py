"""The calls of docs/api.md, "The server's own hand"."""

from typing import Any

from flask import Response, g, jsonify, request

from services.sync.cursor import InvalidCursor
from services.sync.door import NoSuchSpace, push_as_server
from services.sync.parameters import ServicePushParameters
from services.sync.reference.loading import Counts, load
from services.sync.schemas import PushedSchema
from services.sync.service import schemas
from services.sync.service.feed import Reading, read_changes
from services.sync.service.guard import require_service_key, service_blueprint
from services.sync.service.spaces import AnySpace, list_all_spaces
from services.sync.spelling import tell_of
from shared.database.engines import TRANSACTION_S
from shared.observability import metrics
from shared.web.bounds import takes_large_bodies
from shared.web.calls import call
from shared.web.errors import InvalidRequest, NotFound
from shared.web.streams import stream

bp = service_blueprint("service")


@bp.get("/spaces")
@require_service_key("sync:read")
@call(takes=schemas.ListParameters, answers=schemas.AllSpacesSchema)
def list_spaces(page: dict[str, Any]) -> dict[str, list[AnySpace]]:
    """List the spaces that there are, personal and shared ones, in the order of their ids."""
    return {"spaces": list_all_spaces(**page)}


@bp.get("/changes")
@require_service_key("sync:read")
@call(
    takes=schemas.ChangesParameters,
    answers=schemas.SpaceChangesSchema,
    errors=(NoSuchSpace, InvalidCursor),
)
def changes(parameters: dict[str, Any]) -> Response:
    """Read what changed in a space since a tick, by pages, in the order of ticks."""
    limit = parameters["limit"] or schemas.PAGE
    reading = Reading(parameters["space"], parameters["since"], limit)
    return stream(read_changes(reading, parameters["cursor"]))


@bp.post("/push")
@takes_large_bodies
@require_service_key("sync:write")
@call(takes=ServicePushParameters, answers=PushedSchema, errors=(NoSuchSpace,))
def push(parameters: dict[str, Any]) -> Response:
    """Write rows into a space: all of the changes or none."""
    metrics.PAYLOAD_BYTES.labels("pushed").observe(request.content_length or 0)
    pushed = push_as_server(parameters["space"], parameters["changes"], g.service_key.name)
    tell_of(pushed.ignored)
    return jsonify(pushed.to_wire())


@bp.put("/reference/<table>")
@takes_large_bodies
@require_service_key("reference:write")
@call(
    takes=schemas.LoadParameters,
    answers=schemas.LoadedSchema,
    errors=(NotFound, InvalidRequest),
)
def load_reference(given: dict[str, Any], table: str) -> Counts:
    """Load rows, as CSV or NDJSON, into a reference table: all of them or none."""
    return load(**given, within_s=TRANSACTION_S)
