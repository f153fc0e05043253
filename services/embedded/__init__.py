"""All three services and the pages in one process on SQLite: what `make run` serves."""

from importlib import import_module
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from services.embedded import playground
from services.embedded.cors import allow_local_origins
from services.pages import site
from services.sync.webhooks.deliverer import Deliverer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

SERVICES = ("auth", "users", "sync")
#: Whose the paths are that do not begin with the name of their service.
OWNERS = {"spaces": "sync", "service": "sync"}


def create_app(**overrides: Any) -> "WSGIApplication":
    """Return one WSGI application that hands each path to the service that owns it, unchanged."""
    apps = {name: import_module(f"services.{name}").create_app(**overrides) for name in SERVICES}
    pages = site.pages() | playground.pages()

    @Request.application
    def application(request: Request) -> "WSGIApplication":
        path = request.environ["PATH_INFO"].removeprefix("/")
        if path and f"{path}/index.html" in pages:
            return redirect(f"/{path}/", 308)
        for name in (path, f"{path}index.html", f"{path}.html"):
            if name in pages and request.method in ("GET", "HEAD"):
                headers = {"Content-Security-Policy": site.POLICY, "Cache-Control": "no-store"}
                return Response(pages[name], headers=headers, mimetype=guess_type(name)[0])
        version, service, *_ = f"{path}//".split("/")
        service = OWNERS.get(service, service)
        app: WSGIApplication = apps[service if version == "v1" and service in apps else "auth"]
        return app

    served = allow_local_origins(application)
    # shared/hooks.py starts what runs in the background.
    extensions = {**apps["auth"].extensions}
    if apps["sync"].extensions["receivers"]:
        extensions["deliverer"] = Deliverer(apps["sync"])
    served.extensions = extensions  # type: ignore[attr-defined]
    return served
