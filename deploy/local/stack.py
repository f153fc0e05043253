"""The whole stack without Docker: private MariaDB and Redis, the three services, nginx.

`python -m deploy.local.stack up` starts a watcher in the background that starts every part, starts again
what ends, and listens on a socket for the other commands: `scale SERVICE N`, `restart [SERVICE]`,
`down`. All that it keeps is in `.local/native`, its output in `.local/log`.
"""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.api import site
from deploy.grants import grant
from deploy.keys import PRIVATE_KEY, PUBLIC_KEYS, make_keys
from deploy.local import servers
from deploy.local.run import probe
from deploy.local.servers import ROOT, Gateway, MariaDB, Part, RedisServer, Service, settings_file

SERVICES = ("auth", "users", "sync")
DATABASE = "app"
#: Nobody needs more on one machine, and a slip of the finger must not fill it with processes.
MOST_INSTANCES = 16

GATEWAY = ROOT / "gateway/gateway.env"

Say = Callable[[str], None]


class Refused(Exception):
    """A command that cannot be carried out, and why."""


class Stack:
    """Every part, and how to keep them running. `local` is the directory for all that it writes."""

    def __init__(self, local: Path, port: int, settings: Mapping[str, str], say: Say) -> None:
        self.local, self.say = local, say
        self.directory, self.logs = local / "native", local / "log"
        for directory in (self.directory, self.logs):
            directory.mkdir(parents=True, exist_ok=True)
        if servers.NOBODY:
            # The database gives up root and must still reach its files.
            for directory in (local, self.directory):
                directory.chmod(directory.stat().st_mode | 0o011)
        passwords = make_passwords(local / "secrets.env")
        self.database = MariaDB(
            self.directory / "database",
            servers.free_port(),
            self.logs / "database.log",
            {user: passwords[f"{user.upper()}_PASSWORD"] for user in servers.DATABASE_USERS},
        )
        self.redis = RedisServer(
            self.directory / "redis",
            servers.free_port(),
            self.logs / "redis.log",
            passwords["REDIS_PASSWORD"],
        )
        keys = local / "keys"
        if not (keys / PRIVATE_KEY).exists():
            make_keys(keys)
        self.settings = {
            **{name: os.environ.get(name, value) for name, value in settings.items()},
            "REDIS_URL": self.redis.url,
            "JWT_PUBLIC_KEYS_FILE": str(keys / PUBLIC_KEYS),
            "TRUSTED_PROXIES": "1",
        }
        self.private_key = {"JWT_PRIVATE_KEY_FILE": str(keys / PRIVATE_KEY)}
        self.instances = {name: [self.instance(name)] for name in SERVICES}
        self.gateway = Gateway(
            self.directory / "gateway",
            port,
            self.ports(),
            self.logs / "gateway.log",
            **gateway_settings(local),
        )
        #: When a part that ended may be started again.
        self.not_before: dict[Part, float] = {}

    def environ(self, user: str) -> dict[str, str]:
        """The settings of a service, or of the purge."""
        own = self.private_key if user == "auth" else {}
        return {**self.settings, **own, "DATABASE_URL": self.database.url(user, DATABASE)}

    def instance(self, name: str) -> Service:
        """One more instance of a service, not yet started."""
        return Service(name, servers.free_port(), self.environ(name), self.logs / f"{name}.log")

    def ports(self) -> dict[str, list[int]]:
        """Where the instances of each service listen."""
        return {name: [one.port for one in some] for name, some in self.instances.items()}

    def parts(self) -> list[Part]:
        """All of them, each after what it stands on."""
        services = [one for some in self.instances.values() for one in some]
        return [self.database, self.redis, *services, self.gateway]

    def start(self) -> None:
        """Start everything, from an empty directory if need be."""
        if not self.database.is_installed:
            self.say("Making a database")
            self.database.install()
        self.say("Starting the database")
        self.database.start()
        self.database.create_database(DATABASE)
        self.say("Applying migrations")
        self.migrate()
        site.write(self.gateway.site)
        self.say("Starting Redis, the services and the gateway")
        for part in self.parts()[1:]:
            part.start()
        self.name_targets()

    def name_targets(self) -> None:
        """Tell a Prometheus that runs with `prometheus.yml` beside them where the instances are."""
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"service": name}}
            for name, ports in self.ports().items()
            for port in ports
        ]
        monitoring = ROOT / "deploy/monitoring"
        text = (monitoring / "prometheus.yml").read_text()
        text = re.sub("dns_sd_configs: .*", "file_sd_configs: [{files: [targets.json]}]", text)
        text = re.sub(r"\n    relabel_configs: .*", "", text)
        text = text.replace("gateway:8081", f"127.0.0.1:{self.gateway.status_port}")
        for name, content in (
            ("targets.json", json.dumps(targets)),
            ("prometheus.yml", text),
            ("alerts.yml", (monitoring / "alerts.yml").read_text()),
        ):
            (self.directory / name).write_text(content)

    def migrate(self, database: str = DATABASE) -> None:
        """Bring the tables and the rights of a database to the present version."""
        url = self.database.url("migrate", database)
        done = subprocess.run(
            [Path(sys.executable).parent / "alembic", "upgrade", "head"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"The migrations failed:\n{done.stderr}")
        grant(url)

    def watch(self) -> None:
        """Start again what has ended, a second after it did at the earliest."""
        now = time.monotonic()
        for part in self.parts():
            if part.process is None or part.process.poll() is None:
                continue
            if part not in self.not_before:
                self.say(f"{part.name} on port {part.port} ended with {part.process.returncode}")
                self.not_before[part] = now + 1
            elif now >= self.not_before[part]:
                del self.not_before[part]
                try:
                    part.start()
                    self.say(f"{part.name} on port {part.port} runs again")
                except RuntimeError as error:
                    self.say(f"{error}; see {part.log}")

    def scale(self, name: str, number: int) -> str:
        """Run this many instances of a service: new ones get requests once they answer, and old
        ones end when they get no more."""
        known(name)
        if not 1 <= number <= MOST_INSTANCES:
            raise Refused(f"N must be a number from 1 to {MOST_INSTANCES}.")
        some = self.instances[name]
        for _ in range(number - len(some)):
            new = self.instance(name)
            new.start()
            some.append(new)
        superfluous = some[number:]
        del some[number:]
        self.gateway.route(self.ports())
        self.gateway.reload()
        self.name_targets()
        for old in superfluous:
            old.stop()
        return f"{name} runs {number} times"

    def restart(self, *names: str) -> str:
        """Replace the processes of services one instance after the other; no request is lost."""
        for name in names or SERVICES:
            known(name)
            for one in self.instances[name]:
                one.reload()
        return f"Restarted {', '.join(names or SERVICES)}"

    def pause(self) -> str:
        """Stop the services, so that nobody writes."""
        for name in SERVICES:
            for one in self.instances[name]:
                one.stop()
                one.process = None
        return "The services are stopped"

    def resume(self) -> str:
        """Forget what Redis knew, and start the services."""
        with self.redis.client() as client:
            client.flushall()
        for name in SERVICES:
            for one in self.instances[name]:
                one.start()
        return "The services run again"

    def describe(self) -> dict[str, Any]:
        """What other commands need to know."""
        return {
            "url": f"http://localhost:{self.gateway.port}/v1",
            "environ": {user: self.environ(user) for user in (*SERVICES, "purge", "migrate")},
            "database": {
                "socket": self.database.socket,
                "user": self.database.administrator,
                "port": self.database.port,
            },
            "parts": {f"{p.name}:{p.port}": p.process and p.process.pid for p in self.parts()},
        }

    def stop(self) -> None:
        """Stop everything, the front door first."""
        for part in reversed(self.parts()):
            part.stop()


def gateway_settings(local: Path) -> dict[str, str]:
    """What differs from gateway/gateway.env: `gateway.env` in `local`, or else the environment."""
    own = local / "gateway.env"
    given = {name: os.environ[name] for name in settings_file(GATEWAY) if name in os.environ}
    return given | (settings_file(own) if own.exists() else {})


def known(name: str) -> None:
    """Refuse what is no service."""
    if name not in SERVICES:
        raise Refused(f"SERVICE must be one of: {', '.join(SERVICES)}.")


def make_passwords(path: Path) -> dict[str, str]:
    """The passwords of the local stacks, made once, readable by their owner only."""
    names = [f"{user.upper()}_PASSWORD" for user in ("root", *servers.DATABASE_USERS, "redis")]
    if not path.exists():
        lines = [f"{name}={secrets.token_hex(16)}\n" for name in names]
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.writelines(lines)
    return settings_file(path)


def serve(local: Path, port: int) -> None:
    """Run a stack until it is told to stop. What it says goes to standard output."""

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    door = control(local)
    door.unlink(missing_ok=True)
    stop = False

    def on_stop(*_: object) -> None:
        nonlocal stop
        stop = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_stop)
    stack = Stack(local, port, settings_file(ROOT / "deploy/development.env"), say)
    listener = socket.socket(socket.AF_UNIX)
    try:
        stack.start()
        listener.bind(str(door))
        door.chmod(0o600)
        listener.listen()
        listener.settimeout(0.2)
        say(READY)
        while not stop:
            stack.watch()
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                stop = obey(stack, connection) or stop
    except RuntimeError as error:
        say(str(error))
        sys.exit(1)
    finally:
        say("Stopping")
        stack.stop()
        listener.close()
        door.unlink(missing_ok=True)


