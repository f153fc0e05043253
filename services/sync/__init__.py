"""The sync service: WatermelonDB's pull and push."""

from typing import Any

from flask import Flask

from services.sync import config, routes
from services.sync.cli import purge_command
from shared.app import create_service
from shared.models.tables import synced_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    # Of the server's own tables it sees some columns.
    tables = [table.sql for table in synced_tables()]
    app = create_service("sync", config.load, [routes.bp], tables, overrides)
    app.cli.add_command(purge_command)
    return app
