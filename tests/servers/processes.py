"""Private instances of MariaDB, MySQL, Redis, nginx and the services, on ports of their own.

Each is a `ManagedProcess`: `start` waits until it answers, `stop` lets it finish its work.
"""

import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pymysql
import redis

from deploy.local import gateway
from deploy.local.machine import PATH, ROOT, answers, children, free_port, program, settings_file

#: What the native stack is made of.
PROGRAMS = ("mariadbd", "mariadb-install-db", "redis-server", "nginx", "pgrep")
#: The database's users besides root. Services and the purge get their rights from deploy/grants.py.
DATABASE_USERS = ("migrate", "auth", "users", "sync", "purge", "jobs", "webhooks")

#: Who runs servers that must not be root, when we are.
NOBODY = "nobody" if os.geteuid() == 0 else None

__all__ = ["PATH", "children", "free_port", "program", "settings_file"]

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def missing_programs() -> list[str]:
    """Return the programs of a native stack that this machine lacks."""
    return [name for name in PROGRAMS if not shutil.which(name, path=PATH)]


def get_health(address: str) -> None:
    """Raise `OSError` unless an HTTP server says that it lives."""
    if not answers(address, "/healthz"):
        raise OSError("it does not say that it lives")


def wait_until(answers: Callable[[], object], process: subprocess.Popen[bytes], what: str) -> None:
    """Return once `answers` raises nothing; raise when `process` ends or a minute has passed."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answers()
        except (OSError, redis.RedisError) as error:
            if process.poll() is not None:
                raise RuntimeError(f"{what} ended with exit code {process.returncode}") from error
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} does not answer") from error
            time.sleep(0.02)
        else:
            return


def _die_with_parent() -> None:
    """Where the system can: a part must not outlive whoever watches it, or it would hold its files."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class ManagedProcess:
    """One server process. Its output goes to `log`."""

    name: str
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, port: int, log: Path | None = None) -> None:
        self.directory, self.port = directory, port
        self.log = log or directory / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What runs the server."""
        raise NotImplementedError

    def environ(self) -> Mapping[str, str]:
        """What it finds in its environment besides ours."""
        return {}

    def user(self) -> str | None:
        """Who runs it, when not we ourselves."""
        return None

    def answers(self) -> None:
        """Raise `OSError` while it does not."""
        get_health(f"127.0.0.1:{self.port}")

    def prepare(self) -> None:
        """Write what it reads at its start."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self.process:
            # Of one that was killed, workers may be left that hold the port.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.prepare()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environ()},
                cwd=ROOT,
                user=self.user(),
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )
        try:
            wait_until(self.answers, self.process, self.name)
        except RuntimeError as error:
            # Its directory is gone when anybody reads this.
            error.add_note(self.log.read_text(errors="replace")[-4000:])
            raise

    def reload(self) -> None:
        """Replace the workers by new ones, and wait for the old ones to end what they are doing.

        Raises `RuntimeError` when the server does not run.
        """
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"{self.name} is not running")
        before = children(self.process.pid)
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 35
        while time.monotonic() < deadline:
            now = children(self.process.pid)
            if now - before and not now & before:
                return
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask the server to end, and wait for it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            self.process.wait(60)


