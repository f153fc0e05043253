"""The only place that builds a Flask application."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from environs import Env, EnvValidationError
from flask import Blueprint, Flask, Response
from werkzeug.middleware.proxy_fix import ProxyFix

from shared import config, redis
from shared.auth import guard
from shared.database import base
from shared.observability import logging, metrics, tracing
from shared.web import bounds, errors, gate, health, schemas

CANNOT_START = 3


def create_service(
    name: str,
    service_settings: Callable[[Env], dict[str, Any]],
    blueprints: Sequence[Blueprint],
    overrides: dict[str, Any],
) -> Flask:
    """Build the WSGI application of one service; a test may override single settings."""
    app = Flask(f"services.{name}", static_folder=None)
    try:
        app.config.from_mapping(config.load(service_settings) | overrides)
    except EnvValidationError as error:
        messages = cast("dict[str, list[str]]", error.error_messages)
        faults = " ".join(f"{setting}: {' '.join(said)}" for setting, said in messages.items())
        sys.stderr.write(f"The {name} service cannot start. {faults}\n")
        # gunicorn gives up when a worker ends with this, and does not try again for ever.
        sys.exit(CANNOT_START)
    # Bodies read as docs/api.md writes them; `sort_keys` is there for caches, which must not keep ours.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.converters["id"] = schemas.IdConverter
    # A path is exact.
    app.url_map.merge_slashes = False
    for plumbing in (
        logging,
        metrics,
        errors,
        bounds,
        gate,
        base,
        redis,
        guard,
        health,
        tracing,
    ):
        plumbing.init_app(app)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)

    @app.after_request
    def forbid_caching(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    hops = app.config["TRUSTED_PROXIES"]
    if hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    return app
