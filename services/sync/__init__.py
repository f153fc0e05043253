"""The sync service: WatermelonDB's pull and push."""

from typing import Any

from flask import Flask

from services.sync import config, routes
from services.sync.cli import purge_command
from shared.app import create_service


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    app = create_service("sync", config.load, [routes.bp], overrides)
    app.cli.add_command(purge_command)
    return app
