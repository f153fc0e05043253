"""The users service: profiles."""

from typing import Any

from flask import Flask

from services.users import routes
from shared.app import create_service


def create_app(**overrides: Any) -> Flask:
    """Build the WSGI application; a test may override single settings."""
    return create_service("users", lambda _env: {}, [routes.bp], overrides)
