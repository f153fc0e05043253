"""A server of the app's own, which calls with a service key."""

import uuid
from typing import TYPE_CHECKING, Any

from tests.api import Api

if TYPE_CHECKING:
    from flask import Flask

ALL_SCOPES = ("sync:read", "sync:write", "reference:write")


class Service:
    """Calls under `/v1/service`, with one key."""

    def __init__(self, api: Api, key: str) -> None:
        self.api, self.key = api, key

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer of a call, whatever it is."""
        given = {name: value for name, value in query.items() if value is not None}
        return self.api.call(
            method, f"/service{path}", body, token=self.key, query_string=given or None
        )

    def get(self, path: str, **query: Any) -> Any:
        """The body of what must be an answer."""
        answer = self.call("GET", path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json


def new_name() -> str:
    return f"key-{uuid.uuid4().hex[:20]}"


def new_key(sync_service: "Flask", *scopes: str, name: str | None = None) -> str:
    """Run the command that makes service keys; return the key."""
    arguments = ["service-key", name or new_name(), ",".join(scopes or ALL_SCOPES)]
    result = sync_service.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output
    return str(result.output.split()[-1])
