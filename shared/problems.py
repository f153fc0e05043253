"""Every error in one form, RFC 9457 `application/problem+json` (API.md, "Conventions")."""

import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, json
from marshmallow import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from shared import metrics
from shared.db import is_unavailable

log = logging.getLogger(__name__)


class Problem(Exception):
    """An error that the client is told about. Subclasses stand beside the code that raises them."""

    status = 500
    code = "internal_error"
    detail = "Something went wrong on the server."

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail or self.detail)
        if detail:
            self.detail = detail
        self.members = members
        self.headers: dict[str, str] = {}


class InvalidJson(Problem):
    """The body cannot be read as a JSON object."""

    status, code = 400, "invalid_json"
    detail = "The request body is not a JSON object."


class InvalidParameter(Problem):
    """A parameter of the query has no meaning."""

    status, code = 400, "invalid_parameter"
    detail = "A request parameter is not valid."


class Unauthorized(Problem):
    """Nobody we know is calling."""

    status, code = 401, "unauthorized"
    detail = "A valid access token is required."

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, **members)
        self.headers["WWW-Authenticate"] = "Bearer"


class Forbidden(Problem):
    """The caller is known, and may not do this."""

    status, code = 403, "forbidden"
    detail = "You may not do this."


class NotFound(Problem):
    """There is no such thing, or it is somebody else's."""

    status, code = 404, "not_found"
    detail = "There is nothing here."


class InvalidRequest(Problem):
    """The body is JSON, but not what this call takes; `errors` maps field paths to messages."""

    status, code = 422, "invalid_request"
    detail = "The request body is not valid."


class Unavailable(Problem):
    """Something we stand on does not answer; the client should come back."""

    status, code = 503, "unavailable"
    detail = "The service is not available right now. Try again shortly."

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail, **members)
        self.headers["Retry-After"] = "2"


#: What routing and body reading raise by themselves.
HTTP_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}


def to_response(problem: Problem) -> Response:
    """Write `problem` as problem+json, with its headers and the request id."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "requestId": g.get("request_id"),
        **problem.members,
    }
    response = Response(
        json.dumps(body), status=problem.status, mimetype="application/problem+json"
    )
    response.headers.update(problem.headers)
    return response


def flatten(errors: Any, path: str = "") -> dict[str, list[str]]:
    """Turn marshmallow's nested messages into `field.path -> messages`."""
    if not isinstance(errors, dict):
        return {path: [str(message) for message in errors]}
    flat: dict[str, list[str]] = {}
    for key, value in errors.items():
        # marshmallow files what concerns the whole body under `_schema`.
        below = path if key == "_schema" else f"{path}.{key}" if path else str(key)
        flat.update(flatten(value, below))
    return flat


def init_app(app: Flask) -> None:
    """Answer every exception that leaves a route in the one form."""

    @app.errorhandler(Problem)
    def on_problem(problem: Problem) -> Response:
        return to_response(problem)

    @app.errorhandler(ValidationError)
    def on_validation_error(error: ValidationError) -> Response:
        return to_response(InvalidRequest(errors=flatten(error.messages)))

    @app.errorhandler(HTTPException)
    def on_http_exception(error: HTTPException) -> Response:
        status = error.code or 500
        problem = Problem(error.description)
        problem.status, problem.code = status, HTTP_CODES.get(status, problem.code)
        allow = dict(error.get_headers()).get("Allow")
        if allow:
            problem.headers["Allow"] = allow
        return to_response(problem)

    @app.errorhandler(PoolTimeout)
    @app.errorhandler(DBAPIError)
    def on_database_error(error: DBAPIError | PoolTimeout) -> Response:
        if isinstance(error, PoolTimeout) or is_unavailable(error):
            # Without the traceback: the cause is outside, and a statement's values are secret.
            metrics.UNAVAILABLE.inc()
            log.error("database_unavailable", extra={"cause": type(error).__name__})
            return to_response(Unavailable())
        return on_bug(error)

    @app.errorhandler(Exception)
    def on_bug(error: Exception) -> Response:
        metrics.BUGS.inc()
        log.error("bug", exc_info=error)
        return to_response(Problem())
