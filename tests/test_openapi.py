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
from deploy.api.openapi import describe
from services.sync.schemas import SAFE_ID
from tests import contract
from tests.api import Device, project

CALLS = [
    (path, method, mode)
    for path, methods in describe()["paths"].items()
    for method in methods
    for mode in GenerationMode
    # Without anything to send there is nothing to get wrong.
    if (path, mode) != ("/v1/auth/jwks.json", GenerationMode.NEGATIVE)
]


@pytest.mark.parametrize(("path", "method", "mode"), CALLS)
def test_whatever_is_asked_is_answered_as_described(
    application: Any, admin: Device, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schemathesis.openapi.from_wsgi("/v1/openapi.json", application)[path][method]

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {admin.token}"},
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    ask()


def test_every_route_of_the_services_is_described(application: object) -> None:
    described = {re.sub(r"{\w+}", "an-id", path) for path in describe()["paths"]}
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
