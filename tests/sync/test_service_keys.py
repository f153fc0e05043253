"""Service keys: who may call what, and who may not (docs/api.md, "The server's own hand")."""

import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select, update

from services.openapi import describe, routes
from services.sync.service import keys as service_keys
from services.sync.service.guard import check_service_key
from services.sync.service.keys import LENGTH, PREFIX, SCOPES
from shared.database.base import db
from shared.models import ServiceKey
from shared.web import bounds
from tests.api import Api, Device, assert_problem
from tests.clock import Clock
from tests.service import Service, new_key, new_name
from tests.statements import sent, statements

CALLS = [
    (method.upper(), path.removeprefix("/v1"), view.scope)
    for path, method, view, guards in routes()
    if check_service_key in guards
]
OF_USERS = [
    (method.upper(), path.removeprefix("/v1"))
    for path, methods in describe()["paths"].items()
    for method, operation in methods.items()
    if operation["security"] == [{"accessToken": []}]
]


def run(sync_service: Flask, *arguments: str) -> Result:
    return sync_service.test_cli_runner().invoke(args=list(arguments))


def row(sync_service: Flask, name: str) -> ServiceKey:
    with sync_service.app_context(), db.session.begin():
        return db.session.scalars(select(ServiceKey).where(ServiceKey.name == name)).one()


def url(path: str) -> str:
    return re.sub(r"{\w+}", "an-id", path)


def test_a_key_is_shown_once_as_the_last_word_and_the_database_has_a_hash(
    sync_service: Flask,
) -> None:
    name = new_name()
    key = new_key(sync_service, "sync:read", name=name)
    assert re.fullmatch(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH}}}", key)
    found = row(sync_service, name)
    assert key not in str(
        {column.name: getattr(found, column.name) for column in ServiceKey.__table__.c}
    )
    assert found.key_hash == service_keys.hash_of(key)
    listed = run(sync_service, "service-keys").output
    assert name in listed and key not in listed


def test_no_two_keys_are_alike(sync_service: Flask) -> None:
    keys = {new_key(sync_service, "sync:read") for _ in range(20)}
    assert len(keys) == 20
    assert len({key[: len(PREFIX) + 6] for key in keys}) == 20


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("name", "scopes", "said"),
    [
        ("backoffice", "sync:everything", "SCOPES is one or more of these"),
        ("backoffice", "sync:read,", "SCOPES is one or more of these"),
        ("backoffice", "", "SCOPES is one or more of these"),
        ("", "sync:read", "NAME has 1 to 36"),
        ("back office", "sync:read", "NAME has 1 to 36"),
        ("bäck", "sync:read", "NAME has 1 to 36"),
        ("x" * 37, "sync:read", "NAME has 1 to 36"),
    ],
)
def test_a_name_or_a_scope_that_is_none_is_refused_in_one_sentence(
    sync_service: Flask, name: str, scopes: str, said: str
) -> None:
    result = run(sync_service, "service-key", name, scopes)
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert said in result.output


def test_names_are_unique_among_living_keys(sync_service: Flask) -> None:
    name = new_name()
    new_key(sync_service, name=name)
    refused = run(sync_service, "service-key", name, "sync:read")
    assert refused.exit_code == 1 and "A living service key has this name." in refused.output
    assert run(sync_service, "revoke-service-key", name).exit_code == 0
    new_key(sync_service, name=name)


def test_of_two_keys_of_one_name_made_at_once_one_is_refused(sync_service: Flask) -> None:
    name, together = new_name(), Barrier(2)

    def make(_: int) -> str | None:
        together.wait()
        with sync_service.app_context():
            try:
                return service_keys.create_key(name, ["sync:read"])
            except service_keys.NameTaken:
                return None

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(make, range(2)))
    assert made.count(None) == 1


