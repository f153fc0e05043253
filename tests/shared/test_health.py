"""Health and readiness, and what a cache that lies can do: nothing (docs/api.md, "Each service")."""

import pytest

import services.auth
import services.sync
import services.users
from services.openapi import describe
from shared import __version__
from tests.api import Api, Device, assert_problem
from tests.conftest import Backend

SERVICES = (services.auth, services.users, services.sync)
NOWHERE = "mysql+pymysql://nobody:x@127.0.0.1:1/nothing"


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.__name__)
def test_a_service_is_ready_while_its_database_answers(
    application: object, backend: Backend, service: object
) -> None:
    client = service.create_app().test_client()
    assert client.get("/healthz").json == {"status": "ok", "version": __version__}
    redis = "up" if backend.redis else "off"
    assert client.get("/readyz").json == {"status": "ok", "database": "up", "redis": redis}

    without_redis = service.create_app(REDIS_URL="redis://127.0.0.1:1/0").test_client()
    ready = without_redis.get("/readyz")
    assert (ready.status_code, ready.json["redis"]) == (200, "down")

    without_database = service.create_app(DATABASE_URL=NOWHERE).test_client()
    assert without_database.get("/healthz").status_code == 200
    refused = without_database.get("/readyz")
    assert_problem(refused, 503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0


@pytest.mark.any_backend
@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.__name__)
def test_the_release_is_to_be_seen_at_run_time(application: object, service: object) -> None:
    client = service.create_app().test_client()
    assert client.get("/healthz").json["version"] == __version__
    assert f'build_info{{version="{__version__}"}} 1.0\n' in client.get("/metrics").text
    assert describe()["info"]["version"] == __version__


def test_a_body_that_is_too_long_is_413(device: Device) -> None:
    small = Api(services.sync.create_app(MAX_PUSH_BYTES=1000))
    refused = small.post("/sync", b"x" * 1001, token=device.token)
    assert_problem(refused, 413, "too_large")


def test_a_bug_is_500_and_says_nothing_of_itself(device: Device) -> None:
    app = services.sync.create_app()
    app.view_functions["sync.pull"] = lambda: {}["secret of the server"]
    refused = Api(app).get("/sync", token=device.token)
    assert_problem(refused, 500, "internal_error")
    assert "secret" not in refused.text
