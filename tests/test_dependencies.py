"""What the code imports is declared in pyproject.toml, and not only brought along by something else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import ROOT

OURS = {"shared", "services", "deploy", "schema", "migrations", "tests", "bench"}
#: Typing stubs, which are never imported when the code runs.
STUBS = {"_typeshed"}


def imported(folder: str) -> Iterator[str]:
    """The packages from elsewhere that the modules of `folder` import."""
    for path in Path(ROOT, folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                package = name.partition(".")[0]
                if package not in OURS | STUBS | sys.stdlib_module_names:
                    yield name


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*sections: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=]", entry)[0]) for section in sections for entry in section}


@pytest.mark.parametrize("folder", sorted(OURS))
def test_every_import_is_declared(folder: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    known = declared(
        project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()
    )
    if folder in ("tests", "bench"):
        known |= declared(project["dependency-groups"]["dev"])
    distributions = packages_distributions()
    for name in set(imported(folder)):
        owners = {normal(owner) for owner in distributions[name.partition(".")[0]]}
        assert owners & known, f"{name} of {owners} is imported in {folder} and not declared"
