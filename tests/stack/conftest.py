"""The servers that black-box tests talk to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests import watermelon
from tests.conftest import Backend, lacking
from tests.servers.checkout import Checkout
from tests.servers.processes import Gateway, free_port
from tests.servers.stacks import Compose, Embedded, Server, Stack


@pytest.fixture(scope="session")
def server(backend: Backend, environ: dict[str, str]) -> Iterator[Server]:
    """`make run` on the embedded backend, what `make up` starts on compose, else the services behind
    nginx."""
    server: Server
    if backend.name == "compose":
        server = Compose(backend.directory / "server")
    elif backend.database:
        server = Stack(backend.directory / "server", environ, backend.database, backend.others)
    else:
        server = Embedded(backend.directory / "server", environ)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def stack(server: Server) -> Stack:
    """The services behind nginx, for what `make run` does not have."""
    assert isinstance(server, Stack)
    return server


Start = Callable[..., str]
#: Those that tests have started.
GATEWAYS: list[Gateway] = []


@pytest.fixture
def start(stack: Stack, directory: Path) -> Iterator[Start]:
    """Start a gateway of the test's own; returns its URL."""
    running = []

    def start(services: dict[str, list[int]] | None = None, **settings: str) -> str:
        own = {name: [service.port] for name, service in stack.services.items()}
        place = Path(mkdtemp(dir=directory))
        place.chmod(0o755)
        gateway = Gateway(place, free_port(), own | (services or {}), **settings)
        running.append(gateway)
        GATEWAYS.append(gateway)
        gateway.start()
        return f"http://127.0.0.1:{gateway.port}/v1"

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture(scope="session")
def checkout(directory: Path) -> Iterator[Checkout]:
    """A running native stack."""
    checkout = Checkout(directory / "checkout")
    checkout.run("up-native")
    yield checkout
    checkout.run("down-native")


@pytest.fixture(scope="session")
def watermelon_installed() -> None:
    """WatermelonDB itself, from the lock file."""
    if what := watermelon.prepare():
        lacking(what)


@pytest.fixture
def devices(server: Server, watermelon_installed: None) -> Iterator[watermelon.Devices]:
    """A Node process for real devices, which must have nothing to complain of at the end."""
    devices = watermelon.Devices(server.url)
    yield devices
    said = devices.diagnostics()
    devices.close()
    assert said == []
