"""Fixtures: the databases, the API in front of them, and fresh users.

Every test runs on the embedded default (SQLite, no Redis) or, with `--backend=native`, on a private
MariaDB and Redis. Isolation is a fresh user per test, never an emptied table.
"""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

import services.users
from deploy.keys import make_keys
from deploy.local import embedded
from tests.api import PASSWORD, Api, Device
from tests.clock import Clock
from tests.servers import processes
from tests.servers.clusters import GALERA, Galera, RedisCluster

ROOT = Path(__file__).parent.parent
#: A token, a password hash, a private key, the tests' password, an e-mail.
SECRETS = re.compile(
    rf"eyJ[\w-]{{9,}}|\$argon2|PRIVATE KEY|{PASSWORD}|[\w.]+@example\.com", re.IGNORECASE
)
#: In CI everything must be had, and the same examples are tried each time: a change is judged by
#: itself. Elsewhere each run tries new ones.
CI = os.environ.get("CI") == "true"
settings.register_profile("ci", derandomize=True)
if CI:
    settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("embedded", "native", "mysql", "compose", "cluster"),
        default="embedded",
        help="embedded: SQLite, no Redis (default); native: private MariaDB and Redis; "
        "mysql: the same with Oracle's MySQL, by TLS; compose: what make up starts; "
        "cluster: three Galera nodes and a Redis Cluster",
    )


def lacking(what: str) -> None:
    """Skip for want of `what`, except where everything must be had."""
    if CI:
        pytest.fail(f"this machine lacks {what}")
    pytest.skip(f"this machine lacks {what}")


@dataclass
class Backend:
    """What the services of this test run stand on."""

    name: str
    directory: Path
    database: processes.MariaDB | None = None
    redis: processes.RedisServer | RedisCluster | None = None
    #: Of a cluster: the nodes besides `database`, which take writes like it.
    others: tuple[processes.MariaDB, ...] = ()

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


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A place for servers, which may give up root and must still reach it; pytest's own is closed."""
    with TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest, directory: Path) -> Iterator[Backend]:
    name = request.config.getoption("--backend")
    if name in ("embedded", "compose"):
        yield Backend(name, directory)
        return
    if name == "mysql" and not processes.MySQL.unpacked.exists():
        lacking("MySQL (make test-mysql unpacks it)")
    if missing := processes.missing_programs():
        lacking(", ".join(missing))
    if name == "cluster":
        yield from clusters(directory)
        return
    kind = processes.MySQL if name == "mysql" else processes.MariaDB
    database = kind(directory / "database", processes.free_port())
    redis = processes.RedisServer(directory / "redis", processes.free_port())
    database.install()
    try:
        database.start()
        redis.start()
        yield Backend(name, directory, database, redis)
    finally:
        redis.stop()
        database.stop()


def clusters(directory: Path) -> Iterator[Backend]:
    """The cluster backend."""
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
    subprocess.run(
        [Path(sys.executable).parent / "alembic", *arguments],
        env={**os.environ, "DATABASE_URL": url},
        cwd=ROOT,
        check=True,
    )


@pytest.fixture(scope="session")
def environ(backend: Backend) -> dict[str, str]:
    """The settings that services of this run start with, their database migrated."""
    keys = backend.directory / "keys"
    make_keys(keys)
    migrate, service = backend.new_database("app")
    alembic(migrate, "upgrade", "head")
    return {
        "DATABASE_URL": service,
        "REDIS_URL": backend.redis.url if backend.redis else "",
        "JWT_PRIVATE_KEY_FILE": str(keys / "private.pem"),
        "JWT_PUBLIC_KEYS_FILE": str(keys / "public.pem"),
        "TRUSTED_PROXIES": "0",
    }


@pytest.fixture(scope="session")
def application(environ: dict[str, str]) -> Iterator[object]:
    """All three services behind their paths, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield embedded.create_app()


@pytest.fixture(scope="session", autouse=True)
def logs_hold_no_secret(directory: Path, application: object) -> Iterator[None]:
    """What the whole run logged, here and in servers, is searched for tokens, hashes and e-mails."""
    handlers = []
    for name in ("services", "shared", "audit"):
        handler = logging.FileHandler(directory / f"{name}.log")
        handler.setFormatter(logging.getLogger(name).handlers[0].formatter)
        logging.getLogger(name).addHandler(handler)
        handlers.append(handler)
    yield
    for handler in handlers:
        handler.close()
    for path in directory.rglob("*log"):
        if path.is_file():
            found = SECRETS.search(path.read_text(errors="replace"))
            assert found is None, f"{path.name} holds {found[0]!r}"


@pytest.fixture
def api(application: object) -> Api:
    return Api(application)


@pytest.fixture
def device(api: Api) -> Device:
    """A device of a fresh user, logged in."""
    return api.register()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The services' wall clock."""
    return Clock(monkeypatch)


@pytest.fixture
def admin(device: Device) -> Device:
    """A device of a fresh administrator."""
    appoint(device.email)
    return device


def appoint(email: str, **settings: str) -> str:
    """Run the command that makes administrators; return what it says."""
    runner = services.users.create_app(**settings).test_cli_runner()
    result = runner.invoke(args=["create-admin", email])
    assert result.exit_code == 0, result.output
    return result.output
