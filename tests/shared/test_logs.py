"""What is logged, and in which form."""

import json
import logging
import re
from collections.abc import Callable

import pytest

import services.auth
import services.sync
import services.users
from tests.api import PASSWORD, Api, Device, new_email
from tests.conftest import ROOT


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    yield lambda: capsys.readouterr().out.splitlines()
    # Back to what the rest of the run expects.
    with capsys.disabled():
        services.sync.create_app()


def test_every_event_has_its_request_and_its_user(device: Device, lines: object) -> None:
    api = Api(services.sync.create_app())
    api.get("/sync", token=device.token, headers={"X-Request-ID": "my-request"})
    event = json.loads(lines()[-1])  # type: ignore[operator]
    assert event["event"] == "request"
    assert event["service"] == "sync"
    assert event["request_id"] == "my-request"
    assert event["user_id"] == device.user_id
    assert event["route"] == "/v1/sync"
    assert event["status"] == 200
    assert event["duration_ms"] > 0
    assert event.keys() >= {"time", "level"}


def test_the_line_of_an_error_says_its_code_and_the_first_fault(
    device: Device, lines: Callable[[], list[str]]
) -> None:
    api = Api(services.sync.create_app())
    api.post("/sync", {"projects": {"created": [{"name": "no id"}]}}, token=device.token)
    event = json.loads(lines()[-1])
    assert (event["status"], event["code"]) == (422, "invalid_request")
    assert event["first_error"].startswith("projects.created.0: The id must be ")
    api.get("/sync", token="nobody's")
    event = json.loads(lines()[-1])
    assert (event["status"], event["code"]) == (401, "unauthorized")
    assert "first_error" not in event
    api.get("/sync", token=device.token)
    assert "code" not in json.loads(lines()[-1])


def test_a_slow_statement_is_logged_with_its_request_and_without_its_values(
    device: Device, lines: object
) -> None:
    api = Api(services.sync.create_app(SLOW_SQL_MS=0))
    # Those with which it starts belong to no request.
    lines()  # type: ignore[operator]
    api.get("/sync", token=device.token, headers={"X-Request-ID": "slow-one"})
    slow = [json.loads(line) for line in lines() if "slow_statement" in line]  # type: ignore[operator]
    assert slow
    assert {event["request_id"] for event in slow} == {"slow-one"}
    assert all(event["duration_ms"] >= 0 for event in slow)
    assert device.user_id not in "".join(event["statement"] for event in slow)


def test_statements_are_logged_on_request_and_for_people_when_told(
    device: Device, lines: object
) -> None:
    api = Api(services.sync.create_app(LOG_SQL=True, LOG_TEXT=True))
    try:
        api.get("/sync", token=device.token, headers={"X-Request-ID": "read-me"})
    finally:
        logging.getLogger("sqlalchemy.engine.Engine").setLevel(logging.WARNING)
    said = lines()  # type: ignore[operator]
    assert any("users.last_modified_at" in line and "[read-me]" in line for line in said)
    assert f"= '{device.user_id}'" not in "".join(said)
    # Not the last line: a streamed answer is still being read when its request is logged.
    [request] = [line for line in said if " sync request " in line]
    assert " INFO    sync request method=GET route=/v1/sync status=200 " in request
    assert request.endswith("[read-me]")


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])
def test_who_did_what_to_an_account_is_logged_at_every_level(
    api: Api, admin: Device, lines: Callable[[], list[str]], level: int
) -> None:
    auth = Api(services.auth.create_app(LOG_LEVEL=level))
    users = Api(services.users.create_app(LOG_LEVEL=level))
    lines()
    email = new_email()
    credentials = {"email": email, "password": PASSWORD}
    first = auth.post("/auth/register", credentials).json
    auth.post("/auth/login", credentials | {"password": "wrong one, again"})
    token = auth.post("/auth/login", credentials).json["accessToken"]
    body = {"currentPassword": PASSWORD, "newPassword": PASSWORD + " new"}
    assert users.put("/users/me/password", body, token=token).status_code < 300
    auth.post("/auth/logout", token=token)
    user_id = first["user"]["id"]
    other = new_email()
    created = users.post("/users", {"email": other, "password": PASSWORD}, token=admin.token).json
    users.patch(f"/users/{user_id}", {"isActive": False}, token=admin.token)
    users.delete(f"/users/{created['id']}", token=admin.token)
    events = [json.loads(line) for line in lines()]
    said = {event["event"] for event in events if event.get("audit")}
    assert said >= {
        "account_registered",
        "login_failed",
        "login_succeeded",
        "password_changed",
        "logged_out",
        "account_created_by_admin",
        "account_changed_by_admin",
        "account_deleted_by_admin",
    }
    assert all(event["request_id"] and event["service"] for event in events if event.get("audit"))


def test_all_that_accounts_and_sessions_log_is_audited() -> None:
    for service in ("auth", "users"):
        for path in (ROOT / "services" / service).glob("*.py"):
            text = path.read_text()
            if re.search(r"\blog\.\w+\(", text):
                assert 'log = logging.getLogger("audit")' in text, path
