"""The API and its description say the same, whatever is asked (every other test checks it too)."""

import re
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import services.auth
import services.sync
import services.users
from services.openapi import describe
from services.sync.schemas import SAFE_ID
from tests import contract
from tests.api import Api, Device, project
from tests.service import Service

DESCRIBED = describe()
CALLS = [(path, method) for path, methods in DESCRIBED["paths"].items() for method in methods]
#: Without anything to send there is nothing to get wrong.
NOTHING_TO_SEND = ("/v1/auth/jwks.json", "/v1/auth/methods", "/v1/sync/live")


@pytest.fixture(scope="module")
def read(application: Any) -> Any:
    """The description as it is served, read by Schemathesis."""
    return schemathesis.openapi.from_wsgi("/v1/openapi.json", application)


def ask(read: Any, token: str, path: str, method: str, mode: GenerationMode) -> None:
    """Ask ten times what the description allows, or what it does not."""

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=read[path][method].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"},
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    run()


def token_for(path: str, admin: Device, service: Service) -> str:
    return service.key if path.startswith("/v1/service/") else admin.token


#: On a server tests/stack/test_edge.py asks the same, through the gateway.
@pytest.mark.any_backend
@pytest.mark.parametrize(("path", "method"), CALLS)
def test_whatever_is_asked_is_answered_as_described(
    read: Any, admin: Device, service: Service, path: str, method: str
) -> None:
    ask(read, token_for(path, admin, service), path, method, GenerationMode.POSITIVE)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("path", "method"), [call for call in CALLS if call[0] not in NOTHING_TO_SEND]
)
def test_whatever_must_not_be_asked_is_answered_as_described(
    read: Any, admin: Device, service: Service, path: str, method: str
) -> None:
    ask(read, token_for(path, admin, service), path, method, GenerationMode.NEGATIVE)


def test_every_route_of_the_services_is_described(application: object) -> None:
    described = {re.sub(r"{\w+}", "an-id", path) for path in DESCRIBED["paths"]}
    for service in (services.auth, services.users, services.sync):
        rules = [
            re.sub(r"<.*?>", "an-id", str(rule))
            for rule in service.create_app().url_map.iter_rules()
        ]
        assert {rule for rule in rules if rule.startswith("/v1/")} <= described


def test_an_answer_that_is_not_described_is_noticed(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.push(projects={"created": [project()]})
    pulled = contract.description()["components"]["schemas"]["projects.record"]
    monkeypatch.delitem(pulled["properties"], "name")
    contract._validator.cache_clear()
    with pytest.raises(jsonschema_rs.ValidationError):
        device.another().pull()
    contract._validator.cache_clear()


def test_every_synced_table_is_described_with_its_limits() -> None:
    task = contract.description()["components"]["schemas"]["tasks.record"]
    assert task["properties"]["id"] == {"type": "string", "pattern": f"^{SAFE_ID.pattern}$"}
    assert task["properties"]["title"] == {"type": "string", "maxLength": 255}
    assert task["properties"]["is_completed"] == {"type": "boolean"}
    assert task["properties"]["description"]["type"] == ["string", "null"]
    assert task["properties"]["created_at"] == {"type": "integer"}
    assert task["required"] == sorted(task["properties"])


def examples_of(schema: Any) -> Any:
    """The body that a schema's examples make."""
    schemas = DESCRIBED["components"]["schemas"]
    if "$ref" in schema:
        return examples_of(schemas[schema["$ref"].rpartition("/")[2]])
    members = schema["properties"].items()
    return {name: member["examples"][0] for name, member in members if "examples" in member}


def test_every_parameter_and_member_of_a_body_is_explained() -> None:
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                assert parameter["description"], (method, path, parameter)
    for name, schema in DESCRIBED["components"]["schemas"].items():
        for member, there in schema.get("properties", {}).items() if name.endswith("Body") else ():
            assert there["description"], (name, member)


def test_the_examples_work_in_the_order_of_a_first_day(application: Any) -> None:
    described = DESCRIBED["paths"]
    api = Api(application)

    def ask(method: str, path: str, token: str | None = None) -> Any:
        operation = described[path][method]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        body = content and (content.get("example") or examples_of(content["schema"]))
        query = {p["name"]: p["example"] for p in operation["parameters"] if "example" in p}
        answer = api.call(method.upper(), path[3:], body, token=token, query_string=query)
        assert answer.status_code < 300, (method, path, answer.text)
        return answer.json

    ask("post", "/v1/auth/register")
    token = ask("post", "/v1/auth/login")["accessToken"]
    for path in ("/v1/sync", "/v1/sync/push"):
        assert ask("post", path, token)["repaired"] == {}
    pulled = [
        ask("get", "/v1/sync", token)["changes"],
        ask("get", "/v1/sync/pull", token)["changes"],
        ask("post", "/v1/sync/pull", token)["changes"],
    ]
    assert all(len(table["created"]) == 1 for changes in pulled for table in changes.values())
    ask("patch", "/v1/users/me", token)
    ask("put", "/v1/users/me/password", token)
