"""Traces and error reports: sent when configured, without what is somebody's; absent otherwise."""

import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.api import Device, project
from tests.conftest import ROOT, Backend

#: A sync service that takes one request; with a bug in it when asked for.
SCRIPT = """
import sys
import services.sync
app = services.sync.create_app()
if "--bug" in sys.argv:
    def bug():
        password = "correct horse battery"
        raise KeyError("a bug")
    app.view_functions["sync.push"] = bug
answer = app.test_client().post(
    "/v1/sync?last_pulled_at=null&email=ann@example.com",
    data=sys.stdin.buffer.read(),
    headers={
        "Authorization": "Bearer " + sys.argv[1],
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    },
)
print(answer.status_code)
app.test_client().get("/readyz")
if "traces" in app.extensions:
    app.extensions["traces"].force_flush()
if "sentry_sdk" in sys.modules:
    sys.modules["sentry_sdk"].flush()
# redis-py imports OpenTelemetry's interface by itself.
print(sorted({"opentelemetry.instrumentation", "opentelemetry.exporter", "sentry_sdk"} & set(sys.modules)))
"""


class Collector:
    """Takes whatever is posted."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = decompress(body)
                elif self.headers.get("Content-Encoding") == "deflate":
                    body = zlib.decompress(body)
                bodies.append(body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def run(environ: dict[str, str], device: Device, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, device.token, *arguments],
        input=json.dumps({"projects": {"created": [project(name="Nobody's business")]}}).encode(),
        cwd=ROOT,
        env={**os.environ, "LOG_LEVEL": "ERROR", **environ},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


@pytest.mark.any_backend
def test_without_settings_nothing_is_loaded(device: Device) -> None:
    assert run({}, device) == ["200", "[]"]


def test_a_trace_goes_from_the_gateway_through_request_and_statements(
    device: Device, backend: Backend, collector: Collector
) -> None:
    said = run({"TRACES_URL": f"http://{collector.address}/v1/traces"}, device)
    assert said[0] == "200"
    spans = []
    for body in collector.bodies:
        message = ExportTraceServiceRequest.FromString(body)
        for resource in message.resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert names["service.name"] == "services.sync"
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} >= {"0af7651916cd43dd8448eb211c80319c"}
    names = {span.name.split()[0] for span in spans}
    assert {"POST", "SELECT", "INSERT", "UPDATE"} <= names
    if backend.redis:
        assert "PING" in names
    everything = b"".join(collector.bodies)
    assert b"Nobody's business" not in everything
    assert device.token.encode() not in everything


@pytest.mark.any_backend
def test_a_bug_is_reported_with_its_traceback_and_nothing_of_the_request(
    device: Device, collector: Collector
) -> None:
    said = run({"SENTRY_DSN": f"http://key@{collector.address}/1"}, device, "--bug")
    assert "500" in said
    everything = b"".join(collector.bodies)
    assert b"KeyError" in everything
    assert b'"bug"' in everything
    for secret in ("Nobody's business", device.token, "correct horse", "ann@example.com"):
        assert secret.encode() not in everything, secret
