"""One JSON object per event on standard output, each with the id of the request it belongs to."""

import logging
import re
import sys
import time
import uuid

from flask import Flask, Response, current_app, g, has_request_context, request
from pythonjsonlogger.orjson import OrjsonFormatter

log = logging.getLogger(__name__)

#: The logger of who did what to accounts and sessions. `LOG_LEVEL` does not silence it.
AUDIT = "audit"

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def sane_request_id(given: str) -> str:
    """Return a client's request id, or one of ours when it is not sane (docs/api.md, "Conventions")."""
    return given if SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class RequestFields(logging.Filter):
    """Adds the service, the request id and who calls, a user or a service key, to a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; drop no record."""
        if current_app:
            record.service = current_app.name.rpartition(".")[2]
        if has_request_context():
            record.request_id = g.get("request_id")
            caller = g.get("caller")
            if caller:
                record.user_id = caller.user_id
            key = g.get("service_key")
            if key:
                record.service_key = key.name
        if record.name == AUDIT:
            record.audit = True
        return True


def json_formatter() -> logging.Formatter:
    """Return one JSON object per event."""
    return OrjsonFormatter(
        "%(levelname)s %(message)s",
        rename_fields={"levelname": "level", "message": "event"},
        timestamp="time",
    )


class TextFormatter(logging.Formatter):
    """The same for people: time, level, service, event and whatever else is said, in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback under it when there is one."""
        extra = {name: value for name, value in vars(record).items() if name not in PLAIN}
        service, request_id = extra.pop("service", "-"), extra.pop("request_id", None)
        said = " ".join(f"{name}={value}" for name, value in extra.items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:7} {service} "
        line += f"{' '.join(record.getMessage().split())} {said}" + (
            f" [{request_id}]" if request_id else ""
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


#: What every record has.
PLAIN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def init_app(app: Flask) -> None:
    """Log as JSON, one line per request, and give every request an id."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(RequestFields())
    handler.setFormatter(TextFormatter() if app.config["LOG_TEXT"] else json_formatter())
    # One handler, on the loggers of this project: libraries keep their own.
    level = app.config["LOG_LEVEL"]
    for name, least in (("services", level), ("shared", level), (AUDIT, logging.INFO)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)

    if app.config["LOG_SQL"]:
        statements = logging.getLogger("sqlalchemy.engine.Engine")
        statements.handlers, statements.propagate = [handler], False
        statements.setLevel(logging.INFO)

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.request_id = sane_request_id(request.headers.get("X-Request-ID", ""))

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        # Whoever watches the process asks every few seconds.
        is_probe = request.blueprint == "health"
        log.log(
            logging.DEBUG if is_probe else logging.INFO,
            "request",
            extra={
                "method": request.method,
                "route": str(request.url_rule) if request.url_rule else None,
                "status": response.status_code,
                "duration_ms": round((time.perf_counter() - g.started) * 1000, 1),
                # What an error says (shared/web/errors.py).
                **g.get("problem", {}),
            },
        )
        return response
