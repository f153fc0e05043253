"""Sessions: seeing them and ending them (docs/api.md, "Auth service")."""

import re

import services.auth
from tests.api import Api, Device, assert_problem
from tests.clock import Clock


def sessions(device: Device) -> list[dict[str, object]]:
    answer = device.api.get("/auth/sessions", token=device.token)
    assert answer.status_code == 200
    return answer.json["sessions"]


def test_sessions_are_listed_with_their_devices(device: Device) -> None:
    body = {"email": device.email, "password": "correct horse battery", "deviceName": "Tablet 🍉"}
    tablet = device.api.post("/auth/login", body).json
    listed = sessions(device)
    assert len(listed) == 2
    by_name = {s["deviceName"]: s for s in listed}
    assert by_name[None]["current"] is True
    assert by_name["Tablet 🍉"]["current"] is False
    for session in listed:
        assert session.keys() == {
            "id",
            "deviceName",
            "createdAt",
            "lastUsedAt",
            "expiresAt",
            "current",
        }
        for name in ("createdAt", "lastUsedAt", "expiresAt"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", session[name])
    tablet_list = device.api.get("/auth/sessions", token=tablet["accessToken"]).json["sessions"]
    assert {s["id"]: s["current"] for s in tablet_list} == {
        s["id"]: not s["current"] for s in listed
    }


def test_a_refresh_is_a_use(device: Device, clock: Clock) -> None:
    before = sessions(device)[0]
    clock.advance(seconds=5)
    device.api.post("/auth/refresh", token=device.tokens["refreshToken"])
    after = sessions(device)[0]
    assert after["lastUsedAt"] > before["lastUsedAt"]
    assert after["createdAt"] == before["createdAt"]


def test_ending_one_session_ends_that_one_only(device: Device) -> None:
    other = device.another()
    assert (
        device.api.delete(f"/auth/sessions/{other.session_id}", token=device.token).status_code
        == 204
    )
    assert_problem(device.api.get("/users/me", token=other.token), 401, "unauthorized")
    assert [s["id"] for s in sessions(device)] == [device.session_id]


def test_a_session_of_somebody_else_is_404(device: Device) -> None:
    stranger = device.api.register()
    for session_id in (stranger.session_id, "unknown", "x" * 500, "ü", "%F0%9F%8D%89"):
        refused = device.api.delete(f"/auth/sessions/{session_id}", token=device.token)
        assert_problem(refused, 404, "not_found")
    assert device.api.get("/users/me", token=stranger.token).status_code == 200


def test_logout_all_ends_every_session_of_the_user(device: Device) -> None:
    others = [device.another() for _ in range(2)]
    stranger = device.api.register()
    assert device.api.post("/auth/logout-all", token=device.token).status_code == 204
    for one in (device, *others):
        assert_problem(device.api.get("/sync", token=one.token), 401, "unauthorized")
        refused = device.api.post("/auth/refresh", token=one.tokens["refreshToken"])
        assert_problem(refused, 401, "unauthorized")
    assert device.api.get("/sync", token=stranger.token).status_code == 200


def test_a_session_ends_at_its_time_however_often_it_is_refreshed(
    application: object, clock: Clock
) -> None:
    api = Api(services.auth.create_app(SESSION_SECONDS=60))
    device = api.register()
    token = device.tokens["refreshToken"]
    (began,) = sessions(device)
    for _ in range(3):
        clock.advance(seconds=1)
        token = api.post("/auth/refresh", token=token).json["refreshToken"]
    assert sessions(device)[0]["expiresAt"] == began["expiresAt"]
    clock.advance(seconds=58)
    assert_problem(api.post("/auth/refresh", token=token), 401, "unauthorized")
    refused = api.get("/auth/sessions", token=device.token)
    assert_problem(refused, 401, "unauthorized")
