"""Rings, backends, and the fixtures that every test builds on (tests/README.md).

Nothing heavy is imported until a fixture wants it: a test of a pure rule starts no server and builds
no application. Isolation is a fresh user per test, never an emptied table.
"""

import fcntl
import gc
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask import Flask

    from tests.api import Api, Device
    from tests.clock import Clock
    from tests.servers import processes
    from tests.servers.clusters import RedisCluster
    from tests.service import Service

ROOT = Path(__file__).parent.parent
BACKENDS = ("embedded", "native", "mysql", "compose", "cluster")
RINGS = {
    "pure": "needs no server and no application (given by itself)",
    "service": "Flask's test client on real stores (given by itself to what uses a backend)",
    "stack": "real processes, the gateway, a browser (given by itself to tests/stack)",
}
#: Modules that share what fixtures start: many processes. The longest come first.
STACKS = {
    "checkout": ("test_native",),
    "another checkout": ("test_faults", "test_monitoring"),
    "server": (
        *("test_client", "test_client_schema", "test_edge", "test_gateway", "test_pages"),
        *("test_playground", "test_processes", "test_watermelon", "test_back_office"),
    ),
}
#: For a test of what SQLite does not have.
on_servers = pytest.mark.backends("native", "mysql", "cluster")
#: In CI everything must be had. (There, Hypothesis tries the same examples each time: a change is
#: judged by itself.)
CI = os.environ.get("CI") == "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        default="embedded",
        type=lambda names: names.split(","),
        help="where tests of services run, by commas: embedded: SQLite, no Redis (default); "
        "native: private MariaDB and Redis; mysql: the same with Oracle's MySQL, by TLS; "
        "compose: what make up starts; cluster: three Galera nodes and a Redis Cluster",
    )
    parser.addoption(
        "--install", action="store_true", help="install the programs that real servers need"
    )
    parser.addoption("--note-failed", help="a file for the names of what failed (tests/again.sh)")


