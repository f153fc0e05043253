"""The app's own server, as tests act for it."""

from typing import Any

import services.sync
from services.sync.door import push_as_server
from services.sync.plan import PushResult


def server_push(space_id: str, author: str = "server", **tables: Any) -> PushResult:
    """Push to a space, or a user's own, by the server's own hand."""
    with services.sync.create_app().app_context():
        return push_as_server(space_id, tables, author)
