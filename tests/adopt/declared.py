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

from deploy.adopt.schema import Refused
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
    tables: list[dict[str, Any]] = _ask(text=text, url=url)
    return tables


def printed(text: str, kept: Any, *, typed: bool = False) -> tuple[str, Any]:
    """Return what `make client-schema` prints for a module of declarations, and what it keeps."""
    module, following = _ask(text=text, kept=kept, typed=typed)
    return module, following


def _ask(**question: Any) -> Any:
    process = _server()
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if "refused" in answer:
        raise Refused(answer["refused"])
    assert "error" not in answer, answer["error"]
    return answer["result"]


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


def _answer(text: str, **question: Any) -> Any:
    from deploy.api.client_schema import render
    from deploy.api.client_versions import declared_tables, follow

    module = ModuleType("shared.models.app")
    sys.modules[module.__name__] = module
    exec(compile(text, "app.py", "exec"), vars(module))
    if "url" not in question:
        following = follow(question["kept"], declared_tables())
        return render(following, typed=question["typed"]), following
    _create(question["url"])
    return declared_tables()


def _create(url: str) -> None:
    from sqlalchemy import create_engine

    from shared.database.base import Base
    from shared.models.synced import Synced

    names = ["users", *(str(model.__tablename__) for model in Synced.__subclasses__())]
    engine = create_engine(url)
    Base.metadata.create_all(engine, [Base.metadata.tables[name] for name in names])
    engine.dispose()


def serve() -> None:
    """Read one module after the other."""
    import_module("deploy.api.client_schema")
    for line in sys.stdin:
        if os.fork() == 0:
            try:
                answer = {"result": _answer(**json.loads(line))}
            except Refused as error:
                answer = {"refused": str(error)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.wait()