def test_the_list_has_name_scopes_creation_and_last_use(
    service: Service, sync_service: Flask
) -> None:
    name = new_name()
    key = new_key(sync_service, "sync:write", "sync:read", name=name)

    def listed() -> list[str]:
        lines = run(sync_service, "service-keys").output.splitlines()
        return next((line.split() for line in lines if line.split()[0] == name), [])

    assert listed()[1] == "sync:read,sync:write"
    assert listed()[3:] == ["never"]
    Service(service.api, key).get("/spaces", limit=1)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", time) for time in listed()[2:])
    assert run(sync_service, "revoke-service-key", name).exit_code == 0
    assert listed() == []


def test_a_key_opens_the_calls_of_its_scope_and_no_other(api: Api, sync_service: Flask) -> None:
    for scope in SCOPES:
        key = new_key(sync_service, scope)
        for method, path, needed in CALLS:
            answer = api.call(method, url(path), b"{}", token=key)
            if scope == needed:
                assert answer.status_code not in (401, 403), (method, path, answer.text)
            else:
                problem = assert_problem(answer, 403, "forbidden")
                assert needed in problem["detail"]


def test_every_service_call_names_a_scope() -> None:
    assert {scope for _, _, scope in CALLS} <= set(SCOPES)
    assert {path for path in describe()["paths"] if path.startswith("/v1/service")} == {
        f"/v1{path}" for _, path, _ in CALLS
    }


@pytest.mark.parametrize(("method", "path"), [call[:2] for call in CALLS])
def test_whoever_has_no_living_key_is_401(
    api: Api, admin: Device, sync_service: Flask, method: str, path: str
) -> None:
    name = new_name()
    revoked, living = new_key(sync_service, name=name), new_key(sync_service)
    run(sync_service, "revoke-service-key", name)
    unknown = PREFIX + "0" * LENGTH
    for header in (
        None,
        f"Bearer {unknown}",
        f"Bearer {revoked}",
        f"Bearer {admin.token}",
        f"Bearer {service_keys.hash_of(living)}",
        # One spelling, since limits go by it.
        f"Bearer  {living}",
        f"Bearer\t{living}",
        f"Bearer {living} ",
        f"Bearer {living}=",
        f"Bearer {living}x",
        f"Bearer {living[:-1]}",
        f"Bearer {living}, Bearer {living}",
        f"Basic {living}",
        f"Bearer x{living}",
        living,
        f"Bearer {living.upper()}",
        f"Bearer {living[:-1]}é",
    ):
        headers = {} if header is None else {"Authorization": header}
        answer = api.call(method, url(path), b"{}", headers=headers)
        assert_problem(answer, 401, "unauthorized")
    in_query = {"key": living, "access_token": living, "Authorization": f"Bearer {living}"}
    assert_problem(api.call(method, url(path), query_string=in_query), 401, "unauthorized")
    assert_problem(api.call("OPTIONS", url(path), token=living), 401, "unauthorized")
    assert api.call(method, url(path), token=living).status_code not in (401, 403)


@pytest.mark.any_backend
@pytest.mark.parametrize(("method", "path"), OF_USERS)
def test_a_service_key_at_a_users_call_is_401(service: Service, method: str, path: str) -> None:
    answer = service.api.call(method, url(path), b"{}", token=service.key)
    assert_problem(answer, 401, "unauthorized")


def test_a_revoked_key_is_refused_at_once_by_every_process(api: Api, sync_service: Flask) -> None:
    """Nothing is remembered of a key: each call asks the database, by one statement."""
    name = new_name()
    service = Service(api, new_key(sync_service, name=name))
    service.get("/spaces", limit=1)
    with sent() as texts:
        service.get("/spaces", limit=1)
    assert len([text for text in texts if "service_keys" in text]) == 1
    run(sync_service, "revoke-service-key", name)
    assert_problem(service.call("GET", "/spaces"), 401, "unauthorized")
    again = run(sync_service, "revoke-service-key", name)
    assert again.exit_code == 1 and "no living service key" in again.output


