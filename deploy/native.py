"""Private instances of MariaDB, Redis and nginx, in a directory of their own and on free ports."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pymysql
import redis

ROOT = Path(__file__).parent.parent

#: Where programs are that a plain user's shell does not look for.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

SERVICE_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"


def missing_programs() -> list[str]:
    """The programs of a native stack that this machine lacks."""
    needed = ("mariadbd", "mariadb-install-db", "redis-server", "nginx")
    return [name for name in needed if not shutil.which(name, path=PATH)]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


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


def get_health(port: int) -> None:
    """Raise `OSError` unless an HTTP server on `port` says that it lives."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
        pass


class MariaDB:
    """A MariaDB server with durable commits, and databases with users of least privilege."""

    name = "MariaDB"
    #: PyMySQL's `ssl` for a service's connection; None for none.
    tls: dict[str, bool] | None = None

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self.password = secrets.token_hex(16)
        self.user = "nobody" if os.geteuid() == 0 else None
        self.process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        """Make the data directory."""
        self.directory.mkdir(parents=True)
        options = [f"--datadir={self.directory / 'data'}"]
        if self.user:
            shutil.chown(self.directory, self.user)
            options.append(f"--user={self.user}")
        subprocess.run([*self.installer, *options], check=True, capture_output=True)

    @property
    def installer(self) -> list[str]:
        """What makes a data directory with a root that has no password, for the socket alone."""
        return [
            "mariadb-install-db",
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.process = subprocess.Popen(
            [
                *self.command,
                "--skip-log-bin",
                "--bind-address=127.0.0.1",
                "--innodb-buffer-pool-size=128M",
                "--innodb-flush-log-at-trx-commit=1",
                f"--datadir={self.directory / 'data'}",
                f"--socket={self.socket}",
                f"--pid-file={self.directory / 'server.pid'}",
                f"--port={self.port}",
                f"--log-error={self.directory / 'server.log'}",
                *([f"--user={self.user}"] if self.user else []),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.listens, self.process, self.name)

    @property
    def command(self) -> list[str]:
        """What runs the server. Settings of the machine's own instance must not reach ours."""
        program = shutil.which("mariadbd", path=PATH) or "mariadbd"
        return [program, "--no-defaults", "--innodb-log-file-size=64M"]

    def listens(self) -> None:
        """Raise `OSError` while nobody listens on the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)

    @property
    def socket(self) -> str:
        """The Unix socket, by a path that is short enough for one."""
        return f"/tmp/database-{self.port}.sock"

    def root(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection that may do everything, through the socket."""
        return pymysql.connect(unix_socket=self.socket, user="root", autocommit=True)

    def create_database(self, name: str) -> None:
        """An empty database, its `migrate` user and its `service` user."""
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            for user, rights in (("migrate", "ALL"), ("service", SERVICE_RIGHTS)):
                account = f"'{user}'@'127.0.0.1'"
                cursor.execute(
                    f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{self.password}'"
                )
                cursor.execute(f"GRANT {rights} ON {name}.* TO {account}")

    def connect(self, user: str, database: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection of one of the users, as a service makes it."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=self.password,
            database=database,
            ssl=self.tls,
        )

    def drop_database(self, name: str) -> None:
        """Remove a database."""
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")

    def url(self, user: str, database: str) -> str:
        """The `DATABASE_URL` of one of the users."""
        return f"mysql+pymysql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Shut the server down."""
        stop(self.process)


class MySQL(MariaDB):
    """Oracle's MySQL in the place of MariaDB, as deploy/mysql.sh unpacks it; services come by TLS."""

    name = "MySQL"
    tls = {"check_hostname": False}  # noqa: RUF012
    unpacked = ROOT / ".local/mysql"

    @property
    def command(self) -> list[str]:
        """What runs the server."""
        return [str(self.unpacked / "bin/mysqld"), "--mysqlx=OFF", "--require-secure-transport=ON"]

    @property
    def installer(self) -> list[str]:
        """What makes a data directory with a root that has no password."""
        return [*self.command, "--initialize-insecure"]

    def url(self, user: str, database: str) -> str:
        """The `DATABASE_URL` of one of the users."""
        return super().url(user, database) + "?ssl_check_hostname=false"


class RedisServer:
    """A Redis server that keeps nothing on disk."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self.password = secrets.token_hex(16)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The `REDIS_URL`."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = self.directory / "redis.conf"
        # In a file, since everybody on the machine can read a process's arguments.
        with open(os.open(settings, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(
                f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
                f"requirepass {self.password}\nsave ''\nappendonly no\n"
                f"logfile {self.directory / 'redis.log'}\n"
            )
        self.process = subprocess.Popen(["redis-server", settings])
        with self.client() as client:
            wait_until(client.ping, self.process, "Redis")

    def client(self) -> redis.Redis:
        """A client of this server."""
        return redis.Redis.from_url(self.url)

    def stop(self) -> None:
        """Shut the server down."""
        stop(self.process)


class Service:
    """One service under gunicorn."""

    def __init__(self, name: str, port: int, environ: Mapping[str, str], log: Path) -> None:
        self.name, self.port, self.environ, self.log = name, port, environ, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    Path(sys.executable).parent / "gunicorn",
                    "--config=deploy/gunicorn.conf.py",
                    f"--bind=127.0.0.1:{self.port}",
                    "--log-level=warning",
                    f"services.{self.name}:create_app()",
                ],
                env={**os.environ, **self.environ},
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: get_health(self.port), self.process, self.name)

    def stop(self) -> None:
        """Stop it, letting running requests finish."""
        stop(self.process)


def settings_file(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file of settings."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


class Gateway:
    """nginx in front of the services."""

    def __init__(
        self, directory: Path, port: int, services: Mapping[str, Sequence[int]], **settings: str
    ) -> None:
        self.directory, self.port = directory, port
        self.settings = {
            **settings_file(ROOT / "gateway/gateway.env"),
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "GATEWAY_RUN": str(directory / "run"),
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.route(services)

    def route(self, services: Mapping[str, Sequence[int]]) -> None:
        """Send requests to the services on these ports, from the next start or `reload` on."""
        for name, ports in services.items():
            servers = (f"server 127.0.0.1:{port} fail_timeout=1s;" for port in ports)
            self.settings[f"{name.upper()}_SERVERS"] = " ".join(servers)

    def render(self) -> None:
        """Write the configuration, as the official image does from the same files."""
        run = self.directory / "run"
        run.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # nginx's workers give up root.
            shutil.chown(run, "nobody")
        shutil.copytree(ROOT / "gateway/snippets", self.directory / "snippets", dirs_exist_ok=True)
        text = (ROOT / "gateway/nginx.conf.template").read_text()
        for name, value in self.settings.items():
            text = text.replace(f"${{{name}}}", value)
        (self.directory / "nginx.conf").write_text(text)

    def start(self) -> None:
        """Start nginx and wait until it answers."""
        self.render()
        program = shutil.which("nginx", path=PATH) or "nginx"
        arguments = [f"-p{self.directory}/", "-cnginx.conf", "-estderr", "-gdaemon off;"]
        with (self.directory / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
        wait_until(lambda: get_health(self.port), self.process, "nginx")

    def reload(self) -> None:
        """Take the configuration as it is now; requests under way end under the old one."""
        self.render()
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Stop nginx, letting running requests finish."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(60)


def stop(process: subprocess.Popen[bytes] | None) -> None:
    """Ask a process to end, and wait for it."""
    if process and process.poll() is None:
        process.terminate()
        process.wait(60)
