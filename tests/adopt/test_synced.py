"""What was adopted is what the real client syncs: every schema of the corpus, in one app."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from schema.adopt.declarations import APP
from tests.adopt import whole_corpus
from tests.adopt.test_adopt import Checkout
from tests.adopt.test_adopt import checkout as checkout
from tests.conftest import ROOT, Backend, on_servers

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("watermelon_installed")]
#: A relation as it is proposed, and what decides what else it may be.
PROPOSED = re.compile(r'(Mapped\[str(?P<optional> \| None)?\] = columns\.relation\(.*)"keep"')


def confirm(checkout: Path) -> None:
    """Let every second optional relation that was proposed be cleared, and all others cascade."""
    made = 0

    def confirmed(found: re.Match[str]) -> str:
        nonlocal made
        made += 1
        return f'{found[1]}"{"clear" if found["optional"] and made % 2 else "cascade"}"'

    module = checkout / APP
    module.write_text(PROPOSED.sub(confirmed, module.read_text()))
    assert made


#: That adopted tables mean the same on SQLite is what test_declarations and tests/schemas are about.
@on_servers
def test_the_real_client_syncs_all_that_was_adopted(checkout: Checkout, backend: Backend) -> None:
    checkout.adopt(whole_corpus())
    confirm(checkout.path)
    written = checkout.run("schema.migration", "confirm relations")
    assert written.returncode == 0, written.stdout + written.stderr
    ignored = shutil.ignore_patterns("node_modules")
    for name in ("client", "gateway", "services", "tests"):
        shutil.copytree(ROOT / name, checkout.path / name, ignore=ignored, dirs_exist_ok=True)
    for built in ("tests/watermelon/node_modules", ".local/client", ".local/mysql"):
        if (ROOT / built).exists():
            (checkout.path / built).symlink_to(ROOT / built)
    pytest = str(checkout.path / ".local/venv/bin/pytest")
    done = subprocess.run(
        [pytest, "-q", f"--backend={backend.name}", "tests/schemas/client.py"],
        cwd=checkout.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
