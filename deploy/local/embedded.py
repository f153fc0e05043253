"""All three services and the pages in one process on SQLite: what `make run` serves."""

from collections.abc import Iterable
from importlib import import_module
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any

from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from deploy.api import site
from deploy.local.machine import SERVICES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app(**overrides: Any) -> "WSGIApplication":
    """Return one WSGI application that hands each path to the service that owns it, unchanged."""
    apps = {name: import_module(f"services.{name}").create_app(**overrides) for name in SERVICES}
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
        _, version, service, *_ = f"{environ['PATH_INFO']}///".split("/")
        owner = service if version == "v1" and service in apps else "auth"
        response: Iterable[bytes] = apps[owner](environ, start_response)
        return response

    return application