class MariaDB(ManagedProcess):
    """A MariaDB server with durable commits, and databases with users of least privilege."""

    name = "database"
    #: PyMySQL's `ssl` for a service's connection; None for none.
    tls: dict[str, bool] | None = None
    #: Who may do everything, through the socket alone: whoever runs this.
    administrator = getpass.getuser()

    def __init__(
        self,
        directory: Path,
        port: int,
        log: Path | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, port, log)
        # An empty one that fills itself is a good one.
        made = defaultdict[str, str](lambda: secrets.token_hex(16))
        self.passwords: Mapping[str, str] = made if passwords is None else passwords

    @property
    def tmp(self) -> Path:
        """A place of its own for temporary tables: a server that starts removes all that it finds in its."""
        return self.directory / "tmp"

    @property
    def is_installed(self) -> bool:
        """Whether there is a data directory."""
        return (self.directory / "data").exists()

    def install(self) -> None:
        """Make the data directory, at once or not at all."""
        self.tmp.mkdir(parents=True, exist_ok=True)
        new = self.directory / "new"
        if NOBODY:
            shutil.chown(self.directory, NOBODY)
            shutil.chown(self.tmp, NOBODY)
        done = subprocess.run(
            [*self.installer(), f"--datadir={new}", f"--tmpdir={self.tmp}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=NOBODY,
            cwd=self.directory,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")
        new.rename(self.directory / "data")

    def installer(self) -> list[str]:
        """What makes a data directory with an administrator who is known by the socket."""
        return [
            program("mariadb-install-db"),
            "--no-defaults",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={self.administrator}",
            "--skip-test-db",
        ]

    def command(self) -> list[str]:
        """What runs the server. Settings of the machine's own instance must not reach ours."""
        return [
            *self.server(),
            "--skip-log-bin",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=128M",
            "--max-allowed-packet=256M",
            "--innodb-flush-log-at-trx-commit=1",
            f"--datadir={self.directory / 'data'}",
            f"--tmpdir={self.tmp}",
            f"--socket={self.socket}",
            f"--pid-file={self.directory / 'server.pid'}",
            f"--port={self.port}",
        ]

    def server(self) -> list[str]:
        """The program, and the options that only it knows."""
        return [program("mariadbd"), "--no-defaults", "--innodb-log-file-size=64M"]

    def user(self) -> str | None:
        """No database server runs as root."""
        return NOBODY

    def answers(self) -> None:
        """Raise `OSError` while nobody listens on the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)

    @property
    def socket(self) -> str:
        """The Unix socket."""
        return str(self.directory / "socket")

    def root(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection that may do everything, through the socket."""
        return pymysql.connect(unix_socket=self.socket, user=self.administrator, autocommit=True)

    def create_database(self, name: str) -> None:
        """An empty database, and its users: the one who migrates may do and grant everything in it."""
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {name}")
            for user in DATABASE_USERS:
                cursor.execute(
                    f"CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{self.passwords[user]}'"
                )
            cursor.execute(f"GRANT ALL ON {name}.* TO 'migrate'@'%' WITH GRANT OPTION")

    def connect(self, user: str, database: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection of one of the users, as a service makes it."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=self.passwords[user],
            database=database,
            ssl=self.tls,
        )

    def drop_database(self, name: str) -> None:
        """Remove a database."""
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")

    def url(self, user: str, database: str) -> str:
        """The `DATABASE_URL` of one of the users."""
        return f"mysql+pymysql://{user}:{self.passwords[user]}@127.0.0.1:{self.port}/{database}"


class MySQL(MariaDB):
    """Oracle's MySQL in the place of MariaDB, as .ci/mysql.sh unpacks it; services come by TLS."""

    tls = {"check_hostname": False}  # noqa: RUF012
    administrator = "root"
    unpacked = (ROOT / ".local/mysql").resolve()

    def server(self) -> list[str]:
        """The program, and the options that only it knows."""
        return [str(self.unpacked / "bin/mysqld"), "--mysqlx=OFF", "--require-secure-transport=ON"]

    def installer(self) -> list[str]:
        """What makes a data directory with a root that has no password."""
        return [*self.server(), "--initialize-insecure"]

    def url(self, user: str, database: str) -> str:
        """The `DATABASE_URL` of one of the users."""
        return super().url(user, database) + "?ssl_check_hostname=false"


class RedisServer(ManagedProcess):
    """A Redis server that keeps nothing on disk."""

    name = "redis"

    def __init__(
        self, directory: Path, port: int, log: Path | None = None, password: str | None = None
    ) -> None:
        super().__init__(directory, port, log)
        self.password = password or secrets.token_hex(16)

    @property
    def url(self) -> str:
        """The `REDIS_URL`."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the settings to a file, since everybody on the machine can read arguments."""
        super().prepare()
        settings = self.directory / "redis.conf"
        with open(os.open(settings, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(
                f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
                f"requirepass {self.password}\nsave ''\nappendonly no\n"
            )
        if NOBODY:
            shutil.chown(self.directory, NOBODY)
            shutil.chown(settings, NOBODY)

    def command(self) -> list[str]:
        """What runs the server."""
        return [program("redis-server"), str(self.directory / "redis.conf")]

    def user(self) -> str | None:
        """Root is not needed."""
        return NOBODY

    def answers(self) -> None:
        """Raise `RedisError` while it does not."""
        with self.client() as client:
            client.ping()

    def client(self) -> redis.Redis:
        """A client of this server."""
        return redis.Redis.from_url(self.url)


class Service(ManagedProcess):
    """One instance of a service under gunicorn."""

    def __init__(self, name: str, port: int, settings: Mapping[str, str], log: Path) -> None:
        self.name, self.settings = name, settings
        super().__init__(log.parent, port, log)

    def command(self) -> list[str]:
        """What runs the server."""
        return [
            str(Path(sys.executable).parent / "gunicorn"),
            "--config=deploy/gunicorn.conf.py",
            f"--bind=127.0.0.1:{self.port}",
            f"services.{self.name}:create_app()",
        ]

    def environ(self) -> Mapping[str, str]:
        """Its settings, and a place for its counts that goes with its directory."""
        counts = self.directory / f"metrics-{self.port}"
        shutil.rmtree(counts, ignore_errors=True)
        counts.mkdir(parents=True)
        return {**self.settings, "PROMETHEUS_MULTIPROC_DIR": str(counts)}


class Live(ManagedProcess):
    """One instance of the server of live nudges."""

    name = "live"

    def __init__(
        self, directory: Path, port: int, settings: Mapping[str, str], log: Path | None = None
    ) -> None:
        super().__init__(directory, port, log)
        self.settings = settings

    def prepare(self) -> None:
        """Make a place for its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """What runs the server."""
        module = ["-m", "services.sync.live.server"]
        return [sys.executable, *module, "--host=127.0.0.1", f"--port={self.port}"]

    def environ(self) -> Mapping[str, str]:
        """Its settings."""
        return self.settings


class Webhooks(Live):
    """One process that delivers webhooks."""

    name = "webhooks"

    def command(self) -> list[str]:
        """What runs it."""
        module = ["-m", "services.sync.webhooks"]
        return [sys.executable, *module, "--host=127.0.0.1", f"--port={self.port}"]


class Gateway(ManagedProcess):
    """nginx in front of the services."""

    name = "gateway"
    #: Lets running requests finish.
    stop_signal = signal.SIGQUIT

    def __init__(
        self,
        directory: Path,
        port: int,
        services: Mapping[str, Sequence[int]],
        log: Path | None = None,
        **settings: str,
    ) -> None:
        super().__init__(directory, port, log)
        #: Where the pages of services/pages/site.py are to be.
        self.site = directory / "site"
        #: Where it tells Prometheus how it is.
        self.status_port = free_port()
        self.settings = {
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_STATUS": f"127.0.0.1:{self.status_port}",
            "GATEWAY_RUN": str(directory / "run"),
            "GATEWAY_SITE": str(self.site),
            **settings,
        }
        self.services = services

    def route(self, services: Mapping[str, Sequence[int]]) -> None:
        """Send requests to the services on these ports, from the next start or `reload` on."""
        self.services = services

    def prepare(self) -> None:
        """Write the configuration."""
        run = self.directory / "run"
        run.mkdir(parents=True, exist_ok=True)
        if NOBODY:
            # nginx's workers give up root.
            shutil.chown(run, NOBODY)
        ports = {name: [str(port) for port in some] for name, some in self.services.items()}
        # Nobody, unless a test has one.
        ports = {"live": ["9"]} | ports
        gateway.render(self.directory, ports, self.settings)

    def command(self) -> list[str]:
        """What runs the server."""
        options = [f"-p{self.directory}/", "-cnginx.conf", "-estderr", "-gdaemon off;"]
        return [program("nginx"), *options]

    def reload(self) -> None:
        """Take the configuration as it is now; requests under way end under the old one."""
        self.prepare()
        super().reload()
