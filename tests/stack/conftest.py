"""The servers that black-box tests talk to."""

import shutil
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import watermelon
from tests.conftest import Backend, NewPlace, lacking
from tests.servers.checkout import Checkout
from tests.servers.processes import Gateway, free_port
from tests.servers.stacks import Compose, Embedded, Server, Stack


@pytest.fixture(scope="package")
def server(backend: Backend, environ: dict[str, str]) -> Iterator[Server]:
    """`make run` on the embedded backend, what `make up` starts on compose, else the services behind
    nginx.

    Where tests of others come between those of this package, one process makes it several times.
    """
    server: Server
    place = backend.new_place() / "server"
    if backend.name == "compose":
        server = Compose(place)
    elif backend.database:
        server = Stack(place, environ, backend.database, backend.others)
    else:
        server = Embedded(place)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        if backend.redis:
            # Tests of services decide for themselves whether a lease runs.
            with backend.redis.client() as client:
                client.flushall()


@pytest.fixture(scope="package")
def service_key(server: Server) -> str:
    """A key for all service calls of that server."""
    scopes = "sync:read,sync:write,reference:write"
    return server.flask("service-key", f"key-{uuid4().hex[:20]}", scopes).split()[-1]


@pytest.fixture
def stack(server: Server) -> Stack:
    """The services behind nginx, for what `make run` does not have."""
    assert isinstance(server, Stack)
    return server


Start = Callable[..., str]
#: Those that tests have started.
GATEWAYS: list[Gateway] = []


@pytest.fixture
def start(stack: Stack, new_place: NewPlace) -> Iterator[Start]:
    """Start a gateway of the test's own; returns its URL."""
    running = []

    def start(services: dict[str, list[int]] | None = None, **settings: str) -> str:
        own = {name: [service.port] for name, service in stack.services.items()}
        own["live"] = [stack.live.port]
        gateway = Gateway(new_place(), free_port(), own | (services or {}), **settings)
        running.append(gateway)
        GATEWAYS.append(gateway)
        gateway.start()
        return f"http://127.0.0.1:{gateway.port}/v1"

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture(scope="session")
def checkout(new_place: NewPlace) -> Iterator[Checkout]:
    """A running native stack."""
    checkout = Checkout(new_place() / "checkout")
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        lacking("chromium")
    # On a busy machine a page takes as long as everything else does.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        # Root, as whom CI runs, has no sandbox.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which nothing may go wrong unseen."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield page
    page.close()
    assert wrong == []
