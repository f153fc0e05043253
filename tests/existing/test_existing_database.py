"""docs/existing-database.md is true: each of its steps is done here, on a database of examples/existing."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.existing import sample
from tests.servers.checkout import copy_checkout
from tests.servers.processes import MariaDB

FOLDERS = ("client", "deploy", "examples", "gateway", "migrations", "schema", "services", "shared")


@pytest.mark.stack
def test_an_existing_database_is_declared_and_copied(
    tmp_path: Path, backends: str, old_server: MariaDB
) -> None:
    checkout = tmp_path / "checkout"
    copy_checkout(checkout, *FOLDERS, "tests")
    venv = checkout / ".local/venv"
    if "mysql" in backends:
        (checkout / ".local/mysql").symlink_to(ROOT / ".local/mysql")

    def run(*command: str, **environ: str) -> str:
        done = subprocess.run(
            (str(venv / "bin" / command[0]), *command[1:]),
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": "", **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with sample(old_server) as url:
        read = ("python", "-m", "schema.from_mysql")
        declared = run(*read, SOURCE_URL=url)
        (checkout / "shared/models/training.py").write_text(declared)
        (checkout / "shared/models/demo.py").unlink()
        run("python", "-m", "schema.migration", "take over training", REMOVE="1")
        map_ = checkout / "training.toml"
        map_.write_text(run(*read, "--print=map", SOURCE_URL=url))
        run(
            "pytest",
            f"--backend={backends}",
            "tests/existing/walk.py",
            SOURCE_URL=url,
            COPY_MAP=str(map_),
        )
