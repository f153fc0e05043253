"""`make up`: the unmodified Dockerfile and compose file, scaled, killed, restarted, restored.

Runs with `--backend=compose` alone, since it needs a Docker engine: `make test-compose`.
"""

import json
import os
import signal
from pathlib import Path
from urllib.request import urlopen

import pytest

from deploy.openapi import describe
from tests.api import Device, project, wire
from tests.conftest import Backend
from tests.servers.stacks import Compose, Server, fetch
from tests.stack.http_api import HttpApi
from tests.stack.load import eventually, load

SERVICES = ("auth", "users", "sync")


@pytest.fixture
def stack(backend: Backend, request: pytest.FixtureRequest) -> Compose:
    if backend.name != "compose":
        pytest.skip("needs a Docker engine (make test-compose)")
    server: Server = request.getfixturevalue("server")
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
    assert "Purged 0 tasks" in stack.make("purge")
