"""The sync service: WatermelonDB's pull and push, and the spaces whose rows several users share."""

from typing import Any

from flask import Flask

from services.sync import config, routes, space_routes
from services.sync.cli import purge_command
from services.sync.jobs import jobs
from shared.app import create_service
from shared.models.tables import synced_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    # Of the server's own tables it sees some columns.
    tables = [table.sql for table in synced_tables()]
    blueprints = [routes.bp, routes.live, space_routes.bp]
    app = create_service("sync", config.load, blueprints, tables, overrides)
    app.cli.add_command(purge_command)
    app.cli.add_command(jobs)
    return app
