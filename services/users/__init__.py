"""The users service: profiles, and the administration of accounts."""

from typing import Any

from flask import Flask

from services.users import config, routes
from services.users.cli import create_admin, create_users, help_user
from shared import outbox
from shared.accounts import id_tokens, passwords
from shared.app import create_service
from shared.auth.sessions import FIND_ACCOUNT
from shared.models.tables import synced_tables, unsynced_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    tables = [*unsynced_tables(), *(table.sql for table in synced_tables())]
    blueprints = [routes.me, routes.admin]
    app = create_service("users", config.load, blueprints, tables, overrides)
    passwords.init_app(app)
    id_tokens.init_app(app)
    outbox.init_app(app)
    app.extensions["find_caller"] = FIND_ACCOUNT
    app.cli.add_command(create_admin)
    app.cli.add_command(create_users)
    app.cli.add_command(help_user)
    return app
