"""Write a migration for what the models have and the newest migration has not: `make migration M="…"`.

What it removes with the data in it is written only with REMOVE=1 in the environment (migrations/writing.py).
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config

ROOT = Path(__file__).parent.parent


def write_migration(message: str) -> None:
    """Write it beside the others, as the next number. Raises `DeclarationError` for what cannot be meant."""
    config = Config(toml_file=ROOT / "pyproject.toml")
    newest = max((ROOT / "migrations/versions").glob("[0-9]*.py")).name
    number = f"{int(newest.split('_')[0]) + 1:04}"
    with TemporaryDirectory() as scratch:
        os.environ["DATABASE_URL"] = f"sqlite:///{scratch}/empty.db"
        command.upgrade(config, "head")
        command.revision(config, message, autogenerate=True, rev_id=number)
    # Without what tests need, it is left as it was written; make lint says what ruff cannot mend.
    if find_spec("ruff"):
        for step in (["format"], ["check", "--fix"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *step, "--quiet", "migrations"]
            subprocess.run(ruff, cwd=ROOT, check=False)


def main() -> None:
    """Write the migration that the first argument names."""
    message = sys.argv[1] if len(sys.argv) > 1 else ""
    if not message:
        sys.exit('Say what it does: make migration M="add comments"')
    try:
        write_migration(message)
    except TypeError as error:
        # By its name, since its module cannot be imported without the declarations.
        if type(error).__name__ != "DeclarationError":
            raise
        sys.exit(f"make migration: {error} Nothing was written.")
    print(
        "Next: read it. make run and make up-native apply it; make client-schema prints the app's end of it."
    )


if __name__ == "__main__":
    main()
