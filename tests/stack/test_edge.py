"""What no app sends: every door answers it, in the form of every error, and stays open to others.

The doors are the gateway, the services themselves behind it, and `make run`.
"""

import http.client
import json
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.openapi import describe
from tests.api import Device, new_email
from tests.servers.stacks import Embedded, Server, Stack
from tests.stack.http_api import HttpApi
from tests.stack.load import eventually


@dataclass(frozen=True)
class Door:
    """Where HTTP comes in."""

    name: str
    port: int

    def ask(self, request: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """The answer to bytes that no HTTP library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            # Whole, before the answer is looked at.
            for start in range(0, len(body), 65536):
                connection.sendall(body[start : start + 65536])
            response = http.client.HTTPResponse(connection, method=request.split(b" ")[0].decode())
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read()

    def refuses(self, request: bytes, *statuses: int, body: bytes = b"") -> None:
        """The answer is one of these errors, in the form."""
        status, headers, text = self.ask(request, body)
        assert status in statuses, (self.name, request[:80], status, text[:200])
        assert headers["content-type"] == "application/problem+json"
        said = orjson.loads(text)
        assert said["status"] == status
        assert said["message"] == said["detail"]
        assert said["requestId"] == headers["x-request-id"]
        assert said.keys() >= {"type", "title", "code"}


@pytest.fixture
def doors(server: Server) -> list[Door]:
    if isinstance(server, Embedded):
        return [Door("make run", server.port)]
    if isinstance(server, Stack):
        services = [Door(name, service.port) for name, service in server.services.items()]
        return [Door("gateway", server.gateway.port), *services]
    pytest.skip("one stack of containers is as good as another")


@pytest.fixture
def door(doors: list[Door]) -> Door:
    """The one that clients see."""
    return doors[0]


@pytest.fixture
def device(server: Server) -> Device:
    return HttpApi(server.url).register()


LINE = b"GET /v1/sync HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/sync HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (b"nonsense\r\n\r\n", (400,)),
        (b"GET\r\n\r\n", (400,)),
        (b"GET /v1/sync\r\n\r\n", (400, 401)),
        (b" GET /v1/sync HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"GET /v1/sync HTTP/3.7\r\nHost: x\r\n\r\n", (400, 505)),
        (b"GET /v1/sync HTTP/2.0\r\nHost: x\r\n\r\n", (400, 505)),
        (b"GET /v1/sync HTTP/0.9\r\nHost: x\r\n\r\n", (400, 401, 505)),
        (b"GET /v1/sync HTTP/1.10\r\nHost: x\r\n\r\n", (400, 401, 505)),
        (b"GET /v1/sync XTTP/1.1\r\nHost: x\r\n\r\n", (400, 505)),
        (b"GET /v1/sync HTTP/1.0\r\n\r\n", (401, 404)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
        (b"GET http://other/v1/sync HTTP/1.1\r\nHost: x\r\n\r\n", (401, 404)),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 405)),
        (b"get /v1/sync HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405)),
        (b"GET /v1/\0sync HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"GET /v1/sync%00 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
        (b"GET /v1/%zz HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
        (b"GET /v1/\xff HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
        (b"GET /" + b"y" * 65536 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414,)),
        (LINE + b"X: " + b"y" * 65536 + b"\r\n\r\n", (431,)),
        (LINE + b"X: y\r\n" * 5000 + b"\r\n", (431,)),
        (LINE + b"no colon\r\n\r\n", (400, 401, 404)),
        (LINE + b"bad name: x\r\n\r\n", (400, 401, 404)),
        (LINE + b"X: a\r\n folded\r\n\r\n", (400, 401, 404)),
        (LINE + b"X: a\0b\r\n\r\n", (400,)),
        (LINE + b"Host: y\r\n\r\n", (400,)),
        (LINE + b"Content-Length: many\r\n\r\n", (400,)),
        (LINE + b"Content-Length: -1\r\n\r\n", (400,)),
        (LINE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", (400,)),
        (POST + b"Transfer-Encoding: tar\r\n\r\n", (501,)),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, 401, 404, 415, 501)),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", (400,)),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", (400, 401, 404)),
        (POST + b"Expect: the unexpected\r\n\r\n", (401, 404, 417)),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", (404, 415)),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else None,
)
def test_what_is_no_request_is_answered_in_the_form_of_every_error(
    doors: list[Door], request_: bytes, statuses: tuple[int, ...]
) -> None:
    for door in doors:
        if b"HTTP" not in request_ and door.name == "gateway":
            # HTTP/0.9 has no headers, and so no form.
            continue
        door.refuses(request_, *statuses)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/auth/login/",
        "/v1/auth//login",
        "//v1/auth/login",
        "/v1/auth/login%2F",
        "/v1/auth%2flogin",
        "/v1/auth/%6Cogin",
        "/v1/auth/login%00",
        "/v1/auth/login%20",
        "/v1/auth/Login",
        "/V1/auth/login",
        "/v1/users/../auth/login",
        "/v1/users/%2e%2e/auth/login",
        "/v1/auth/./login",
        "/v1/auth/login/.",
        "/v1/auth/x/../login",
        "/v1/auth/login;x",
        "/v1/auth/login#x",
        "/v1/auth/login|/v1/auth/login",
        "/v1/sync/",
        "/v1/sync/push/",
        "/v1/sync//push",
        "/v1/service/changes/",
        "/v1/service//changes",
        "/v1/service%2Fchanges",
    ],
)
def test_a_path_has_one_spelling(doors: list[Door], path: str) -> None:
    for door in doors:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"
        door.refuses(head.encode(), 400 if "%00" in path and door.name == "gateway" else 404)


def test_what_was_no_request_is_logged_by_its_id_and_without_who_sent_it(server: Server) -> None:
    if not isinstance(server, Stack):
        pytest.skip("make run logs for people")
    service = server.services["auth"]
    status, headers, _ = Door("auth", service.port).ask(b"secret nonsense\r\n\r\n")
    assert status == 400
    (line,) = [x for x in service.log.read_text().splitlines() if headers["x-request-id"] in x]
    event = json.loads(line)
    assert (event["level"], event["event"], event["status"]) == ("WARNING", "no_http", 400)
    assert event.keys() >= {"time", "cause"}
    assert "secret" not in line
    assert "127.0.0.1" not in line


def test_a_line_of_the_gateways_log_is_json_in_utf8_whatever_was_asked_for(server: Server) -> None:
    if not isinstance(server, Stack):
        pytest.skip("make run logs for people")
    for number, path in enumerate((b"/v1/\xff\xfe?x", b"/v1/%C3%BC", b'/v1/"\\')):
        head = b"GET %b HTTP/1.1\r\nHost: x\r\nX-Request-ID: odd-path-%d\r\n\r\n" % (path, number)
        Door("gateway", server.gateway.port).refuses(head, 400, 404)
    log = server.directory / "gateway/gateway.log"

    def logged() -> list[str]:
        lines = [line for line in log.read_bytes().splitlines() if b'"odd-path-' in line]
        return sorted(json.loads(line.decode())["path"] for line in lines)

    eventually(lambda: len(logged()) == 3)
    assert logged() == ["/v1/", '/v1/"\\', "/v1/%C3%BC"]


def test_a_query_is_no_part_of_the_path(doors: list[Door]) -> None:
    for query in ("?", "?a=/b//c", "?%2F=%00", "?|x|?", "?/v1/sync"):
        doors[0].refuses(f"GET /v1/sync{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 401)


MIB = 2**20


@pytest.mark.parametrize(
    ("line", "headers", "size", "status"),
    [
        ("POST /v1/sync", "Authorization: Bearer a.b.c", 60 * MIB, 401),
        ("POST /v1/sync/push", "", 60 * MIB, 401),
        ("POST /v1/sync", "", 65 * MIB, 413),
        ("POST /v1/sync/pull", "", 1 * MIB, 413),
        ("GET /v1/sync/pull", "", 1 * MIB, 413),
        ("POST /v1/auth/login", "", 64 * 1024 + 1, 413),
        ("POST /v1/auth/login", "", 60 * MIB, 413),
        ("PATCH /v1/users/me", "", 60 * MIB, 413),
        ("GET /v1/service/changes", "", 1 * MIB, 413),
        ("POST /v1/service/push", "", 60 * MIB, 401),
        ("POST /v1/service/push", "", 65 * MIB, 413),
        ("POST /v1/nothing", "", 60 * MIB, 404),
        ("PUT /v1/sync", "", 60 * MIB, 405),
        ("BREW /v1/sync", "", 60 * MIB, 405),
        ("POST /v1/sync", "Content-Encoding: gzip", 60 * MIB, 415),
        ("POST /v1/sync", "Content-Encoding: br, gzip", 10, 415),
        ("POST /v1/auth/login", "Content-Encoding: deflate", 10, 415),
    ],
)
def test_a_refused_body_is_heard_out(
    doors: list[Door], line: str, headers: str, size: int, status: int
) -> None:
    service = line.split("/")[2].split("?")[0]
    others = {"auth", "users", "sync"} - {service.replace("service", "sync")}
    # The gateway has no use for a body that nobody would take.
    at_gateway = 413 if status == 404 else status
    for door in doors:
        if door.name in others or (door.name != "gateway" and line.startswith("POST /v1/nothing")):
            continue
        for kept in ("keep-alive", "close"):
            head = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: {kept}\r\n"
            head += f"Content-Length: {size}\r\n" + (f"{headers}\r\n" if headers else "") + "\r\n"
            expected = at_gateway if door.name == "gateway" else status
            door.refuses(head.encode(), expected, status, body=b"x" * size)


@pytest.mark.parametrize("size", [10, 40 * 1024, 60 * 1024, 1 * MIB])
def test_who_answers_a_body_unread_and_keeps_the_connection_takes_another_request(
    doors: list[Door], size: int
) -> None:
    """Or else a gateway sends somebody's next request into a connection that ends: 502."""
    for door in doors:
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
        for _ in range(3):
            connection.request("POST", "/v1/sync/push", b"x" * size)
            answer = connection.getresponse()
            assert answer.status in (401, 404), (door.name, answer.read())
            answer.read()
            # Connects anew only after an answer that said so.
            connection.request("GET", "/v1/sync/pull")
            assert connection.getresponse().read(), door.name
        connection.close()


def test_a_body_in_chunks_has_the_same_limits(doors: list[Door]) -> None:
    for door in doors:
        if door.name in ("users", "sync"):
            continue
        body = b"10000\r\n" + b"x" * 65536 + b"\r\n1\r\nx\r\n0\r\n\r\n"
        head = b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        door.refuses(head, 413, body=body)
        whole = b'2\r\n{"\r\n5\r\na": 1\r\n1\r\n}\r\n0\r\n\r\n'
        door.refuses(head, 422, body=whole)
        door.refuses(head, 400, body=b"2\r\n{}broken\r\n0\r\n\r\n")


def test_conditions_and_ranges_change_no_answer(door: Door) -> None:
    conditions = [
        "If-None-Match: *\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
        "Range: bytes=0-1",
        "Range: bytes=99999999-",
        "Range: bytes=0-0,2-2\r\nIf-Range: x",
        "Expect: 100-continue",
    ]
    for path in ("/v1/auth/jwks.json", "/v1/openapi.json", "/docs/", "/healthz"):
        plain = door.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert plain[0] == 200
        for condition in conditions:
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\n{condition}\r\n\r\n"
            answer = door.ask(head.encode())
            assert (answer[0], answer[2]) == (plain[0], plain[2]), (path, condition)
        for condition in ('If-Match: "x"', "If-Unmodified-Since: Fri, 01 Jan 1999 00:00:00 GMT"):
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\n{condition}\r\n\r\n".encode()
            status, _, text = door.ask(head)
            if status == 200:
                assert text == plain[2]
            else:
                door.refuses(head, 412)


def test_a_migration_of_thirty_kib_travels_in_the_url(door: Door, device: Device) -> None:
    tables = [f"table_{n:04}" for n in range(1_850)]
    migration = json.dumps({"from": 1, "tables": tables, "columns": []}, separators=(",", ":"))
    query = urlencode(
        {"last_pulled_at": 1, "schema_version": 2, "migration": migration}, safe='",:[]{}'
    )
    query = query.replace('"', "%22")
    assert 30 * 1024 < len(query) < 32 * 1024, len(query)
    head = (
        f"GET /v1/sync?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {device.token}\r\n\r\n"
    )
    status, _, text = door.ask(head.encode())
    assert status == 200, text


@pytest.mark.parametrize(
    "header",
    [
        "Bearer  {}",
        "Bearer\t{}",
        "Bearer {}==",
        "Bearer {}=",
        "Bearer {}\t x",
        "Bearer {},",
        "Bearer, {}",
        "Basic {}",
        "{}",
        "Bearer {}\r\nAuthorization: Bearer {}",
    ],
)
def test_a_token_has_one_spelling(doors: list[Door], device: Device, header: str) -> None:
    """Limits go by it."""
    for door in doors:
        value = header.replace("{}", device.token)
        door.refuses(
            f"GET /v1/sync HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\n\r\n".encode(),
            400,
            401,
            404,
        )


def test_another_last_character_of_a_signature_is_another_token(door: Door, device: Device) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    answers = []
    for letter in letters:
        token = device.token[:-1] + letter
        head = f"GET /v1/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: bEARER {token}\r\n\r\n"
        answers.append(door.ask(head.encode())[0])
    assert (answers.count(200), answers.count(401)) == (1, 63)


def test_who_was_refused_for_malformed_chunks_leaves_the_server_well(door: Door) -> None:
    """Many at once, none of which ends its request."""
    held = []
    for _ in range(40):
        connection = socket.create_connection(("127.0.0.1", door.port), timeout=30)
        connection.sendall(b"nonsense\r\n\r\n")
        held.append(connection)
    door.refuses(LINE + b"\r\n", 401)
    for connection in held:
        connection.close()


def test_an_address_that_is_no_unicode_is_only_an_unknown_one(doors: list[Door]) -> None:
    for door in doors:
        door.refuses(b"GET /v1/auth/sessions/\xed\xa0\x80 HTTP/1.1\r\nHost: x\r\n\r\n", 400, 404)
        door.refuses(b"GET /v1/auth/sessions/%ed%a0%80 HTTP/1.1\r\nHost: x\r\n\r\n", 404)


def test_an_account_needs_no_content_type_and_no_host(door: Door) -> None:
    body = json.dumps({"email": new_email(), "password": "correct horse battery"}).encode()
    head = f"POST /v1/auth/register HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert door.ask(head, body)[0] == 201


@pytest.fixture
def gateway(doors: list[Door]) -> Door:
    if doors[0].name != "gateway":
        pytest.skip("tests/test_openapi.py asks the application itself")
    return doors[0]


DESCRIBED = describe()
OPERATIONS = [(path, method) for path, calls in DESCRIBED["paths"].items() for method in calls]


@pytest.fixture(scope="module")
def description() -> Any:
    """The description, read by Schemathesis."""
    return schemathesis.openapi.from_dict(DESCRIBED)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_asked_from_outside_is_answered_as_described(
    gateway: Door,
    server: Server,
    service_key: str,
    description: Any,
    path: str,
    method: str,
) -> None:
    is_service = path.startswith("/v1/service/")
    operation = description[path][method]
    url = f"http://127.0.0.1:{gateway.port}"
    api = HttpApi(server.url)
    token = service_key if is_service else api.register().token
    for mode in GenerationMode:

        @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal token
            answer = case.call(base_url=url, headers={"Authorization": f"Bearer {token}"})
            case.validate_response(
                answer,
                checks=[
                    not_a_server_error,
                    status_code_conformance,
                    content_type_conformance,
                    response_schema_conformance,
                ],
            )
            if not is_service and (answer.status_code == 401 or method == "delete"):
                token = api.register().token

        # A path without parameters has nothing to get wrong.
        with suppress(Unsatisfiable):
            ask()


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=300),
    st.sampled_from(["\ud800", "\0", 2**70, -1, 1e308, "x" * 5_000, [], {}, ["access"], {"a": []}]),
)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_a_signed_token_with_odd_claims_is_401_or_as_good_as_any(
    gateway: Door, device: Device, environ: dict[str, str], path: str, method: str
) -> None:
    private_key = Path(environ["JWT_PRIVATE_KEY_FILE"]).read_text()
    genuine = jwt.decode(device.token, options={"verify_signature": False})
    header = jwt.get_unverified_header(device.token)
    changes = st.dictionaries(st.sampled_from([*genuine, "crit", "role"]), ODD, max_size=4)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changes, st.sets(st.sampled_from(list(genuine)), max_size=2))
    def ask(changed: dict[str, Any], missing: set[str]) -> None:
        claims = {k: v for k, v in (genuine | changed).items() if k not in missing}
        payload = json.dumps(claims).encode()
        token = jwt.PyJWS().encode(payload, private_key, "EdDSA", {"kid": header["kid"]})
        target = re.sub("{\\w+}", "an-id", path)
        head = (
            f"{method.upper()} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            f"Authorization: Bearer {token}\r\n\r\n{{}}"
        )
        status, headers, text = gateway.ask(head.encode())
        assert status < 500, text
        if status >= 400:
            assert headers["content-type"] == "application/problem+json"
            assert orjson.loads(text)["status"] == status

    ask()
