"""`make up`: the unmodified Dockerfile and compose file, scaled, killed, restarted, restored.

Runs with `--backend=compose` alone, since it needs a Docker engine: `make test-compose`.
"""

import json
import os
import re
import signal
import ssl
from pathlib import Path
from urllib.request import urlopen

import pytest

from services.openapi import describe
from tests.api import Device, project, wire
from tests.servers.stacks import Compose, Server, fetch
from tests.stack.http_api import HttpApi
from tests.stack.load import eventually, load

pytestmark = pytest.mark.backends("compose")

SERVICES = ("auth", "users", "sync")


@pytest.fixture
def stack(server: Server) -> Compose:
    assert isinstance(server, Compose)
    return server


@pytest.fixture
def device(stack: Compose) -> Device:
    return HttpApi(stack.url).register()


def inspect(stack: Compose, service: str) -> list[dict[str, object]]:
    ids = stack.compose("ps", "--quiet", service).split()
    found: list[dict[str, object]] = json.loads(stack.run("docker", "inspect", *ids))
    return found


def test_an_image_holds_its_service_and_no_sibling(stack: Compose) -> None:
    for service in SERVICES:
        found = stack.compose("exec", "-T", service, "ls", "services").split()
        assert [name for name in found if "." not in name and "_" not in name] == [service]
        assert "keys" not in stack.compose("exec", "-T", service, "ls", "deploy")


def test_the_gateways_image_brings_the_pages(stack: Compose) -> None:
    assert fetch(f"{stack.url}/openapi.json")[2] == describe()
    with urlopen(f"{stack.url.removesuffix('/v1')}/docs/") as page:
        assert b"swagger-ui" in page.read()


def test_no_service_is_root_or_writes_to_its_image(stack: Compose) -> None:
    for service in (*SERVICES, "gateway", "redis", "purge"):
        [container] = inspect(stack, service)
        assert container["HostConfig"]["ReadonlyRootfs"] is True  # type: ignore[index]
        assert stack.compose("exec", "-T", service, "id", "-u").strip() != "0"


def test_auth_alone_sees_the_private_key(stack: Compose) -> None:
    look = ("sh", "-c", "cat /keys/private/private.pem 2>/dev/null | wc -l")
    assert stack.compose("exec", "-T", "auth", *look).strip() != "0"
    for service in ("users", "sync", "purge"):
        assert stack.compose("exec", "-T", service, *look).strip() == "0"


def test_nothing_but_the_gateway_can_be_reached(stack: Compose) -> None:
    ports = {
        service: container["NetworkSettings"]["Ports"]  # type: ignore[index]
        for service in (*SERVICES, "mysql", "redis")
        for container in inspect(stack, service)
    }
    assert not [name for name, some in ports.items() for bound in some.values() if bound]
    for path in ("/readyz", "/metrics"):
        assert fetch(stack.url.removesuffix("/v1") + path)[0] == 404


def test_new_instances_get_requests_without_a_restart(stack: Compose, device: Device) -> None:
    gateway = inspect(stack, "gateway")[0]["Id"]
    stack.make("scale", "SERVICE=sync", "N=3")
    assert len(inspect(stack, "sync")) == 3

    def used() -> bool:
        for _ in range(30):
            assert device.pull_raw().status_code == 200
        said = stack.compose("logs", "--no-color", "sync")
        heads = {line.split()[0] for line in said.splitlines() if "/v1/sync" in line}
        return len(heads) == 3

    eventually(used)
    # Scaling another service is no matter of this one.
    stack.make("scale", "SERVICE=users", "N=2")
    assert len(inspect(stack, "sync")) == 3
    stack.make("scale", "SERVICE=users", "N=1")
    with load(device) as statuses:
        stack.run("docker", "kill", str(inspect(stack, "sync")[0]["Id"]))
        seen = len(statuses)
        eventually(lambda: len(statuses) > seen + 100)
    # What the killed one was doing ends with an error, one request of each thread at most; all others
    # go elsewhere.
    assert len(statuses) - statuses.count(200) <= 4, statuses
    stack.make("scale", "SERVICE=sync", "N=1")
    assert eventually(lambda: device.pull_raw().status_code == 200)
    assert inspect(stack, "gateway")[0]["Id"] == gateway


def test_services_restart_under_load_without_a_failed_request(
    stack: Compose, device: Device
) -> None:
    with load(device) as statuses:
        stack.make("restart")
    assert len(statuses) > 20
    assert set(statuses) == {200}


