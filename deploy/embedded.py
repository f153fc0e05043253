"""All three services in one process on SQLite: what `make run` serves, with no Redis and no nginx."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import services.auth
import services.sync
import services.users

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app(**overrides: Any) -> "WSGIApplication":
    """One WSGI application that hands each path to the service that owns it, unchanged."""
    auth = services.auth.create_app(**overrides)
    owners = {
        "auth": auth,
        "users": services.users.create_app(**overrides),
        "sync": services.sync.create_app(**overrides),
    }

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        parts = environ["PATH_INFO"].split("/", 3)
        owner = owners.get(parts[2], auth) if parts[:2] == ["", "v1"] and parts[2:] else auth
        return owner(environ, start_response)

    return application
