"""Prometheus metrics of all processes of a service together (docs/api.md, "Each service").

Labels take few values: a route's template, never a path; a kind, never a name that somebody sent.
"""

import os
import time
from functools import cache

from flask import Flask, Response, request
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client import multiprocess as processes

from shared import __version__

#: From a cached answer to a first sync on a slow day.
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BYTES = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)

REQUESTS = Counter("http_requests_total", "Requests.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "http_request_duration_seconds",
    "Time from a request to the end of its answer.",
    ["method", "route"],
    buckets=SECONDS,
)
IN_PROGRESS = Gauge(
    "http_requests_in_progress", "Requests being answered.", multiprocess_mode="livesum"
)

BUILD = Gauge(
    "build_info", "1, labeled with the release.", ["version"], multiprocess_mode="livemax"
)

BUGS = Counter("bugs_total", "Requests answered 500.")

LOGINS = Counter("auth_logins_total", "Logins.", ["outcome"])
REFRESHES = Counter("auth_refreshes_total", "Refresh tokens presented.", ["outcome"])
PASSWORDS = Counter("auth_passwords_total", "Passwords hashed or verified.")
REGISTRATIONS = Counter("auth_registrations_total", "Accounts registered.")
SIGN_INS = Counter("auth_provider_sign_ins_total", "Sign-ins by ID token.", ["provider", "outcome"])
KEY_FETCHES = Counter(
    "auth_provider_key_fetches_total",
    "Times that providers were asked for their keys.",
    ["outcome"],
)
MAILS = Counter("mails_total", "Attempts to send a mail.", ["outcome"])

PULLS = Counter("sync_pulls_total", "Pulls, by their mode.", ["mode"])
PULL_PAGES = Counter("sync_pull_pages_total", "Pages of pulls.")
RECORDS = Counter("sync_records_total", "Records.", ["direction", "bucket"])
PAYLOAD_BYTES = Histogram(
    "sync_payload_bytes", "Bodies of pulls and pushes.", ["direction"], buckets=BYTES
)
REFUSALS = Counter("sync_refused_records_total", "Pushed records that their user may not write")
CONFLICTS = Counter(
    "sync_conflicts_total", "Pushed records that had changed on the server meanwhile."
)
REPAIRS = Counter("sync_repairs_total", "Pushed records with a value that had to be repaired.")
UNKNOWN_COLUMNS = Counter(
    "sync_unknown_columns_total", "Pushed records with an unknown column: the app is newer."
)

LIVE_SOCKETS = Gauge("live_sockets", "Sockets that wait for nudges.", multiprocess_mode="livesum")
LIVE_NUDGES = Counter("live_nudges_total", "Nudges sent.")
LIVE_CLOSES = Counter("live_closes_total", "Sockets closed, by code.", ["code"])

WEBHOOK_RECEIVERS = Gauge(
    "webhook_receivers", "Receivers that are told what changes.", multiprocess_mode="livemax"
)
WEBHOOK_DELIVERIES = Counter(
    "webhook_deliveries_total", "Attempts to deliver a batch, and batches given up.", ["outcome"]
)
WEBHOOK_PENDING = Gauge(
    "webhook_pending_changes",
    "Changes that a receiver is still to be told; many are not counted to the end.",
    ["receiver"],
    multiprocess_mode="mostrecent",
)
WEBHOOK_OLDEST = Gauge(
    "webhook_oldest_pending_seconds",
    "The age of the oldest of them.",
    ["receiver"],
    multiprocess_mode="mostrecent",
)
WEBHOOK_FAILED = Gauge(
    "webhook_failed_batches",
    "Batches that were given up and are kept for a replay.",
    ["receiver"],
    multiprocess_mode="mostrecent",
)

STATEMENT_SECONDS = Histogram(
    "db_statement_duration_seconds", "Time a statement takes.", buckets=SECONDS
)
CONNECTIONS = Gauge(
    "db_connections_in_use", "Connections taken from the pool.", multiprocess_mode="livesum"
)
RETRIES = Counter("db_transaction_retries_total", "Transactions run again.", ["reason"])
UNAVAILABLE = Counter(
    "db_unavailable_total", "Requests answered 503 because of the database.", ["cause"]
)
STREAMS_BROKEN = Counter(
    "http_streams_broken_total", "Answers that broke off after their first byte."
)
TURNED_AWAY = Counter(
    "http_turned_away_total", "Requests answered 503 because all threads were stuck."
)

CACHE_FAILURES = Counter("cache_failures_total", "Commands that Redis did not answer.")
CACHE_PAUSED = Counter("cache_paused_total", "Commands that were not tried after a failure.")

REVOCATION_CHECKS = Counter(
    "revocation_checks_total", "Sessions looked up in the revocation list, by outcome.", ["outcome"]
)
REVOCATIONS_COPIED = Gauge(
    "revocations_copied_timestamp_seconds",
    "When this process last brought the lists of revoked sessions up to date.",
    multiprocess_mode="mostrecent",
)
REVOCATION_WAITS = Counter(
    "revocation_waits_total", "Revocations that waited for the leases of the lists to run out."
)

# From the start at zero: what first appears with a value has not increased, to Prometheus.
for _counter, _outcomes in (
    (LOGINS, ("succeeded", "failed", "locked", "refused")),
    (REFRESHES, ("rotated", "repeated", "reused", "refused")),
    (KEY_FETCHES, ("succeeded", "failed")),
    (MAILS, ("sent", "failed", "refused", "expired")),
    (
        REVOCATION_CHECKS,
        ("alive", "revoked", "no_redis", "no_lease", "new_connection", "odd_time"),
    ),
    (LIVE_CLOSES, ("1000", "1001", "1006", "4401")),
    (WEBHOOK_DELIVERIES, ("delivered", "failed", "given_up")),
    (PULLS, ("first", "changes", "restored", "replacement", "nothing")),
):
    for _outcome in _outcomes:
        _counter.labels(_outcome)


@cache
def of_calls(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
    """Return the counter and the times of calls of one kind: looked up once."""
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)


def init_app(app: Flask) -> None:
    """Count and time the app's requests, and serve everything at `/metrics`."""

    @app.before_request
    def begin() -> None:
        IN_PROGRESS.inc()
        request.environ["metrics.began"] = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        # A path that is no route is somebody's guess: one label for all of them.
        route = str(request.url_rule) if request.url_rule else "none"
        method = request.method if request.url_rule else "any"
        began = request.environ["metrics.began"]
        status = str(response.status_code)

        @response.call_on_close
        def closed() -> None:
            IN_PROGRESS.dec()
            requests, seconds = of_calls(method, route, status)
            requests.inc()
            seconds.observe(time.perf_counter() - began)

        return response

    @app.get("/metrics")
    def metrics() -> Response:
        # Here, since what a process sets before it forks is not its children's.
        BUILD.labels(__version__).set(1)
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            processes.MultiProcessCollector(registry)
        return Response(generate_latest(registry), mimetype="text/plain; version=0.0.4")
