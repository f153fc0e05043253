"""Commands of a copy of the project, in processes that have imported others' packages already.

A command takes a second of the processor, and all but a third of it is that.
"""

import atexit
import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import ROOT

PACKAGES = (
    *("alembic.autogenerate", "alembic.command", "alembic.config", "click", "environs"),
    *("flask", "flask_sqlalchemy", "orjson", "pymysql", "sqlalchemy.dialects.mysql"),
    *("prometheus_client", "redis", "sqlalchemy.dialects.sqlite", "sqlite3"),
)
SERVE = "from tests.servers.commands import serve; serve()"


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def run_module(checkout: Path, module: str, *arguments: str, **environ: str) -> Done:
    """Run `python -m module …` in a copy of the project."""
    process = forking(SERVE)
    assert process.stdin and process.stdout
    with TemporaryDirectory() as place:
        out, err = Path(place) / "stdout", Path(place) / "stderr"
        question = [str(checkout), [str(out), str(err)], [module, *arguments]]
        question.append({"DATABASE_URL": "", **environ})
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        returncode = int(process.stdout.readline())
        return Done(returncode, out.read_text(), err.read_text())


@cache
def forking(code: str) -> "subprocess.Popen[str]":
    """Start a process that runs `code`, forking for each line: importing all anew takes a second."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end() -> None:
        process.communicate()

    atexit.register(end)
    return process


def serve() -> None:
    """Run one command after the other."""
    for name in PACKAGES:
        import_module(name)
    for line in sys.stdin:
        checkout, output, argv, environ = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(checkout, output, argv, environ)
            runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
            sys.exit()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _become(checkout: str, output: list[str], argv: list[str], environ: dict[str, str]) -> None:
    """Make this process one that was started in a checkout, with its output in files."""
    for number, path in enumerate(output, start=1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(checkout)
    os.environ.update(environ, PYTHONPATH="")
    sys.argv = argv
    sys.path[0] = checkout
    ours = {name.partition(".")[0] for name in sys.modules} & {
        "deploy",
        "migrations",
        "schema",
        "shared",
    }
    assert not ours, f"{ours} are not the copy's"
