"""The API as an app sees it, and a small model of a WatermelonDB device in front of it."""

import itertools
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
from werkzeug.test import Client, TestResponse

from tests import contract

PASSWORD = "correct horse battery"

Record = dict[str, Any]
_serial = itertools.count(1)


class Api:
    """Calls a WSGI application. Bodies go out as React Native's `fetch` sends them: as text."""

    def __init__(self, application: Any) -> None:
        self.client = Client(application)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        **kwargs: Any,
    ) -> TestResponse:
        headers = dict(kwargs.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        response = self.client.open(
            f"/v1{path}",
            method=method,
            data=data,
            content_type="text/plain;charset=UTF-8",
            headers=headers,
            **kwargs,
        )
        # Until it is read, a streamed answer holds its snapshot; a server closes what it has sent.
        response.get_data()
        response.close()
        contract.check(method, f"/v1{path}", response)
        return response

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("POST", path, body, **kwargs)

    def patch(self, path: str, body: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("PATCH", path, body, **kwargs)

    def put(self, path: str, body: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("PUT", path, body, **kwargs)

    def delete(self, path: str, body: Any = None, **kwargs: Any) -> TestResponse:
        return self.call("DELETE", path, body, **kwargs)

    def register(self, email: str | None = None) -> "Device":
        email = email or new_email()
        answer = self.post("/auth/register", {"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return Device(self, email, answer.json)

    def login(self, email: str, password: str = PASSWORD) -> "Device":
        answer = self.post("/auth/login", {"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return Device(self, email, answer.json)


def new_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def new_id() -> str:
    return uuid.uuid4().hex[:16]


def _created(serial: int, **columns: Any) -> Record:
    """A new record, with what WatermelonDB puts into each."""
    at = 1_700_000_000_000 + serial
    marks = {"id": new_id(), "_status": "created", "_changed": ""}
    return marks | columns | {"created_at": at, "updated_at": at}


def project(**values: Any) -> Record:
    """A raw project record, as WatermelonDB pushes it."""
    serial = next(_serial)
    return _created(serial, name=f"Project {serial}", description=None, space_id=None) | values


def task(project_id: str, **values: Any) -> Record:
    """A raw task record, as WatermelonDB pushes it."""
    serial = next(_serial)
    own = {"title": f"Task {serial}", "description": None, "is_completed": False}
    return _created(serial, **own, project_id=project_id) | values


def wire(record: Record) -> Record:
    """What the server sends of a record."""
    return {key: value for key, value in record.items() if key not in ("_status", "_changed")}


def changes(**tables: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        table: {"created": [], "updated": [], "deleted": []} | change
        for table, change in tables.items()
    }


@dataclass
class Device:
    """A device with its own session, its own copy of the data and its own `last_pulled_at`."""

    api: Api
    email: str
    tokens: dict[str, Any]
    last_pulled_at: int = 0
    rows: dict[str, dict[str, Record]] = field(
        default_factory=lambda: {"projects": {}, "tasks": {}}
    )

    @property
    def token(self) -> str:
        token: str = self.tokens["accessToken"]
        return token

    @property
    def session_id(self) -> str:
        claims = jwt.decode(self.token, options={"verify_signature": False})
        sid: str = claims["sid"]
        return sid

    @property
    def user_id(self) -> str:
        id_: str = self.tokens["user"]["id"]
        return id_

    def another(self) -> "Device":
        """Another device of the same user."""
        return self.api.login(self.email)

    def pull_raw(self, last_pulled_at: Any = None, **parameters: Any) -> TestResponse:
        since = self.last_pulled_at or None if last_pulled_at is None else last_pulled_at
        query = {"last_pulled_at": "null" if since is None else since, **parameters}
        return self.api.get("/sync", token=self.token, query_string=query)

    def pull(self, **parameters: Any) -> dict[str, Any]:
        """Pull and apply as WatermelonDB does; return the answer."""
        response = self.pull_raw(**parameters)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json
        for table, change in answer["changes"].items():
            ids = [r["id"] for r in change["created"] + change["updated"]] + change["deleted"]
            assert len(ids) == len(set(ids)), "an id came twice"
            for record in change["created"] + change["updated"]:
                self.rows[table][record["id"]] = record
            for id_ in change["deleted"]:
                self.rows[table].pop(id_, None)
        self.last_pulled_at = answer["timestamp"]
        return answer

    def push_raw(self, changed: Any, **parameters: Any) -> TestResponse:
        query = {"last_pulled_at": self.last_pulled_at or "null", **parameters}
        return self.api.post("/sync", changed, token=self.token, query_string=query)

    def push(self, parameters: dict[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
        response = self.push_raw(changes(**tables), **(parameters or {}))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json
        return answer


def assert_problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The answer is an error in the contract's form; return its body."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.json
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["requestId"] == response.headers["X-Request-ID"]
    assert body.keys() >= {"type", "title"}
    assert body["message"] == body["detail"]
    for path, sentences in body.get("errors", {}).items():
        assert len(body["errorCodes"][path]) == len(sentences)
    if status == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    return body
