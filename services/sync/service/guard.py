"""Guard of the calls under `/v1/service`: the service key of a request becomes `g.service_key`."""

import re
from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint, Response, after_this_request, current_app, g, request

from services.sync.service.keys import LENGTH, PREFIX, find_key, hash_of, note_use
from shared.database.base import db
from shared.web import bounds
from shared.web.errors import Forbidden, Unauthorized

View = TypeVar("View", bound=Callable[..., object])

#: One spelling of each key, since the gateway's limits go by it.
BEARER = re.compile(rf"(?i:bearer) ({PREFIX}[0-9A-Za-z]{{{LENGTH}}})", re.ASCII)


class NoServiceKey(Unauthorized):
    """No service key, or one that is unknown or revoked."""

    detail = "A valid service key is required."


def require_service_key(scope: str) -> Callable[[View], View]:
    """Declare the scope that a route of a `service_blueprint` needs."""

    def declare(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]
        return view

    return declare


def check_service_key() -> None:
    """Guard of a blueprint: set `g.service_key`. Raises `NoServiceKey`, `Forbidden`, `RateLimited`."""
    given = BEARER.fullmatch(request.headers.get("Authorization", ""))
    if given is None or request.method == "OPTIONS":
        raise NoServiceKey
    key_hash = hash_of(given[1])
    bounds.hold_place_of(key_hash)
    key = find_key(key_hash)
    if key is None:
        raise NoServiceKey
    g.service_key = key
    engine = db.engines["look_ups"]

    @after_this_request
    def note(response: Response) -> Response:
        response.call_on_close(lambda: note_use(key, engine))
        return response

    # Whoever forgets to declare one has a route that nobody may call.
    scope = getattr(current_app.view_functions[request.endpoint or ""], "scope", None)
    if scope not in key.scopes:
        raise Forbidden(f"This service key lacks the scope {scope}.")


def service_blueprint(name: str) -> Blueprint:
    """Return a blueprint of calls for an app's own servers: each route declares `require_service_key`."""
    blueprint = Blueprint(name, __name__, url_prefix="/v1/service")
    blueprint.before_request(check_service_key)
    return blueprint