def obey(stack: Stack, connection: socket.socket) -> bool:
    """Carry one command out and answer it; return whether it was the last."""
    connection.settimeout(5)
    actions: dict[str, Callable[..., Any]] = {
        "scale": stack.scale,
        "restart": stack.restart,
        "pause": stack.pause,
        "resume": stack.resume,
        "migrate": stack.migrate,
        "describe": stack.describe,
        "down": lambda: "Stopping",
    }
    command = ""
    try:
        command, *arguments = json.loads(connection.makefile().readline())
        try:
            answer = {"result": actions[command](*arguments)}
        except (Refused, RuntimeError) as error:
            answer = {"error": str(error)}
        connection.sendall(json.dumps(answer).encode() + b"\n")
    except (OSError, ValueError) as error:
        # Whoever asked has gone. That is no reason for the stack to go too.
        stack.say(f"A command was lost: {error}")
    return command == "down"


READY = "Ready"


def control(local: Path) -> Path:
    """The socket on which a running stack takes commands."""
    return local / "native/control"


def ask(local: Path, command: str, *arguments: Any) -> Any:
    """Let the running stack do something, and return its answer.

    Raises `Refused` with its reason, or `ConnectionError` when none runs.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(control(local)))
        except FileNotFoundError as error:
            raise ConnectionRefusedError from error
        connection.sendall(json.dumps([command, *arguments]).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if "error" in answer:
        raise Refused(answer["error"])
    return answer["result"]


def is_up(local: Path) -> bool:
    """Whether a native stack runs there."""
    try:
        ask(local, "describe")
    except ConnectionError:
        return False
    return True


def up(local: Path) -> None:
    """Start a stack in the background, show its progress, and return when it is ready."""
    if is_up(local):
        print(f"Already running: {ask(local, 'describe')['url']}")
        return
    port = os.environ.get("PORT", "8080")
    try:
        probe("127.0.0.1", port)
    except (OSError, ValueError, OverflowError) as error:
        sys.exit(f"Cannot serve on port {port}: {error}. Choose another: make up-native PORT=…")
    if missing := servers.missing_programs():
        sys.exit(f'This machine lacks {", ".join(missing)}; see README.md, "Run the whole stack"')
    log = local / "log/stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        seen = output.tell()
        watcher = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.stack", "serve", str(local), port],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    with log.open() as progress:
        progress.seek(seen)
        while True:
            line = progress.readline()
            if READY in line:
                break
            if line:
                print(line, end="", flush=True)
            elif watcher.poll() is not None:
                sys.exit("The stack did not start.")
            else:
                time.sleep(0.05)
    print(
        f"\nReady: http://localhost:{port}/v1. Logs are in {local / 'log'}.\n"
        "Next: make admin EMAIL=you@example.com, make scale SERVICE=sync N=3; make down-native stops it."
    )


def down(local: Path) -> None:
    """Stop the stack; wait until it is gone."""
    if not is_up(local):
        print("No native stack is running")
        return
    ask(local, "down")
    door = control(local)
    while door.exists():
        time.sleep(0.05)
    print("Stopped. The data stays in .local/native.")


if __name__ == "__main__":
    action, *rest = sys.argv[1:]
    if action == "serve":
        serve(Path(rest[0]), int(rest[1]))
    else:
        {"up": up, "down": down}[action](ROOT / ".local")
