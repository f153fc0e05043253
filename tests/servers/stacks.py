"""Real servers for black-box tests: `make run` in a copy of the checkout, and the native stack."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from deploy.grants import grant
from services.pages import site
from tests.servers import processes
from tests.servers.commands import run_module

ROOT = Path(__file__).parent.parent.parent


#: Whatever proxy this machine uses, it is not for its own servers.
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

#: All tests come from one address.
NO_LIMITS = dict.fromkeys(
    (
        f"{who}_{what}"
        for who in ("LOGIN", "TOKEN", "SERVICE", "ADDRESS")
        for what in ("RATE", "BURST")
    ),
    "100000",
) | dict.fromkeys(("TOKEN_REQUESTS", "USER_REQUESTS", "SERVICE_REQUESTS"), "1000")


#: What services of a test's own process may be set to, as long as it runs.
SETTINGS = {
    *("DATABASE_URL", "REDIS_URL", "JWT_PRIVATE_KEY_FILE", "JWT_PUBLIC_KEYS_FILE"),
    *("TRUSTED_PROXIES", "MAIL_URL", "OIDC_PROVIDERS_FILE", "PUBLIC_URL"),
}


def outside() -> dict[str, str]:
    """The environment without them."""
    return {name: value for name, value in os.environ.items() if name not in SETTINGS}


class Embedded:
    """What `make run` starts, in a directory of its own so that no developer's data is touched."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        #: Settings that it is to have.
        self.settings: dict[str, str] = {}
        for name in ("client", "deploy", "migrations", "services", "shared"):
            shutil.copytree(ROOT / name, directory / name)
        shutil.copy(ROOT / "pyproject.toml", directory)
        self.port = processes.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}/v1"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *wrapper: str) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "deploy.local.cli", "run"],
                cwd=self.directory,
                env=outside() | self.settings | {"PORT": str(self.port)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        processes.wait_until(lambda: processes.get_health(self.address), self.process, "make run")

    def stop(self) -> int:
        """Press Ctrl-C, which reaches every process of the terminal; return the exit code."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(30)

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def flask(self, *command: str) -> str:
        """Run a command of the sync service, as make does; return what it prints."""
        done = run_module(self.directory, "deploy.local.cli", "flask", "sync", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class Stack:
    """Three services, each a process group of its own, behind nginx.

    On a cluster, sync runs once for each database node: pushes go to all of them at once.
    """

    def __init__(
        self,
        directory: Path,
        environ: dict[str, str],
        database: processes.MariaDB,
        others: tuple[processes.MariaDB, ...] = (),
    ) -> None:
        self.directory = directory
        directory.mkdir()
        grant(database.url("migrate", "app"))
        settings = environ | {"TRUSTED_PROXIES": "1", "WEB_CONCURRENCY": "2"}

        #: The settings of commands that no process which serves anybody may run.
        self.by_hand = environ | {"DATABASE_URL": database.url("migrate", "app")}

        def service(name: str, node: processes.MariaDB) -> processes.Service:
            own = settings | {"DATABASE_URL": node.url(name, "app")}
            return processes.Service(name, processes.free_port(), own, directory / f"{name}.log")

        self.services = {name: service(name, database) for name in ("auth", "users", "sync")}
        self.more = [service("sync", node) for node in others]
        ports = {name: [one.port] for name, one in self.services.items()}
        ports["sync"] += [one.port for one in self.more]
        own = settings | {"DATABASE_URL": database.url("sync", "app")}
        self.live = processes.Live(directory, processes.free_port(), own)
        ports["live"] = [self.live.port]
        self.gateway = processes.Gateway(
            directory / "gateway", processes.free_port(), ports, **NO_LIMITS
        )
        self.url = f"http://127.0.0.1:{self.gateway.port}/v1"

    def start(self) -> None:
        site.write(self.gateway.site)
        for part in (*self.services.values(), *self.more, self.live, self.gateway):
            part.start()

    def flask(self, *command: str) -> str:
        """Run a command of the sync service, as who migrates; return what it prints."""
        done = run_module(ROOT, "flask", "--app", "services.sync", *command, **self.by_hand)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        for part in (self.gateway, *self.more, self.live, *self.services.values()):
            part.stop()


class Compose:
    """What `make up` starts, from a copy of the checkout and under a name of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in tracked.stdout.split():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
        # As under a strict umask: users of containers may read what `make up` opens to them.
        subprocess.run(["chmod", "-R", "go=", directory], check=True)
        (directory / ".local").mkdir()
        self.set_up_gateway()
        (directory / ".local/venv").symlink_to(Path(sys.prefix))
        self.port = processes.free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.project = f"test{self.port}"

    def set_up_gateway(self, **settings: str) -> None:
        """Write what is to be otherwise than in gateway/gateway.env."""
        lines = [f"{name}={value}\n" for name, value in (NO_LIMITS | settings).items()]
        (self.directory / ".local/gateway.env").write_text("".join(lines))

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command there, which is to succeed or to fail; return what it prints."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, "COMPOSE_PROJECT_NAME": self.project, "PORT": str(self.port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode != 0) is fails, done.stdout
        return done.stdout

    def make(self, *arguments: str, fails: bool = False) -> str:
        """Run a target of the Makefile, with no more rebuilding of the virtual environment."""
        make = ("make", "--silent", "-o", ".local/venv/.runtime")
        return self.run(*make, *arguments, fails=fails)

    def compose(self, *arguments: str) -> str:
        """Run docker compose."""
        return self.run("docker", "compose", "--env-file", ".local/secrets.env", *arguments)

    def start(self) -> None:
        self.make("up")

    def flask(self, *command: str) -> str:
        """Run a command of the sync service, as make does; return what it prints."""
        return self.run(sys.executable, "-m", "deploy.local.cli", "flask", "sync", *command)

    def stop(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans")


Server = Embedded | Stack | Compose


def fetch(
    url: str,
    body: Any = None,
    *,
    token: str | None = None,
    method: str | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of an HTTP call."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, method=method)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with NO_PROXY.open(request, timeout=60) as response:
            return response.status, dict(response.headers), json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.loads(error.read() or b"null")
