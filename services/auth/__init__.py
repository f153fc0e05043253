"""The auth service: accounts are opened here, and sessions begin, go on and end."""

from typing import Any

from flask import Flask
from jinja2 import TemplateError

from services.auth import config, kept, messages, routes, sessions, signing
from services.auth.sender import Sender
from shared.accounts import id_tokens, passwords
from shared.app import create_service, refuse_to_start
from shared.mail_url import KEEP, parse_mail_url
from shared.models.tables import unsynced_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    app = create_service(
        "auth", config.load, [routes.public, routes.protected], unsynced_tables(), overrides
    )
    passwords.init_app(app)
    id_tokens.init_app(app)
    try:
        messages.init_app(app)
    except (TemplateError, OSError) as error:
        refuse_to_start("auth", f"MAIL_TEMPLATES: {error}")
    if app.config["REQUIRE_VERIFIED_EMAIL"] and not app.config["MAIL_URL"]:
        refuse_to_start(
            "auth", "REQUIRE_VERIFIED_EMAIL: nobody can verify an e-mail without MAIL_URL."
        )
    if app.config["MAIL_URL"] == KEEP:
        app.register_blueprint(kept.bp)
    elif app.config["MAIL_URL"]:
        app.extensions["sender"] = Sender(app, parse_mail_url(app.config["MAIL_URL"]))
    signing.init_app(app)
    app.extensions["lifetimes"] = sessions.Lifetimes(
        access_ms=app.config["ACCESS_TOKEN_SECONDS"] * 1000,
        refresh_ms=app.config["REFRESH_TOKEN_SECONDS"] * 1000,
        repeat_ms=app.config["REFRESH_REPEAT_SECONDS"] * 1000,
        session_ms=app.config["SESSION_SECONDS"] * 1000,
    )
    return app
