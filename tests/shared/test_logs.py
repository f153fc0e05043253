"""What is logged, and in which form."""

import json
import logging

import pytest

import services.sync
from tests.api import Api, Device


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    yield lambda: capsys.readouterr().out.splitlines()
    # Back to what the rest of the run expects.
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


def test_a_slow_statement_is_logged_with_its_request_and_without_its_values(
    device: Device, lines: object
) -> None:
    api = Api(services.sync.create_app(SLOW_SQL_MS=0))
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
    assert any("SELECT users.last_modified_at" in line and "[read-me]" in line for line in said)
    assert f"= '{device.user_id}'" not in "".join(said)
    # Not the last line: a streamed answer is still being read when its request is logged.
    [request] = [line for line in said if " sync request " in line]
    assert " INFO    sync request method=GET route=/v1/sync status=200 " in request
    assert request.endswith("[read-me]")
