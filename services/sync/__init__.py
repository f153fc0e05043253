"""The sync service: WatermelonDB's pull and push, and the spaces whose rows several users share."""

from typing import Any

from flask import Flask

from services.sync import config, routes, space_routes
from services.sync.cli import load_command, purge_command
from services.sync.jobs import jobs
from shared.app import create_service
from shared.models.tables import pulled_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    # Of the server's own tables it sees some columns.
    tables = [table.sql for table in pulled_tables()]
    blueprints = [routes.bp, routes.live, space_routes.bp]
    app = create_service("sync", config.load, blueprints, tables, overrides)
    for command in (purge_command, load_command, jobs):
        app.cli.add_command(command)
    return app
