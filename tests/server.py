"""The app's own server, as tests act for it."""

import os
from functools import cache
from typing import Any

from flask import Flask

import services.sync
from services.sync.door import push_as_server
from services.sync.plan import PushResult


@cache
def sync_service(_database: str) -> Flask:
    """One for each backend: to build it takes longer than a push."""
    return services.sync.create_app()


def server_push(space_id: str, author: str = "server", **tables: Any) -> PushResult:
    """Push to a space, or a user's own, by the server's own hand."""
    with sync_service(os.environ["DATABASE_URL"]).app_context():
        return push_as_server(space_id, tables, author)
