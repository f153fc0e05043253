"""The model device of tests/api.py, over real HTTP."""

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests import contract
from tests.api import Api


class Answer:
    """As much of werkzeug's TestResponse as the model device uses."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status_code = response.status
        self.headers = response.headers
        self.mimetype = response.headers.get_content_type()
        self.data = response.read()

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class HttpApi(Api):
    """Calls a server."""

    def __init__(self, url: str, patience: int = 0) -> None:
        self.url = urlsplit(url)
        #: How often a call is made again that got 503, as an app does.
        self.patience = patience

    def call(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Any:
        for _ in range(self.patience):
            answer = self.call_once(method, path, body, **kwargs)
            if answer.status_code != 503:
                return answer
        return self.call_once(method, path, body, **kwargs)

    def call_once(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **kwargs: Any
    ) -> Any:
        assert self.url.hostname
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=60)
        query = kwargs.get("query_string")
        target = f"{self.url.path}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        try:
            connection.request(method, target, data, headers)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        contract.check(method, f"/v1{path}", answer)
        return answer
