"""Every error in one form, RFC 9457 `application/problem+json` (docs/api.md, "Conventions")."""

import logging
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from flask import Flask, Response, g
from marshmallow import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from shared.database import errors
from shared.database.errors import DeadlineExceeded, RowTooLong
from shared.observability import metrics

log = logging.getLogger(__name__)


#: At most so many faults are told of a request, each under a path of so many characters.
MAX_FAULTS = 50
MAX_PATH = 64


class Fault(str):
    """An error of a field: a sentence, and the stable word for it (`errorCodes`).

    It may stand wherever marshmallow takes a message.
    """

    __slots__ = ("code",)
    code: str

    def __new__(cls, message: str, code: str = "invalid") -> "Fault":
        """Return the sentence, with its word."""
        fault = super().__new__(cls, message)
        fault.code = code
        return fault

    def format(self, *args: object, **kwargs: object) -> "Fault":
        """Return the sentence filled in, with the same word."""
        return Fault(super().format(*args, **kwargs), self.code)


class Faults:
    """The errors of a request by field path: the first fifty are kept and the rest counted.

    So an answer does not grow with the request, whatever stands in it.
    """

    def __init__(self) -> None:
        self.by_path: dict[str, list[Fault]] = {}
        self.kept = self.omitted = 0

    def __bool__(self) -> bool:
        return self.kept > 0

    def add(self, path: str, fault: str) -> None:
        """Note a fault of the field at `path`; a sentence that is no `Fault` has the word `invalid`."""
        if self.kept == MAX_FAULTS:
            self.omitted += 1
            return
        self.kept += 1
        fault = fault if isinstance(fault, Fault) else Fault(fault)
        self.by_path.setdefault(readable(path), []).append(fault)

    def members(self) -> dict[str, Any]:
        """Return what an error's body says of them."""
        codes = {path: [f.code for f in faults] for path, faults in self.by_path.items()}
        omitted = {"errorsOmitted": self.omitted} if self.omitted else {}
        return {"errors": self.by_path, "errorCodes": codes, **omitted}


def readable(path: str) -> str:
    """Return `path` cut to a bounded length, with nothing in it that a strict JSON parser refuses."""
    cut = path if len(path) <= MAX_PATH else f"{path[: MAX_PATH - 1]}…"
    return cut.encode(errors="replace").decode()


class Problem(Exception):
    """An error that the client is told about. Subclasses stand beside the code that raises them."""

    status = 500
    code = "internal_error"
    detail = "An internal error occurred. Report it with its requestId."
    #: The headers of every answer with this error.
    sends: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail or self.detail)
        if detail:
            self.detail = detail
        self.members = members
        self.headers = dict(self.sends)


class NoHttp(Problem):
    """The request is not valid HTTP."""

    status, code = 400, "invalid_request"
    detail = "The request is not valid HTTP."


class InvalidJson(Problem):
    """The body cannot be read as a JSON object."""

    status, code = 400, "invalid_json"
    detail = "The request body must be a JSON object."


