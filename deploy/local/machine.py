"""This checkout and this machine: paths, programs, ports, waiting."""

import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / ".local"
SERVICES = ("auth", "users", "sync")
#: What runs in instances: they, and the server of live nudges, which has the code and the rights of sync.
PARTS = (*SERVICES, "live")
#: Besides, where receivers of webhooks are configured, who tells them what changes. One instance is enough.
INSTANCES = (*PARTS, "webhooks")
#: The code of parts that are no service of their own.
CODE = {"live": "sync", "webhooks": "sync"}
#: Where the local stacks look for receivers; `WEBHOOKS_FILE` goes before.
WEBHOOKS_FILE = LOCAL / "webhooks/webhooks.toml"
#: What `HOST` is for every address of this machine.
EVERYWHERE = ("0.0.0.0", "::")
#: The database users of commands that are not run as their service's: no process that serves anybody may make
#: a service key, and who migrates may do everything anyway.
USERS = {"purge": "purge", "jobs": "jobs", "webhook-replay": "webhooks"} | dict.fromkeys(
    ("service-key", "service-keys", "revoke-service-key"), "migrate"
)
#: The applications that have them, where it is not their service's.
APPS = {"webhook-replay": "services.sync.webhooks.app"}
#: Where programs are that a plain user's shell does not look for.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Refused(click.ClickException):
    """A command that cannot be carried out, and why: click shows it and ends with 1."""


def program(name: str) -> str:
    """Return where a program is; its bare name when it is nowhere."""
    return shutil.which(name, path=PATH) or name


def run(*command: str, **environ: str) -> None:
    """Run a command in the checkout, in the foreground; end as it does when it fails."""
    if code := subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}).returncode:
        sys.exit(code)


def check_start(service: str, *python: str) -> None:
    """Raise `Refused` with the reason when a service cannot start with its present code and settings."""
    start = f"from services.{CODE.get(service, service)} import create_app; create_app()"
    tried = subprocess.run([*python, "-c", start], cwd=ROOT, capture_output=True, text=True)
    if tried.returncode:
        reason = "\n".join(tried.stderr.strip().splitlines()[-3:])
        raise Refused(f"{service} cannot start: {reason}")


def webhooks_file() -> str:
    """Return the file of those who are told what changes; empty for none."""
    return os.environ.get("WEBHOOKS_FILE") or (str(WEBHOOKS_FILE) if WEBHOOKS_FILE.exists() else "")


def settings_file(path: Path) -> dict[str, str]:
    """Return the `NAME=value` lines of a file of settings; none when there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if line and line[0] != "#")


def free_port() -> int:
    """Return a port that nobody listens on, outside the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def free_address(command: str) -> tuple[str, str]:
    """Return `HOST:PORT` of the environment and the URL that leads there from this machine.

    Raises `Refused` when nobody can listen there.
    """
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8080")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(*found[:3]) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[4])
    except (OSError, ValueError, OverflowError) as error:
        raise Refused(
            f"Cannot serve on {address}: {error}. Choose another: {command} PORT=…"
        ) from error
    is_here = host in ("127.0.0.1", *EVERYWHERE)
    return address, f"http://localhost:{port}" if is_here else f"http://{address}"


def network_address() -> str | None:
    """Return the address by which other machines in the network reach this one, if it is in one."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe, suppress(OSError):
        # Nothing is sent: the system only chooses the way, here to an address that is nobody's.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return None


def answers(address: str, path: str = "/readyz") -> bool:
    """Return whether an HTTP server answers that all is well, whatever proxy is set."""
    with (
        suppress(OSError, http.client.HTTPException),
        closing(http.client.HTTPConnection(address, timeout=5)) as connection,
    ):
        connection.request("GET", path)
        return connection.getresponse().status == 200
    return False


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Return whether `holds` becomes true within so many seconds; an `OSError` means not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            if holds():
                return True
        time.sleep(0.05)
    return False


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that still run: a server's workers."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return {int(child) for child in found.stdout.split()}
