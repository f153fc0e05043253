"""Liveness and readiness, for whoever runs the process (docs/api.md, "Each service")."""

from typing import Any

from flask import Blueprint, Flask
from sqlalchemy import text

from shared import cache
from shared.db import db

bp = Blueprint("ops", __name__)


@bp.get("/healthz")
def healthz() -> dict[str, Any]:
    """The process lives."""
    return {"status": "ok"}


@bp.get("/readyz")
def readyz() -> dict[str, Any]:
    """The database answers, else 503. Redis is reported and never makes the answer a no."""
    db.session.execute(text("SELECT 1"))
    return {"status": "ok", "database": "up", "redis": cache.state()}


def init_app(app: Flask) -> None:
    """Serve both."""
    app.register_blueprint(bp)
