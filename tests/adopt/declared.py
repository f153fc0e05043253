"""Declarations read as the server reads them, in processes that have none besides."""

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from tests.conftest import ROOT

#: With nothing in the place of the demo.
SERVE = """
import sys, types
sys.modules["shared.models.demo"] = types.ModuleType("shared.models.demo")
from tests.adopt.declared import serve
serve()
"""


def wire_schema(text: str, url: str = "sqlite://") -> list[dict[str, Any]]:
    """Return the tables that a module of declarations declares, once a database has taken them."""
    process = _server()
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"text": text, "url": url}) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert "error" not in answer, answer["error"]
    tables: list[dict[str, Any]] = answer["tables"]
    return tables


@cache
def _server() -> "subprocess.Popen[str]":
    """Start the process that forks one for each module: importing everything anew takes a second."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end() -> None:
        process.communicate()

    atexit.register(end)
    return process


def _read(text: str, url: str) -> list[dict[str, Any]]:
    from sqlalchemy import create_engine

    from deploy.api.client_versions import declared_tables
    from shared.database.base import Base
    from shared.models.synced import Synced

    module = ModuleType("shared.models.app")
    sys.modules[module.__name__] = module
    exec(compile(text, "app.py", "exec"), vars(module))
    engine = create_engine(url)
    Base.metadata.create_all(
        engine,
        [Base.metadata.tables[str(model.__tablename__)] for model in Synced.__subclasses__()]
        + [Base.metadata.tables["users"]],
    )
    engine.dispose()
    return declared_tables()


def serve() -> None:
    """Read one module after the other."""
    import_module("deploy.api.client_versions")
    for line in sys.stdin:
        if os.fork() == 0:
            try:
                answer = {"tables": _read(**json.loads(line))}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.wait()
