"""The only place that builds a Flask application."""

import logging as std_logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from environs import Env, EnvValidationError
from flask import Blueprint, Flask, Response
from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.middleware.proxy_fix import ProxyFix

from shared import config, redis
from shared.auth import guard
from shared.database import base
from shared.database.differences import UNCHECKED, TablesDiffer, check_tables
from shared.observability import logging, metrics, tracing
from shared.web import bounds, errors, gate, health, schemas

log = std_logging.getLogger(__name__)

CANNOT_START = 3
#: What all services have, in the order in which a request meets it.
PLUMBING = (logging, metrics, errors, bounds, gate, base, redis, guard, health, tracing)


def refuse_to_start(name: str, why: str) -> NoReturn:
    """End the process of a service with one line."""
    sys.stderr.write(f"The {name} service cannot start. {why}\n")
    # gunicorn gives up when a worker ends with this, and does not try again for ever.
    sys.exit(CANNOT_START)


def create_service(
    name: str,
    service_settings: Callable[[Env], dict[str, Any]],
    blueprints: Sequence[Blueprint],
    tables: Sequence[Table],
    overrides: dict[str, Any],
) -> Flask:
    """Build the WSGI application of one service, which uses `tables`; a test may override single settings.

    Ends the process, with one line that says why, when the settings or the tables are not as they must be.
    """
    app = Flask(f"services.{name}", static_folder=None)
    _load_settings(app, name, service_settings, overrides)
    # Bodies read as docs/api.md writes them; `sort_keys` is there for caches, which must not keep ours.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.converters["id"] = schemas.IdConverter
    # None of our functions is asynchronous; Flask would look at each of them with every request.
    app.ensure_sync = lambda func: func  # type: ignore[method-assign]
    # A path is exact.
    app.url_map.merge_slashes = False
    for plumbing in PLUMBING:
        plumbing.init_app(app)
    app.extensions[UNCHECKED] = tables
    _check_tables(app, name)
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


def _load_settings(
    app: Flask,
    name: str,
    service_settings: Callable[[Env], dict[str, Any]],
    overrides: dict[str, Any],
) -> None:
    try:
        app.config.from_mapping(config.load(service_settings) | overrides)
    except EnvValidationError as error:
        messages = cast("dict[str, list[str]]", error.error_messages)
        faults = " ".join(f"{setting}: {' '.join(said)}" for setting, said in messages.items())
        refuse_to_start(name, faults)


def _check_tables(app: Flask, name: str) -> None:
    try:
        check_tables(app)
    except TablesDiffer as error:
        refuse_to_start(name, str(error))
    except (DBAPIError, PoolTimeout) as error:
        # The service waits for its database as ever; `/readyz` compares the tables once it answers.
        log.warning("tables_unchecked", extra={"cause": type(error).__name__})
