"""Adding a table is one class and one migration, and no other line (README, "Add your own table")."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers.checkout import copy_checkout

FOLDERS = ("client", "deploy", "gateway", "migrations", "schema", "services", "shared", "tests")


@pytest.mark.stack
def test_a_declared_table_is_synced_like_the_others(tmp_path: Path, backends: str) -> None:
    checkout = tmp_path / "checkout"
    copy_checkout(checkout, *FOLDERS)
    venv = checkout / ".local/venv"
    if "mysql" in backends:
        (checkout / ".local/mysql").symlink_to(ROOT / ".local/mysql")
    shutil.copy(ROOT / "tests/own_table/comment.txt", checkout / "shared/models/comments.py")
    shutil.copy(ROOT / "tests/references/tables.py", checkout / "shared/models/references.py")

    def run(*command: str) -> None:
        environ = {**os.environ, "PYTHONPATH": ""}
        done = subprocess.run(
            command, cwd=checkout, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(str(venv / "bin/python"), "-m", "schema.migration", "add comments")
    (migration,) = (checkout / "migrations/versions").glob("*_add_comments.py")
    for table in ("comments", "app_exercises", "muscles", "workouts"):
        assert f'"{table}"' in migration.read_text()
    run(
        str(venv / "bin/pytest"),
        f"--backend={backends}",
        "tests/own_table/protocol.py",
        # Reference tables are declared the same way.
        "tests/references/protocol.py",
        "tests/references/calls.py",
        "tests/references/histories.py",
        "tests/references/live.py",
        "tests/references/rights.py",
        # The migration that was written is the model, and goes down again.
        "tests/shared/test_migrations.py::test_the_migrated_schema_is_the_models",
        "tests/shared/test_migrations.py::test_downgrade_leaves_nothing_and_upgrade_works_again",
    )
