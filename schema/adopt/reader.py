"""Run an app's schema module under Node, with a stand-in for WatermelonDB."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from schema.adopt.schema import Refused, Schema

HERE = Path(__file__).parent / "reader"
ROOT = Path(__file__).parent.parent.parent
#: Where esbuild is installed.
INSTALLED = ROOT / ".local/adopt"
TIME_LIMIT_S = 30.0


def read_schema(
    schema: Path,
    *,
    models: Path | None = None,
    migrations: Path | None = None,
    export: str | None = None,
    time_limit_s: float = TIME_LIMIT_S,
) -> Schema:
    """Return what the module at `schema` declares; what it prints goes to standard error.

    Raises `Refused` for what is missing, does not load, is no schema or one that WatermelonDB refuses.
    """
    for path in filter(None, (schema, models, migrations)):
        if not path.exists():
            raise Refused(f"There is no {path}.")
    if schema.is_dir():
        raise Refused(f"{schema} is a folder: give the module that calls appSchema().")
    install()
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch, "result.json")
        settings = {
            "schema": str(schema.resolve()),
            "models": str(models.resolve()) if models else None,
            "migrations": str(migrations.resolve()) if migrations else None,
            "export": export,
            "root": str(schema.resolve().parent),
            "modules": str(INSTALLED),
            "result": str(result),
        }
        try:
            done = subprocess.run(
                ["node", HERE / "read.mjs", json.dumps(settings)],
                cwd=schema.resolve().parent,
                # An app's module has no need of what else is set where this runs.
                env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                timeout=time_limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused(
                f"{schema.name} was not loaded after {time_limit_s:g} seconds: it waits or loops."
            ) from None
        if not result.exists():
            raise Refused(
                f"{schema.name} ended Node ({done.returncode}) before its schema was read."
            )
        answer = json.loads(result.read_text())
    if "error" in answer:
        raise Refused(answer["error"])
    found: Schema = answer["schema"]
    return found


def install() -> None:
    """Install esbuild in .local/, unless that was done."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Refused("make adopt needs Node.js 18 or newer with npm: apt-get install nodejs npm.")
    lock = HERE / "package-lock.json"
    done = INSTALLED / "node_modules/.package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, INSTALLED)
    command = ["npm", "ci", "--silent", "--no-audit", "--no-fund"]
    if subprocess.run(command, cwd=INSTALLED, stdout=sys.stderr, check=False).returncode:
        raise Refused("npm could not install what make adopt reads schemas with: see above.")
    done.touch()
