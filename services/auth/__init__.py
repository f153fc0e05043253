"""The auth service: accounts are opened here, and sessions begin, go on and end."""

from typing import Any

from flask import Flask

from services.auth import config, routes, sessions, signing
from shared.accounts import passwords
from shared.app import create_service
from shared.models.tables import unsynced_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    app = create_service(
        "auth", config.load, [routes.public, routes.protected], unsynced_tables(), overrides
    )
    passwords.init_app(app)
    signing.init_app(app)
    app.extensions["lifetimes"] = sessions.Lifetimes(
        access_ms=app.config["ACCESS_TOKEN_SECONDS"] * 1000,
        refresh_ms=app.config["REFRESH_TOKEN_SECONDS"] * 1000,
        repeat_ms=app.config["REFRESH_REPEAT_SECONDS"] * 1000,
        session_ms=app.config["SESSION_SECONDS"] * 1000,
    )
    return app