@pytest.mark.parametrize("part", ["sync", "redis", "mysql", "gateway"])
def test_a_part_that_is_killed_comes_back_and_loses_nothing(
    stack: Compose, device: Device, part: str
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    [container] = inspect(stack, part)
    try:
        # As a crash would: Docker starts it again by itself.
        os.kill(container["State"]["Pid"], signal.SIGKILL)  # type: ignore[index]
    except (PermissionError, ProcessLookupError):
        # The engine runs on another machine.
        stack.run("docker", "restart", "--time", "0", str(container["Id"]))
    eventually(lambda: device.pull_raw().status_code == 200)
    device.pull()
    assert device.rows["projects"] == {p["id"]: wire(p)}


def test_a_backup_goes_back_and_everybody_logs_in_again(stack: Compose, device: Device) -> None:
    kept, lost = project(), project()
    device.push(projects={"created": [kept]})
    stack.make("backup")
    [backup] = Path(stack.directory, ".local/backups").glob("*.sql.gz")
    device.push(projects={"created": [lost]})
    stack.make("restore", f"FILE={backup}")
    assert device.pull_raw().status_code == 401
    again = device.another()
    again.pull()
    assert again.rows["projects"] == {kept["id"]: wire(kept)}


def test_up_again_and_down_and_up_keep_the_data(stack: Compose, device: Device) -> None:
    p = project()
    device.push(projects={"created": [p]})
    assert f"Ready: http://localhost:{stack.port}/v1" in stack.make("up")
    stack.make("down")
    stack.make("up")
    device.pull()
    assert device.rows["projects"] == {p["id"]: wire(p)}


def test_an_administrator_is_made_from_the_command_line(stack: Compose, device: Device) -> None:
    stack.make("admin", f"EMAIL={device.email}")
    assert device.api.get("/users", token=device.token).status_code == 200


def test_the_purge_has_the_rights_that_it_needs(stack: Compose) -> None:
    assert ", 0 tasks, " in stack.make("purge")


def test_the_purge_runs_at_the_start_and_survives_a_failure(stack: Compose) -> None:
    eventually(lambda: ", 0 tasks, " in stack.compose("logs", "purge"))
    stack.compose("stop", "mysql")
    try:
        stack.compose("restart", "purge")
        eventually(lambda: "OperationalError" in stack.compose("logs", "purge"))
        [purge] = inspect(stack, "purge")
        assert purge["State"]["Running"]  # type: ignore[index]
        assert purge["RestartCount"] == 0
    finally:
        stack.make("up")
        stack.compose("restart", "purge")


def test_a_health_check_asks_no_proxy(stack: Compose) -> None:
    for service in (*SERVICES, "gateway"):
        [container] = inspect(stack, service)
        how, *test = container["Config"]["Healthcheck"]["Test"]  # type: ignore[index]
        command = test if how == "CMD" else ["sh", "-c", *test]
        proxy = ("-e", "http_proxy=http://127.0.0.1:9")
        stack.compose("exec", "-T", *proxy, service, *command)


def test_every_container_has_its_memory_and_the_time_to_finish(stack: Compose) -> None:
    for service in (*SERVICES, "purge", "gateway", "mysql", "redis"):
        [container] = inspect(stack, service)
        assert container["HostConfig"]["Memory"], service  # type: ignore[index]
    [sync] = inspect(stack, "sync")
    assert sync["Config"]["StopTimeout"] == 45  # type: ignore[index]


def test_the_gateway_tells_of_itself_and_of_its_way_to_each_service(stack: Compose) -> None:
    def ask(path: str) -> str:
        return stack.compose("exec", "-T", "gateway", "curl", "-fsS", f"127.0.0.1:8081{path}")

    assert "nginx_connections{" in ask("/metrics")
    for service in SERVICES:
        assert "http_requests_total" in ask(f"/through/{service}")


def test_migrations_of_a_running_stack_are_those_of_the_checkout(stack: Compose) -> None:
    """And so are the grants."""
    script = stack.directory / "deploy/grants.py"
    text = script.read_text()
    script.write_text(text + "# The newest.\n")
    try:
        last = stack.compose("run", "--rm", "migrate", "tail", "-n1", "deploy/grants.py")
        assert "# The newest." in last
    finally:
        script.write_text(text)


def test_tls_may_end_in_the_gateway(stack: Compose) -> None:
    tls = stack.directory / ".local/tls"
    # fmt: off
    stack.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", f"{tls}/tls.key", "-out", f"{tls}/tls.crt", "-days", "2", "-subj", "/CN=localhost",
    )
    # fmt: on
    os.chown(tls / "tls.key", 101, 101)
    stack.set_up_gateway(GATEWAY_TLS="on", GATEWAY_LISTEN="8080 ssl")
    try:
        assert f"Ready: https://localhost:{stack.port}/v1" in stack.make("up")
        url = f"https://127.0.0.1:{stack.port}/healthz"
        with urlopen(url, context=ssl._create_unverified_context()) as answer:
            assert answer.status == 200
    finally:
        stack.set_up_gateway()
        stack.make("up")


def test_passwords_that_do_not_fit_the_data_are_said_in_a_line(stack: Compose) -> None:
    secrets = stack.directory / ".local/secrets.env"
    kept = secrets.read_text()
    try:
        secrets.unlink()
        [line] = stack.make("up", fails=True).splitlines()[:1]
        assert "its passwords in .local/secrets.env are gone. Put the file back" in line
        assert not secrets.exists()
        secrets.write_text(re.sub("=.*", "=wrong", kept))
        said = stack.make("up", fails=True)
        assert "made with other passwords than those in .local/secrets.env. Put the" in said
    finally:
        secrets.write_text(kept)
        stack.make("up")
