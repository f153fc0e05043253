"""Declarations read as the server reads them, in processes that have none besides."""

import json
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from schema.adopt.schema import Refused
from tests.servers.commands import forking

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
    process = forking(SERVE)
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if "refused" in answer:
        raise Refused(answer["refused"])
    assert "error" not in answer, answer["error"]
    return answer["result"]


def _answer(text: str, **question: Any) -> Any:
    from schema.client_schema import render
    from schema.client_versions import declared_tables, follow

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
    import_module("schema.client_schema")
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
