"""A revoked token is refused at once, by every service, whatever Redis does (docs/design.md, invariant 4)."""

import signal
from collections.abc import Callable, Iterator

import pytest

import services.auth
import services.sync
import services.users
from tests.api import PASSWORD, Api, Device, assert_problem
from tests.conftest import Backend

#: What ends the sessions of `device`, done by another session or by an administrator.
Ending = Callable[[Device, Device], object]

ENDINGS: dict[str, Ending] = {
    "logout": lambda device, _: device.api.post("/auth/logout", token=device.token),
    "logout by refresh token": lambda device, _: device.api.post(
        "/auth/logout", token=device.tokens["refreshToken"]
    ),
    "logout of all": lambda device, _: device.api.post(
        "/auth/logout-all", token=device.another().token
    ),
    "end of the session": lambda device, _: device.api.delete(
        f"/auth/sessions/{device.session_id}", token=device.another().token
    ),
    "change of the password": lambda device, _: device.api.put(
        "/users/me/password",
        {"currentPassword": PASSWORD, "newPassword": "another " + PASSWORD},
        token=device.another().token,
    ),
    "deactivation": lambda device, admin: device.api.patch(
        f"/users/{device.user_id}", {"isActive": False}, token=admin.token
    ),
    "deletion by an administrator": lambda device, admin: device.api.delete(
        f"/users/{device.user_id}", token=admin.token
    ),
    "deletion of the account": lambda device, _: device.api.delete(
        "/users/me", {"password": PASSWORD}, token=device.another().token
    ),
}


@pytest.fixture(params=["up", "flushed", "restarted", "hanging", "gone"])
def redis_that(request: pytest.FixtureRequest, backend: Backend) -> Iterator[Callable[[], None]]:
    """Brings Redis into a state; puts it right again afterwards."""
    redis = backend.redis
    if redis is None:
        if request.param != "gone":
            pytest.skip("the embedded backend has no Redis, ever")
        yield lambda: None
        return

    def signal_all(number: int) -> None:
        for node in getattr(redis, "nodes", [redis]):
            node.process.send_signal(number)

    def restart() -> None:
        redis.stop()
        redis.start()

    states: dict[str, Callable[[], object]] = {
        "up": lambda: None,
        "flushed": lambda: redis.client().flushall(),
        "restarted": restart,
        "hanging": lambda: signal_all(signal.SIGSTOP),
        "gone": redis.stop,
    }
    yield lambda: states[request.param]() and None
    if request.param == "hanging":
        signal_all(signal.SIGCONT)
    elif request.param == "gone":
        redis.start()


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_a_revoked_token_is_refused_by_every_service(
    admin: Device, redis_that: Callable[[], None], ending: Ending
) -> None:
    device = admin.api.register()
    # Other instances of the services, so that nothing rests on what one process remembers.
    instances = {
        "/auth/sessions": Api(services.auth.create_app()),
        "/users/me": Api(services.users.create_app()),
        "/sync": Api(services.sync.create_app()),
    }
    for path, instance in instances.items():
        assert instance.get(path, token=device.token).status_code == 200
    redis_that()
    assert ending(device, admin).status_code in (200, 204)
    for path, instance in instances.items():
        assert_problem(instance.get(path, token=device.token), 401, "unauthorized")
    refused = device.api.post("/auth/refresh", token=device.tokens["refreshToken"])
    assert_problem(refused, 401, "unauthorized")
    # The session that did it by changing the password goes on, and so does everybody else's.
    assert device.api.get("/users/me", token=admin.token).status_code == 200
