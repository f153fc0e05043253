"""What `make client-schema` prints works in the app as it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers.stacks import Server
from tests.stack.http_api import HttpApi
from tests.watermelon import HERE

BINARIES = HERE / "node_modules/.bin"

pytestmark = pytest.mark.usefixtures("watermelon_installed")


def write_schema(path: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "schema.client_schema", *arguments]
    path.write_bytes(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


def node(*command: object, **environ: str) -> str:
    settings = {**os.environ, "NODE_PATH": str(HERE / "node_modules"), **environ}
    done = subprocess.run(
        [str(word) for word in command], env=settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bundled(module: Path, bundle: Path) -> Path:
    """Bundle a printed module as Babel does in an app."""
    # Of JavaScript esbuild takes decorators only where it reads it as TypeScript.
    node(
        BINARIES / "esbuild",
        module,
        "--bundle",
        "--platform=node",
        "--loader:.js=ts",
        "--external:@nozbe/watermelondb",
        '--tsconfig-raw={"compilerOptions":{"experimentalDecorators":true,"useDefineForClassFields":false}}',
        f"--outfile={bundle}",
    )
    return bundle


@pytest.mark.parametrize("language", ["js", "ts"])
def test_the_real_client_syncs_with_the_printed_schema_and_models(
    server: Server, tmp_path: Path, language: str
) -> None:
    schema, bundle = tmp_path / f"schema.{language}", tmp_path / "bundle.js"
    write_schema(schema, *([] if language == "js" else ["ts"]))
    bundled(schema, bundle)
    device = HttpApi(server.url).register()
    said = node("node", HERE / "generated.js", bundle, BACKEND=server.url, TOKEN=device.token)
    assert json.loads(said) == {
        "title": "Water the melons",
        "description": None,
        "isCompleted": True,
        "isDate": True,
        "project": "Garden",
    }


def test_the_types_hold_against_those_of_watermelondb(tmp_path: Path) -> None:
    write_schema(tmp_path / "schema.ts", "ts")
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    options = "--noEmit --strict --experimentalDecorators --skipLibCheck --target es2020"
    modules = "--module esnext --moduleResolution bundler"
    node(BINARIES / "tsc", *options.split(), *modules.split(), tmp_path / "schema.ts")
