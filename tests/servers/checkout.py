"""A copy of the checkout with a native stack of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pymysql

from deploy.local.machine import SERVICES, answers
from deploy.local.native import Native, serves
from tests.servers.processes import ROOT, free_port, settings_file
from tests.servers.stacks import NO_LIMITS, outside
from tests.stack.http_api import HttpApi


def copy_checkout(directory: Path, *folders: str) -> None:
    """Copy folders of the checkout, with the way to its virtual environment."""
    for name in folders:
        shutil.copytree(
            ROOT / name, directory / name, ignore=shutil.ignore_patterns("node_modules")
        )
    shutil.copy(ROOT / "pyproject.toml", directory)
    (directory / ".local").mkdir()
    (directory / ".local/venv").symlink_to(Path(sys.executable).parent.parent)


class Checkout:
    """A copy of the checkout with a native stack of its own."""

    def __init__(self, directory: Path) -> None:
        for name in ("deploy", "gateway", "migrations", "services", "shared"):
            shutil.copytree(ROOT / name, directory / name)
        shutil.copy(ROOT / "pyproject.toml", directory)
        self.directory, self.local = directory, directory / ".local"
        self.native = Native(directory)
        self.port = free_port()
        self.api = HttpApi(f"http://127.0.0.1:{self.port}/v1")

    def run(self, *command: str, check: bool = True, **environ: str) -> str:
        """Run a command of `deploy.local.cli` there; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local.cli", *command],
            cwd=self.directory,
            env=outside() | NO_LIMITS | {"PORT": str(self.port), "LOG_SQL": "false"} | environ,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        assert check or done.returncode != 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def warnings(self) -> str:
        """What its parts warned of last, for a test that fails."""
        lines = [
            line
            for log in sorted((self.local / "log").glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()
            if '"level":"WARNING"' in line or '"level":"ERROR"' in line
        ]
        return "\n".join(lines[-30:])

    def pids(self) -> dict[str, int]:
        """The process of each part, by its name."""
        return {name: info["pid"] for name, info in self.native.parts().items()}

    def pid(self, part: str) -> int:
        """The process of a part, or of the first instance of a service."""
        return next(pid for name, pid in self.pids().items() if name.split("-")[0] == part)

    def answers_anew(self, part: str, killed: int) -> bool:
        """Whether another process of a part answers than the one that was killed."""
        pid = self.pid(part)
        if pid in (0, killed):
            return False
        if part == "database":
            return self.native.database_answers()
        # Until the new one has written its number, workers of the killed one may answer.
        if part == "gateway":
            written = (self.local / "native/gateway/run/nginx.pid").read_text()
            return written.strip() == str(pid) and answers(f"127.0.0.1:{self.port}", "/healthz")
        if part in SERVICES:
            name = self.native.instances(part)[0]
            written = (self.local / f"native/programs/{name}.pid").read_text()
            return written.strip() == str(pid) and serves(name)
        return True

    def port_of(self, service: str) -> int:
        """Where the first instance of a service listens."""
        return int(self.native.instances(service)[0].split("-")[1])

    def password(self, user: str) -> str:
        """The password of a user of the database."""
        return settings_file(self.local / "secrets.env")[f"{user.upper()}_PASSWORD"]

    def connect(self, user: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection of a user of the database."""
        return pymysql.connect(
            host="127.0.0.1",
            port=int(self.native.ports["DATABASE_PORT"]),
            user=user,
            password=self.password(user),
            database="app",
            autocommit=True,
        )

    def root(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """The database's administrator."""
        return self.connect("root")


def readable_by_others(directory: Path) -> set[str]:
    """The directories below `directory` in which others find a file to read or a name to see."""
    found: set[str] = set()
    reachable = [directory]
    while reachable:
        place = reachable.pop()
        for path in place.iterdir():
            if path.is_symlink():
                continue
            mode = path.stat().st_mode
            if path.is_dir() and mode & 0o011:
                reachable.append(path)
            if mode & 0o044:
                top = path.relative_to(directory).parts[:3]
                found.add("/".join(top))
    return found
