"""What a receiver is asked: signed, bounded, and nowhere but where it is configured (docs/webhooks.md)."""

import gc
import json
import re
import shutil
import socket
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from services.sync.webhooks import requests
from services.sync.webhooks.requests import headers_of, post
from shared import receivers
from tests.conftest import ROOT, lacking
from tests.servers.receiver import Receiver, new_secret, respond


def known(url: str, *secrets: str) -> receivers.Receiver:
    keys = tuple(receivers._key("r", secret) for secret in secrets or (new_secret(),))
    return receivers.Receiver("r", url, keys)


def of(receiver: Receiver) -> receivers.Receiver:
    return known(receiver.url, receiver.secret)


def test_a_request_is_signed_with_each_secret_as_the_specification_says() -> None:
    secrets = [new_secret(), new_secret()]
    headers = headers_of(known("https://x.example", *secrets), "msg_1", '{"ü": 1}'.encode())
    assert len(headers["Webhook-Signature"].split(" ")) == 2
    for secret in secrets:
        assert Webhook(secret).verify('{"ü": 1}', headers) == {"ü": 1}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(new_secret()).verify('{"ü": 1}', headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secrets[0]).verify('{"ü": 2}', headers)


def snippet(language: str) -> str:
    """What docs/webhooks.md tells a receiver to verify by."""
    page = (ROOT / "docs/webhooks.md").read_text()
    [code] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(code)


def cases() -> list[tuple[str, dict[str, str], bytes, bool]]:
    """Secrets, headers and bodies, and whether they are ours."""
    secrets, body = [new_secret(), new_secret()], '{"ü": 1}'.encode()
    made = headers_of(known("https://x.example", *secrets), "msg_1", body)
    headers = {name.lower(): value for name, value in made.items()}
    old = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1000)}
    return [
        *((secret, headers, body, True) for secret in secrets),
        (new_secret(), headers, body, False),
        (secrets[0], headers, body + b" ", False),
        (secrets[0], headers | {"webhook-id": "msg_2"}, body, False),
        (secrets[0], old, body, False),
    ]


def test_the_python_of_the_page_verifies_a_request() -> None:
    names: dict[str, Any] = {}
    exec(snippet("python"), names)
    for secret, headers, body, is_ours in cases():
        assert names["is_ours"](secret, headers, body) is is_ours


def test_the_javascript_of_the_page_verifies_a_request() -> None:
    if not shutil.which("node"):
        lacking("node")
    told = [[secret, headers, body.decode()] for secret, headers, body, _ in cases()]
    call = f"""{snippet("js")}
    const told = {json.dumps(told)}
    const verify = ([secret, headers, body]) => isOurs(secret, headers, Buffer.from(body))
    console.log(JSON.stringify(told.map(verify)))
    """
    done = subprocess.run(["node", "-e", call], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [is_ours for *_, is_ours in cases()]


def test_a_signature_is_that_of_the_specifications_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "now_ms", lambda: 1614265330 * 1000 + 999)
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    headers = headers_of(known("https://x.example", key), "msg_p5jXN8AQM9LWM0D4loKWxJek", body)
    assert headers["Webhook-Timestamp"] == "1614265330"
    assert headers["Webhook-Signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [200, 201, 204, 301, 307, 400, 404, 410, 429, 500, 503])
def test_the_status_is_what_counts(receiver: Receiver, status: int) -> None:
    receiver.answers = [respond(status, Location="/elsewhere")]
    assert post(of(receiver), "id", b"{}") == status
    # Neither a redirect nor anything else makes another request.
    assert len(receiver.told) == 1


def test_a_proxy_is_not_asked_for_this_machine(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert post(of(receiver), "id", b"{}") == 204


def test_a_receiver_elsewhere_is_asked_by_way_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        asked: list[bytes] = []

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(b"HTTP/1.1 403 No\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(OSError):
            post(known("https://hooks.example.com/x"), "id", b"{}")
        thread.join(10)
    # Early releases of Python 3.11 leave the socket of a refused tunnel to be collected, with a warning.
    with warnings.catch_warnings(action="ignore"):
        gc.collect()
    assert asked[0].startswith(b"CONNECT hooks.example.com:443 ")


def drip(request: BaseHTTPRequestHandler) -> None:
    """Send a byte of a head now and then, without an end."""
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not request.server.is_over.wait(0.02):  # type: ignore[attr-defined]
            request.wfile.write(b"x")
            request.wfile.flush()
    except OSError:
        request.server.was_cut.set()  # type: ignore[attr-defined]


def hang(request: BaseHTTPRequestHandler) -> None:
    if not request.connection.recv(1):
        request.server.was_cut.set()  # type: ignore[attr-defined]


def endless(request: BaseHTTPRequestHandler) -> None:
    """Answer well, with a body that does not end."""
    request.send_response(200)
    request.end_headers()
    try:
        while not request.server.is_over.is_set():  # type: ignore[attr-defined]
            request.wfile.write(b"x" * 65536)
    except OSError:
        request.server.was_cut.set()  # type: ignore[attr-defined]


@pytest.fixture
def watched(receiver: Receiver) -> Iterator[Receiver]:
    """A receiver that notes when it was cut off."""
    receiver.server.is_over, receiver.server.was_cut = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    yield receiver
    receiver.server.is_over.set()  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", [drip, hang])
def test_a_head_that_does_not_come_to_an_end_is_cut_off(
    watched: Receiver, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(requests, "ANSWER_S", 0.3)
    watched.answers = [answer]  # type: ignore[list-item]
    with pytest.raises(TimeoutError):
        post(of(watched), "id", b"{}")
    assert watched.server.was_cut.wait(10)  # type: ignore[attr-defined]


def test_a_body_is_not_waited_for(watched: Receiver) -> None:
    watched.answers = [endless]
    assert post(of(watched), "id", b"{}") == 200
    assert watched.server.was_cut.wait(10)  # type: ignore[attr-defined]


def test_a_name_that_is_looked_up_for_ever_holds_nobody(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    is_over = threading.Event()
    connect = socket.create_connection

    def slow(*arguments: object, **options: object) -> socket.socket:
        is_over.wait(10)
        return connect(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(requests, "ANSWER_S", 0.2)
    monkeypatch.setattr(socket, "create_connection", slow)
    before = set(threading.enumerate())
    with pytest.raises(TimeoutError):
        post(of(receiver), "id", b"{}")
    is_over.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    # Too late is not at all: by now the next attempt may be under way.
    assert receiver.told == []


@contextmanager
def with_tls(directory: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a receiver with TLS, and its certificate, which nobody vouches for."""
    import ssl

    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Receiver() as receiver:
        receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
        yield f"https://localhost:{receiver.port}{receiver.path}", certificate


def test_a_certificate_that_nobody_vouches_for_is_not_sent_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with with_tls(tmp_path) as (url, certificate):
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            post(known(url), "id", b"{}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert post(known(url), "id", b"{}") == 204
