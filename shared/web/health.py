"""Liveness and readiness, for whoever runs the process (docs/api.md, "Each service")."""

from typing import Any

from flask import Blueprint, Flask, current_app
from marshmallow import fields

from shared import __version__, redis
from shared.database.differences import TablesDiffer, check_tables
from shared.database.transaction import takes_writes
from shared.web.calls import call
from shared.web.errors import Unavailable
from shared.web.schemas import Answer

bp = Blueprint("health", __name__)


class ReadOnly(Unavailable):
    """Without writes there is no push, no login and no refresh: another instance may do better."""

    detail = "The database is read-only."


class LivenessSchema(Answer):
    """The process answers."""

    status = fields.String()
    version = fields.String()


class ReadinessSchema(Answer):
    """The dependencies of the service answer, too."""

    status = fields.String()
    database = fields.String()
    redis = fields.String()


@bp.get("/healthz")
@call(answers=LivenessSchema)
def healthz() -> dict[str, Any]:
    """Say that the process lives."""
    return {"status": "ok", "version": __version__}


@bp.get("/readyz")
@call(answers=ReadinessSchema)
def readyz() -> dict[str, Any]:
    """Say whether the database answers and takes writes, else 503. Redis is reported and decides nothing."""
    if not takes_writes():
        raise ReadOnly
    try:
        check_tables(current_app)
    except TablesDiffer as error:
        raise Unavailable(str(error)) from error
    return {"status": "ok", "database": "up", "redis": redis.state()}


def init_app(app: Flask) -> None:
    """Register the health endpoints."""
    app.register_blueprint(bp)
