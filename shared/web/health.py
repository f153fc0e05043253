"""Liveness and readiness, for whoever runs the process (docs/api.md, "Each service")."""

from typing import Any

from flask import Blueprint, Flask

from shared import __version__, redis
from shared.database.transaction import takes_writes
from shared.web.errors import Unavailable

bp = Blueprint("ops", __name__)


class ReadOnly(Unavailable):
    """Without writes there is no push, no login and no refresh: another instance may do better."""

    detail = "The database is read-only."


@bp.get("/healthz")
def healthz() -> dict[str, Any]:
    """The process lives."""
    return {"status": "ok", "version": __version__}


@bp.get("/readyz")
def readyz() -> dict[str, Any]:
    """The database answers and takes writes, else 503. Redis is reported and never makes it a no."""
    if not takes_writes():
        raise ReadOnly
    return {"status": "ok", "database": "up", "redis": redis.state()}


def init_app(app: Flask) -> None:
    """Serve both."""
    app.register_blueprint(bp)
