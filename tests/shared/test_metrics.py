"""What Prometheus is told, and that it can neither explode nor tell a secret."""

import re
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

import services.auth
import services.sync
from tests.api import Api, Device, changes, project
from tests.clock import Clock
from tests.conftest import Backend

Samples = Callable[..., float]


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def grown() -> Samples:
    """By how much a sample has grown since the last question (all apps here share one registry)."""
    client = services.auth.create_app().test_client()

    def scrape() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        with client.get("/metrics") as response:
            return samples(response.text)

    before = scrape()

    def grown(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        now = scrape()
        return now.get(key, 0) - before.get(key, 0)

    return grown


def test_requests_are_counted_by_route_and_never_by_path(device: Device, grown: Samples) -> None:
    for path in ("/sync", "/sync?last_pulled_at=1", "/auth/sessions/x", "/auth/guess/1", "/auth/y"):
        device.api.get(path, token=device.token)
    requests = "http_requests_total"
    assert grown(requests, method="GET", route="/v1/sync", status="200") == 2
    assert grown(requests, method="any", route="none", status="404") == 2
    assert grown("http_request_duration_seconds_count", method="GET", route="/v1/sync") == 2


def test_sessions_are_counted_by_what_came_of_them(api: Api, clock: Clock, grown: Samples) -> None:
    device = api.register()
    api.login(device.email)
    wrong = {"email": device.email, "password": "not the right one"}
    for _ in range(11):
        api.post("/auth/login", wrong)
    refresh = device.tokens["refreshToken"]
    for _ in range(2):
        api.post("/auth/refresh", token=refresh)
    newest = api.post("/auth/refresh", token=refresh).json["refreshToken"]
    api.post("/auth/refresh", token=newest)
    clock.advance(seconds=31)
    assert api.post("/auth/refresh", token=refresh).status_code == 401
    assert api.post("/auth/refresh", token=newest).status_code == 401
    assert grown("auth_registrations_total") == 1
    logins = {
        outcome: grown("auth_logins_total", outcome=outcome)
        for outcome in ("succeeded", "failed", "locked", "refused")
    }
    assert logins == {"succeeded": 1, "failed": 9, "locked": 1, "refused": 1}
    refreshes = {
        outcome: grown("auth_refreshes_total", outcome=outcome)
        for outcome in ("rotated", "repeated", "reused", "refused")
    }
    assert refreshes == {"rotated": 2, "repeated": 2, "reused": 1, "refused": 1}


def test_sync_is_counted_by_record_and_by_mode(
    device: Device, backend: Backend, grown: Samples
) -> None:
    other = device.another()
    p = project()
    broken = project(name=7, shoe_size=44)
    device.push(projects={"created": [p, broken]})
    other.pull()
    other.pull()
    device.pull()
    other.push(projects={"updated": [p | {"name": "Mine"}]})
    device.push(projects={"updated": [p | {"name": "Yours"}]})
    assert grown("sync_records_total", direction="pushed", bucket="created") == 2
    assert grown("sync_records_total", direction="pushed", bucket="updated") == 2
    assert grown("sync_records_total", direction="pulled", bucket="created") == 4
    assert grown("sync_pulls_total", mode="first") == 2
    assert grown("sync_pulls_total", mode="nothing") == 1
    assert grown("sync_repairs_total") == 1
    assert grown("sync_unknown_columns_total") == 1
    assert grown("sync_conflicts_total") == 1
    assert grown("sync_payload_bytes_count", direction="pulled") == 3
    assert grown("sync_payload_bytes_count", direction="pushed") == 3
    device.pull_raw(0, limit=1)
    assert grown("sync_pull_pages_total") == 1


def test_the_database_and_the_cache_are_watched(
    device: Device, backend: Backend, grown: Samples
) -> None:
    device.pull()
    assert grown("db_statement_duration_seconds_count") > 0
    assert grown("db_connections_in_use") == 0
    if backend.redis:
        before = sum(grown("revocation_checks_total", outcome=one) for one in ("alive", "no_lease"))
        device.api.get("/auth/sessions", token=device.token)
        after = sum(grown("revocation_checks_total", outcome=one) for one in ("alive", "no_lease"))
        assert after == before + 1
    down = Api(services.sync.create_app(REDIS_URL="redis://127.0.0.1:1/0"))
    for _ in range(2):
        down.get("/sync", token=device.token)
    assert grown("cache_failures_total") >= 1
    assert grown("cache_paused_total") >= 1
    assert grown("http_requests_in_progress") == 0


def test_no_label_holds_what_somebody_sent(device: Device) -> None:
    device.push_raw(changes(projects={"created": [project(zebra="x")]}))
    device.api.get("/sync/zebra", token=device.token)
    device.api.call("ZEBRA", "/sync", token=device.token)
    text = services.sync.create_app().test_client().get("/metrics").text
    assert not re.search("zebra", text, re.IGNORECASE)
    assert device.user_id not in text
