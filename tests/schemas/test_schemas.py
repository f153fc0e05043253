"""Schemas of every shape, in a process of its own, which has their tables beside ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CI, ROOT

#: One process for all, on all backends: their tables are made once.
FILES = ("protocol.py", "histories.py", "test_statements.py", "client.py", "refusals.py")


@pytest.mark.stack
def test_tables_of_every_shape_sync_like_ours(backends: str) -> None:
    # In CI the same schemas each time; elsewhere new ones, whose seed a failure prints.
    seed = "1" if CI else str(int.from_bytes(os.urandom(3)))
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "pytest", "-q", "-p", "tests.schemas.tables"),
            *(f"--backend={backends}", "-o", "faulthandler_timeout=0"),
            *(f"tests/schemas/{file}" for file in FILES),
        ],
        cwd=ROOT,
        env={**os.environ, "SCHEMA_SEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"SCHEMA_SEED={seed}\n{done.stdout}{done.stderr}"