def test_what_cannot_be_a_key_costs_no_statement(api: Api, device: Device) -> None:
    with statements() as counted:
        for token in ("nonsense", PREFIX, device.token):
            assert api.get("/service/spaces", token=token).status_code == 401
    assert not counted


def test_the_last_use_is_written_once_a_minute(
    api: Api, sync_service: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_keys, "_noted", {})
    name = new_name()
    service = Service(api, new_key(sync_service, name=name))

    def writes(calls: int) -> int:
        with sent() as texts:
            for _ in range(calls):
                service.get("/spaces", limit=1)
        return len([text for text in texts if text.startswith("UPDATE service_keys")])

    assert writes(3) == 1
    first = row(sync_service, name).last_used_at
    clock.advance(seconds=61)
    # Of another process, which has not noted any.
    service_keys._noted.clear()
    assert writes(3) == 1
    last = row(sync_service, name).last_used_at
    assert first is not None and last is not None and last >= first + 61_000


def test_a_last_use_that_cannot_be_written_is_in_nobodys_way(
    api: Api, sync_service: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_keys, "_noted", {})
    monkeypatch.setattr(
        service_keys, "NOTE_USE", update(ServiceKey).values(last_used_at=db.text("nothing"))
    )
    service = Service(api, new_key(sync_service))
    assert service.get("/spaces", limit=1)["spaces"] is not None
    with sent() as texts:
        service.get("/spaces", limit=1)
    # Nor is it tried with each call.
    assert not [text for text in texts if text.startswith("UPDATE")]


def test_the_last_use_is_written_when_the_answer_is_there(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    monkeypatch.setattr(
        "services.sync.service.guard.note_use", lambda key, _engine: noted.append(key.name)
    )
    answer = service.api.client.open(
        "/v1/service/spaces", headers={"Authorization": f"Bearer {service.key}"}
    )
    assert answer.status_code == 200 and not noted
    answer.close()
    assert len(noted) == 1


@pytest.mark.any_backend
def test_requests_of_one_key_beyond_its_places_are_429_and_leave_others_alone(
    service: Service, sync_service: Flask
) -> None:
    held = service_keys.hash_of(service.key)
    with bounds.places.lock:
        bounds.places.taken[held] += bounds.REQUESTS_PER_USER
    try:
        problem = assert_problem(service.call("GET", "/spaces"), 429, "rate_limited")
        assert problem
        other = Service(service.api, new_key(sync_service))
        assert other.call("GET", "/spaces").status_code == 200
    finally:
        with bounds.places.lock:
            bounds.places.taken[held] -= bounds.REQUESTS_PER_USER
    assert service.call("GET", "/spaces").status_code == 200


@pytest.mark.any_backend
def test_a_log_line_has_the_name_of_the_key_and_never_the_key(
    api: Api, sync_service: Flask
) -> None:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handlers = []
    for name in ("services", "shared", "audit"):
        logger = logging.getLogger(name)
        handler = Lines()
        handler.setFormatter(logger.handlers[0].formatter)
        handler.addFilter(logger.handlers[0].filters[0])
        logger.addHandler(handler)
        handlers.append((logger, handler))
    try:
        name = new_name()
        key = new_key(sync_service, "sync:read", name=name)
        Service(api, key).get("/spaces", limit=1)
        run(sync_service, "revoke-service-key", name)
        api.get("/service/spaces", token=key)
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)
    events = [json.loads(line) for line in lines]
    assert not [line for line in lines if key in line or PREFIX in line]
    made = next(event for event in events if event["event"] == "service_key_created")
    assert (made["audit"], made["key_name"], made["scopes"]) == (True, name, "sync:read")
    assert [e["audit"] for e in events if e["event"] == "service_key_revoked"] == [True]
    asked = [e for e in events if e["event"] == "request"]
    assert [(e.get("service_key"), e["route"], e["status"]) for e in asked] == [
        (name, "/v1/service/spaces", 200),
        (None, "/v1/service/spaces", 401),
    ]
