"""A copy of the checkout with a native stack of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pymysql

from deploy.local import stack
from tests.servers import processes
from tests.servers.stacks import NO_LIMITS, ROOT
from tests.stack.http_api import HttpApi


class Checkout:
    """A copy of the checkout with a native stack of its own."""

    def __init__(self, directory: Path) -> None:
        for name in ("deploy", "gateway", "migrations", "services", "shared"):
            shutil.copytree(ROOT / name, directory / name)
        shutil.copy(ROOT / "pyproject.toml", directory)
        self.directory, self.local = directory, directory / ".local"
        self.port = processes.free_port()
        self.api = HttpApi(f"http://127.0.0.1:{self.port}/v1")

    def run(self, *command: str, check: bool = True) -> str:
        """Run `python -m …` there; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.directory,
            env={**os.environ, **NO_LIMITS, "PORT": str(self.port), "LOG_SQL": "false"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ask(self, command: str, *arguments: Any) -> Any:
        return stack.ask(self.local, command, *arguments)

    def pid(self, part: str) -> int:
        """The process of a part, by its name."""
        parts: dict[str, int] = self.ask("describe")["parts"]
        return next(pid for name, pid in parts.items() if name.split(":")[0] == part)

    def root(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """The database's administrator."""
        database = self.ask("describe")["database"]
        return pymysql.connect(
            unix_socket=database["socket"], user=database["user"], database="app", autocommit=True
        )
