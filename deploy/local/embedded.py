"""All three services and the pages in one process on SQLite: what `make run` serves."""

from collections.abc import Iterable
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any

from werkzeug.utils import redirect
from werkzeug.wrappers import Response

import services.auth
import services.sync
import services.users
from deploy.api import site

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app(**overrides: Any) -> "WSGIApplication":
    """Return one WSGI application that hands each path to the service that owns it, unchanged."""
    auth = services.auth.create_app(**overrides)
    owners = {
        "auth": auth,
        "users": services.users.create_app(**overrides),
        "sync": services.sync.create_app(**overrides),
    }

    pages = site.pages() | site.playground()

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"].removeprefix("/")
        if path and f"{path}/index.html" in pages:
            return redirect(f"/{path}/", 308)(environ, start_response)
        if not path and "index.html" not in pages:
            return redirect("/docs/")(environ, start_response)
        for name in (path, f"{path}index.html"):
            if name in pages and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
                headers = {"Content-Security-Policy": site.POLICY, "Cache-Control": "no-store"}
                page = Response(pages[name], headers=headers, mimetype=guess_type(name)[0])
                return page(environ, start_response)
        parts = environ["PATH_INFO"].split("/", 3)
        owner = owners.get(parts[2], auth) if parts[:2] == ["", "v1"] and parts[2:] else auth
        return owner(environ, start_response)

    return application
