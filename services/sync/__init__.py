"""The sync service: pull and push, the spaces that users share, and the calls of an app's own servers."""

from typing import Any

from flask import Flask

from services.sync import config, routes, space_routes
from services.sync.cli import load_command, purge_command
from services.sync.existing.cli import copy_command
from services.sync.jobs import jobs
from services.sync.service import routes as service_routes
from services.sync.service.cli import KEY_COMMANDS
from shared import outbox
from shared.app import create_service
from shared.models.tables import pulled_tables


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    # Of the server's own tables it sees some columns.
    tables = [table.sql for table in pulled_tables()]
    blueprints = [routes.bp, routes.live, space_routes.bp, service_routes.bp]
    app = create_service("sync", config.load, blueprints, tables, overrides)
    outbox.init_app(app)
    for command in (purge_command, load_command, copy_command, jobs, *KEY_COMMANDS):
        app.cli.add_command(command)
    return app
