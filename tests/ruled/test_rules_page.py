"""The rules of docs/rules.md do what the page says, in a process of their own, which has its tables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.stack
def test_the_rules_of_the_page_hold(backends: str) -> None:
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "pytest", "-q", "-p", "tests.ruled.page"),
            *(f"--backend={backends}", "tests/ruled/protocol.py"),
        ],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