def pytest_configure(config: pytest.Config) -> None:
    if (file := config.getoption("--note-failed")) and not hasattr(config, "workerinput"):
        Path(file).unlink(missing_ok=True)
    for ring, what in RINGS.items():
        config.addinivalue_line("markers", f"{ring}: {what}")
    config.addinivalue_line("markers", "backends(*names): is about these backends alone")
    config.addinivalue_line("markers", "any_backend: says the same on each backend; runs on one")
    if unknown := set(config.getoption("--backend")) - set(BACKENDS):
        raise pytest.UsageError(f"no such backend: {', '.join(unknown)}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"backends: {', '.join(config.getoption('--backend'))}"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers a processor, since much of a test is waiting; none for a single file."""
    if len(config.args) == 1 and ".py" in config.args[0]:
        return 0
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Never search for garbage in tests and what they import, which stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a backend on each of those that were asked for, or on those it is about."""
    if "backend" not in metafunc.fixturenames:
        return
    fitting = fitting_backends(metafunc.config, metafunc.definition)
    if metafunc.definition.get_closest_marker("any_backend"):
        fitting = fitting[:1]
    # One that fits none is skipped below.
    metafunc.parametrize("backend", fitting or BACKENDS[:1], indirect=True, scope="session")


def fitting_backends(config: pytest.Config, item: pytest.Item) -> list[str]:
    """Of the backends that were asked for, those that a test is about."""
    about = item.get_closest_marker("backends")
    return [name for name in config.getoption("--backend") if not about or name in about.args]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Give every test its ring, and put long ones first, with all that need one backend together."""
    places = {}
    for item in items:
        if not fitting_backends(config, item):
            names = item.get_closest_marker("backends").args
            item.add_marker(pytest.mark.skip(reason=f"is about --backend={' or '.join(names)}"))
        backend = item.callspec.params.get("backend", "") if hasattr(item, "callspec") else ""
        if not any(item.get_closest_marker(ring) for ring in RINGS):
            is_stack = ROOT / "tests/stack" in item.path.parents
            item.add_marker("stack" if is_stack else "service" if backend else "pure")
        ring = next(ring for ring in RINGS if item.get_closest_marker(ring))
        shared = next(
            (place for place, names in enumerate(STACKS.values()) if item.path.stem in names), 9
        )
        # From the last of one ring to the first of the next a process keeps its servers.
        turn = 1 if ring == "stack" else -1
        places[item] = (
            shared,
            -list(RINGS).index(ring),
            turn * BACKENDS.index(backend or BACKENDS[0]),
        )
    yield
    items.sort(key=places.__getitem__)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run a module on one backend in one process, test by test, and with it all that share a stack."""
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = Path(nodeid.partition("::")[0]).stem
            group = next((name for name, names in STACKS.items() if module in names), module)
            backend = re.search(rf"[\[-]({'|'.join(BACKENDS)})[\]-]", nodeid)
            return f"{group} {backend[1] if backend else ''}"

    return Grouped(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what the selected tests need, where `make` asks for it: nothing for pure ones."""
    if session.config.getoption("--install") and any(
        item.get_closest_marker("pure") is None for item in session.items
    ):
        script = ROOT / "deploy/packages.sh"
        capture = session.config.pluginmanager.getplugin("capturemanager")
        with alone(script), capture.global_and_fixture_disabled():
            subprocess.run([script], check=True, stdout=sys.stderr)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Note what failed, for tests/again.sh."""
    failed = {
        report.nodeid
        for kind in ("failed", "error")
        for report in terminalreporter.getreports(kind)
    }
    if file := config.getoption("--note-failed"):
        Path(file).write_text("".join(f"{nodeid}\n" for nodeid in sorted(failed)))


def lacking(what: str) -> None:
    """Skip for want of `what`, except where everything must be had."""
    if CI:
        pytest.fail(f"this machine lacks {what}")
    pytest.skip(f"this machine lacks {what}")


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Let in one process at a time, by a lock on a file that is there."""
    with file.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass
class Backend:
    """What the services of this test run stand on."""

    name: str
    directory: Path
    database: "processes.MariaDB | None" = None
    redis: "processes.RedisServer | RedisCluster | None" = None
    #: Of a cluster: the nodes besides `database`, which take writes like it.
    others: "tuple[processes.MariaDB, ...]" = ()

    def new_place(self) -> Path:
        """A place for what a test starts beside it: another one each time."""
        return place_below(self.directory)

    def new_database(self, name: str) -> tuple[str, str]:
        """URLs of an empty database of its own: for migrations, and for the services."""
        if self.database is None:
            url = f"sqlite:///{self.directory / name}.db"
            return url, url
        self.database.create_database(name)
        # Tests of one process run all three services as one user. The stack's have their own.
        with self.database.root() as root, root.cursor() as cursor:
            password = self.database.passwords["service"]
            cursor.execute(f"CREATE USER IF NOT EXISTS 'service'@'%' IDENTIFIED BY '{password}'")
            cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO 'service'@'%'")
        return self.database.url("migrate", name), self.database.url("service", name)


#: A token, a password hash, a private key, an e-mail, a service key; the tests' password besides.
SECRETS = r"eyJ[\w-]{9,}|\$argon2|PRIVATE KEY|[\w.]+@example\.com|wdbsk_\w{9}"
#: A file system in memory, where the system has one, and the bytes that it must have free.
MEMORY, ROOM = Path("/dev/shm"), 4 * 1024**3


def in_memory() -> Path | None:
    """Return a place where a database makes a table in a tenth of the time, if there is room."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        return MEMORY
    return None


@contextmanager
def place_for_servers(parent: Path | None = None) -> Iterator[Path]:
    """A place for servers, which may give up root and must still reach it; pytest's own is closed.

    At the end, all that was logged there is searched for tokens, hashes, passwords and e-mails.
    """
    from tests.api import PASSWORD

    secrets = re.compile(rf"{SECRETS}|{PASSWORD}", re.IGNORECASE)
    with TemporaryDirectory(dir=parent) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        for log in path.rglob("*log"):
            if log.is_file():
                found = secrets.search(log.read_text(errors="replace"))
                assert found is None, f"{log.name} holds {found[0]!r}"


@pytest.fixture(scope="session")
def backends(request: pytest.FixtureRequest) -> str:
    """The backends that were asked for, as `--backend` takes them: for a test that runs pytest itself."""
    return ",".join(request.config.getoption("--backend"))


NewPlace = Callable[[], Path]


@pytest.fixture(scope="session")
def new_place() -> Iterator[NewPlace]:
    """A place for whatever a test starts: another one each time."""
    with place_for_servers() as parent:
        yield lambda: place_below(parent)


def place_below(parent: Path) -> Path:
    """Make another place for servers in one that there is."""
    place = Path(mkdtemp(dir=parent))
    place.chmod(0o755)
    return place


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    name = request.param
    if name in ("embedded", "compose"):
        with place_for_servers() as place:
            yield Backend(name, place)
    else:
        with place_for_servers(in_memory()) as place:
            yield from servers(name, place)


def servers(name: str, place: Path) -> Iterator[Backend]:
    """A backend of servers, with their files at `place`."""
    from tests.servers import processes

    if name == "mysql" and not processes.MySQL.unpacked.exists():
        lacking("MySQL (make test-mysql unpacks it)")
    if missing := processes.missing_programs():
        lacking(", ".join(missing))
    if name == "cluster":
        yield from clusters(place)
        return
    kind = processes.MySQL if name == "mysql" else processes.MariaDB
    database = kind(place / "database", processes.free_port())
    redis = processes.RedisServer(place / "redis", processes.free_port())
    database.install()
    try:
        database.start()
        redis.start()
        yield Backend(name, place, database, redis)
    finally:
        redis.stop()
        database.stop()


def clusters(directory: Path) -> Iterator[Backend]:
    """The cluster backend."""
    from tests.servers.clusters import GALERA, Galera, RedisCluster

    if not GALERA.exists():
        lacking("galera-4 (make test-cluster installs it)")
    galera, cache = Galera(directory / "galera"), RedisCluster(directory / "redis")
    try:
        galera.start()
        cache.start()
        first, *others = galera.nodes
        yield Backend("cluster", directory, first, cache, tuple(others))
    finally:
        cache.stop()
        galera.stop()


def alembic(url: str, *arguments: str) -> None:
    from tests.servers.commands import run_module

    done = run_module(ROOT, "alembic", *arguments, DATABASE_URL=url)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def product_hashing() -> Iterator[dict[str, int]]:
    """Hash passwords at Argon2's least cost, as thousands of fresh users need; yield the product's cost."""
    from shared import config

    with pytest.MonkeyPatch.context() as patch:
        product = {"MIN_MEMORY_KIB": config.MIN_MEMORY_KIB, "MIN_PASSES": config.MIN_PASSES}
        patch.setattr(config, "MIN_MEMORY_KIB", 8)
        patch.setattr(config, "MIN_PASSES", 1)
        yield product


@pytest.fixture(scope="session")
def environ(backend: Backend, product_hashing: dict[str, int]) -> dict[str, str]:
    """The settings that services of this run start with, their database migrated."""
    from deploy.keys import make_keys

    keys = backend.directory / "keys"
    make_keys(keys)
    from tests.servers.processes import free_port

    # Nobody serves there, but for a test that does.
    providers = backend.directory / "providers.toml"
    issuer = f"http://127.0.0.1:{free_port()}"
    providers.write_text(
        f'[providers.closed]\nissuer = "{issuer}"\nclient_ids = ["org.example.app"]\n'
    )
    migrate, service = backend.new_database("app")
    alembic(migrate, "upgrade", "head")
    return {
        "DATABASE_URL": service,
        "REDIS_URL": backend.redis.url if backend.redis else "",
        "JWT_PRIVATE_KEY_FILE": str(keys / "private.pem"),
        "JWT_PUBLIC_KEYS_FILE": str(keys / "public.pem"),
        "TRUSTED_PROXIES": "0",
        "MAIL_URL": "keep:",
        "OIDC_PROVIDERS_FILE": str(providers),
        "PUBLIC_URL": "https://api.example.org",
    }


@pytest.fixture(scope="session")
def application(backend: Backend, environ: dict[str, str]) -> Iterator[Any]:
    """All three services behind their paths, in this process; they log into a file each."""
    from services import embedded

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        application = embedded.create_app()
        handlers = []
        for name in ("services", "shared", "audit"):
            logger = logging.getLogger(name)
            handler = logging.FileHandler(backend.directory / f"{name}.log")
            handler.setFormatter(logger.handlers[0].formatter)
            logger.addHandler(handler)
            handlers.append((logger, handler))
        yield application
        for logger, handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@pytest.fixture
def api(application: Any) -> "Api":
    from tests.api import Api

    return Api(application)


@pytest.fixture
def device(api: "Api") -> "Device":
    """A device of a fresh user, logged in."""
    return api.register()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """The services' wall clock."""
    from tests.clock import Clock

    return Clock(monkeypatch)


@pytest.fixture(scope="session")
def users_service(application: Any) -> "Flask":
    """The users service, for its commands."""
    import services.users

    return services.users.create_app()


@pytest.fixture(scope="session")
def sync_service(application: Any) -> "Flask":
    """The sync service, for its commands."""
    import services.sync

    return services.sync.create_app()


@pytest.fixture
def service(api: "Api", sync_service: "Flask") -> "Service":
    """A server of the app's own, whose key has every scope."""
    from tests.service import Service, new_key

    return Service(api, new_key(sync_service))


@pytest.fixture
def admin(device: "Device", users_service: "Flask") -> "Device":
    """A device of a fresh administrator."""
    promote_to_admin(users_service, device.email)
    return device


def promote_to_admin(users_service: "Flask", email: str) -> str:
    """Run the command that makes administrators; return what it says."""
    result = users_service.test_cli_runner().invoke(args=["create-admin", email])
    assert result.exit_code == 0, result.output
    return result.output
