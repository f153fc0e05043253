"""The servers that black-box tests talk to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import watermelon
from tests.conftest import Backend, lacking
from tests.servers.checkout import Checkout
from tests.servers.stacks import Compose, Embedded, Server, Stack


@pytest.fixture(scope="session")
def server(backend: Backend, environ: dict[str, str], directory: Path) -> Iterator[Server]:
    """`make run` on the embedded backend, what `make up` starts on compose, else the services behind
    nginx."""
    server: Server
    if backend.name == "compose":
        server = Compose(directory / "server")
    elif backend.database:
        server = Stack(directory / "server", environ, backend.database, backend.others)
    else:
        server = Embedded(directory / "server", environ)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def checkout(backend: Backend, directory: Path) -> Iterator[Checkout]:
    """A running native stack."""
    if backend.name != "native":
        pytest.skip("the native stack is MariaDB's")
    checkout = Checkout(directory / "checkout")
    checkout.run("up-native")
    yield checkout
    checkout.run("down-native")


@pytest.fixture(scope="session", autouse=True)
def watermelon_installed() -> None:
    """WatermelonDB itself, from the lock file."""
    if what := watermelon.prepare():
        lacking(what)


@pytest.fixture
def devices(server: Server) -> Iterator[watermelon.Devices]:
    """A Node process for real devices, which must have nothing to complain of at the end."""
    devices = watermelon.Devices(server.url)
    yield devices
    said = devices.diagnostics()
    devices.close()
    assert said == []