class Faulty(Problem):
    """A request with faulty fields."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(**faults.members())


class InvalidParameter(Faulty):
    """A query parameter is not valid."""

    status, code = 400, "invalid_parameter"
    detail = "A request parameter is not valid; `errors` names it."


class Unauthorized(Problem):
    """Missing or invalid credentials."""

    status, code = 401, "unauthorized"
    detail = "A valid access token is required."
    sends: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    """The caller is known and lacks the permission."""

    status, code = 403, "forbidden"
    detail = "You do not have permission to perform this action."


class NotFound(Problem):
    """There is no such resource, or it belongs to another user."""

    status, code = 404, "not_found"
    detail = "Resource not found."


class InvalidRequest(Faulty):
    """The body is JSON, but not what this call takes."""

    status, code = 422, "invalid_request"
    detail = "The request body is not valid; `errors` names its fields."


class TooLarge(Problem):
    """The body is larger than the call takes."""

    status, code = 413, "too_large"
    detail = "The request body is too large."


class UnsupportedEncoding(Problem):
    """The body is compressed."""

    status, code = 415, "unsupported_encoding"
    detail = "Compressed request bodies are not supported. Send it without Content-Encoding."


class RateLimited(Problem):
    """Too many requests at a time, or in too short a time."""

    status, code = 429, "rate_limited"
    detail = "Too many requests. Try again shortly."
    sends: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class Unavailable(Problem):
    """A dependency is unavailable; the client should retry later."""

    status, code = 503, "unavailable"
    detail = "A dependency is unavailable. Try again later."
    sends: ClassVar[dict[str, str]] = {"Retry-After": "2"}


#: What routing and body reading raise by themselves: code and detail.
HTTP_ERRORS = {
    400: (NoHttp.code, NoHttp.detail),
    404: (NotFound.code, "Resource not found."),
    405: ("method_not_allowed", "Method not allowed."),
    413: (TooLarge.code, TooLarge.detail),
}


def body_of(problem: Problem, request_id: str | None) -> dict[str, Any]:
    """Return the members that say `problem`."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        # For clients that look for the text there.
        "message": problem.detail,
        "requestId": request_id,
        **problem.members,
    }


def log_fields(problem: Problem) -> dict[str, str]:
    """Return what the line of the request says of `problem`: its code, and the first field at fault."""
    faults = problem.members.get("errors") or {}
    first = next((f"{path}: {said[0]}" for path, said in faults.items()), None)
    return {"code": problem.code} | ({"first_error": first} if first else {})


def to_response(problem: Problem) -> Response:
    """Write `problem` as problem+json, with its headers and the request id; note it for the log."""
    g.problem = log_fields(problem)
    # As UTF-8: escaped, what a request said would come back three times as long.
    body = orjson.dumps(body_of(problem, g.get("request_id")))
    response = Response(body, status=problem.status, mimetype="application/problem+json")
    response.headers.update(problem.headers)
    return response


def flatten(errors: Any) -> Faults:
    """Return what marshmallow's nested messages say, by field path."""
    faults = Faults()
    _flatten(errors, "", faults)
    return faults


def _flatten(errors: Any, path: str, faults: Faults) -> None:
    if not isinstance(errors, dict):
        for message in errors:
            faults.add(path, message)
        return
    for key, value in errors.items():
        # marshmallow files what concerns the whole body under `_schema`.
        below = path if key == "_schema" else f"{path}.{key}" if path else str(key)
        _flatten(value, below, faults)


def init_app(app: Flask) -> None:
    """Answer every exception that leaves a route in the one form."""

    @app.errorhandler(Problem)
    def on_problem(problem: Problem) -> Response:
        return to_response(problem)

    @app.errorhandler(ValidationError)
    def on_validation_error(error: ValidationError) -> Response:
        return to_response(InvalidRequest(flatten(error.messages)))

    @app.errorhandler(HTTPException)
    def on_http_exception(error: HTTPException) -> Response:
        status = error.code or 500
        problem = NoHttp() if status < 500 else Problem()
        problem.status = status
        problem.code, problem.detail = HTTP_ERRORS.get(status, (problem.code, problem.detail))
        allow = dict(error.get_headers()).get("Allow")
        if allow:
            problem.headers["Allow"] = allow
        return to_response(problem)

    @app.errorhandler(PoolTimeout)
    @app.errorhandler(DeadlineExceeded)
    @app.errorhandler(RowTooLong)
    @app.errorhandler(DBAPIError)
    def on_database_error(error: Exception) -> Response:
        cause = errors.why_unavailable(error)
        if cause is None:
            return on_bug(error)
        # Without the traceback: the cause is outside, and a statement's values are secret.
        metrics.UNAVAILABLE.labels(cause).inc()
        log.error("database_unavailable", extra={"cause": cause, "number": errors.number(error)})
        return to_response(Unavailable())

    @app.errorhandler(Exception)
    def on_bug(error: Exception) -> Response:
        metrics.BUGS.inc()
        log.error("bug", exc_info=error)
        return to_response(Problem())
