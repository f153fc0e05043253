"""Write files, or in the end none of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from schema.adopt import demo
from schema.adopt.schema import Refused


class Written:
    """Files that were changed, so that a step that fails leaves none of them changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.before: dict[Path, bytes | None] = {}
        self.migrations: list[Path] = []

    def _remember(self, path: Path) -> None:
        self.before.setdefault(path, path.read_bytes() if path.exists() else None)

    def write(self, path: Path, text: str) -> None:
        """Write a file, unless it has that text already."""
        self._remember(path)
        if self.before[path] != text.encode():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def new(self, path: Path) -> None:
        """Take a migration that somebody else wrote for one of these files."""
        self.before[path] = None
        self.migrations.append(path)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        self._remember(path)
        path.unlink()

    def migrate(self, message: str, *, remove: bool) -> None:
        """Let `make migration` write what the declarations have and the migrations have not.

        Raises `Refused` with the sentence of a declaration that cannot be meant.
        """
        before = set((self.root / demo.VERSIONS).glob("*.py"))
        done = subprocess.run(
            [sys.executable, "-m", "schema.migration", message],
            cwd=self.root,
            env=os.environ | {"REMOVE": "1" if remove else ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        for path in set((self.root / demo.VERSIONS).glob("*.py")) - before:
            self.new(path)
        if done.returncode:
            if refusals := re.findall(r"make migration: (.*) Nothing was written\.", done.stdout):
                raise Refused(refusals[-1])
            print(done.stdout, file=sys.stderr)
            raise Refused("The migration could not be written: see above.")

    def undo(self) -> None:
        """Bring back what was there before."""
        for path, content in self.before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
