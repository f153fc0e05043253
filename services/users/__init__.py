"""The users service: profiles, and the administration of accounts."""

from typing import Any

from flask import Flask

from services.users import routes
from services.users.cli import create_admin
from shared import config
from shared.accounts import passwords
from shared.app import create_service
from shared.auth.sessions import FIND_ACCOUNT
from shared.models.tables import synced_tables, unsynced_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    tables = [*unsynced_tables(), *(table.sql for table in synced_tables())]
    blueprints = [routes.me, routes.admin]
    app = create_service("users", config.load_passwords, blueprints, tables, overrides)
    passwords.init_app(app)
    app.extensions["find_caller"] = FIND_ACCOUNT
    app.cli.add_command(create_admin)
    return app
