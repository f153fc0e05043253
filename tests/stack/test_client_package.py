"""The package of client/: built from its sources, for every way to load it, and robust."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.watermelon import HERE, PACKAGE

NAME = "watermelondb-backend-client"

pytestmark = pytest.mark.usefixtures("watermelon_installed")

#: What README shows, and what an app does with the errors.
APP = """
import { Database } from '@nozbe/watermelondb'
import {
  AccountChanged, autoSync, BackendError, createBackend, live, spaces,
  type PushResult, type Tokens, type User, type components,
} from 'watermelondb-backend-client'
import { BackendProvider, useSession, useSync } from 'watermelondb-backend-client/react'
import { createElement, type ReactElement } from 'react'

declare const database: Database
let tokens: Tokens | null = null

const backend = createBackend({
  url: 'http://localhost:8080/v1',
  database,
  storage: { load: async () => tokens, save: async (next) => { tokens = next } },
  onSignedOut: () => {},
  onPushed: (result: PushResult) => console.log(result.refused, result.repaired),
  localTables: ['drafts'],
})

export async function main(): Promise<User> {
  const user = await backend.login({ email: 'ann@example.com', password: 'secret' })
  try {
    await backend.sync({ migrationsEnabledAtVersion: 1 })
  } catch (error) {
    if (error instanceof AccountChanged) console.log(error.hasUnsyncedChanges)
    else if (error instanceof BackendError) console.log(error.code, error.retryAfter)
    else throw error
  }
  return user
}

// As React Native declares them.
declare const AppState: {
  addEventListener(
    type: 'change' | 'memoryWarning' | 'blur' | 'focus',
    listener: (state: 'active' | 'background' | 'inactive' | 'unknown' | 'extension') => void,
  ): { remove: () => void }
}
const auto = autoSync(backend, { appState: AppState, migrationsEnabledAtVersion: 1 })
const stop: () => void = live(backend, auto.sync, { appState: AppState })
export async function share(): Promise<void> {
  const { create, invite, myInvitations, accept } = spaces(backend)
  const space = await create('Our garden')
  await invite(space.id, 'bea@example.com', 'writer')
  for (const invitation of await myInvitations()) await accept(invitation.id)
  stop()
}
backend.subscribe((event) => {
  if (event.type === 'refused') console.log(event.table, event.id, event.reason)
})

function Status(): string {
  const { status, lastSyncedAt, pending, error } = useSync()
  const { userId } = useSession()
  return [status, lastSyncedAt?.toISOString(), pending, String(error), userId].join()
}

export function App(): ReactElement {
  return createElement(BackendProvider, { autoSync: auto }, createElement(Status))
}

// What the core says of the API is what the API says of itself.
declare const described: components['schemas']['User']
export const user: User = described
"""

#: A test of an app, in CommonJS as Jest wants it.
JEST = """
const { Database, appSchema, tableSchema } = require('@nozbe/watermelondb')
const LokiJSAdapter = require('@nozbe/watermelondb/adapters/lokijs').default
const { AccountChanged, createBackend } = require('watermelondb-backend-client')
const { useSync } = require('watermelondb-backend-client/react')

test('an app can be tested', async () => {
  const schema = appSchema({ version: 1, tables: [tableSchema({ name: 'notes', columns: [] })] })
  const adapter = new LokiJSAdapter({ schema, useWebWorker: false, useIncrementalIndexedDB: true })
  const database = new Database({ adapter, modelClasses: [] })
  const backend = createBackend({
    url: 'http://localhost/v1', database, storage: { load: async () => null, save: async () => {} },
  })
  await expect(backend.sync()).rejects.toMatchObject({ code: 'unauthorized' })
  expect(await backend.session()).toBe(null)
  expect(new AccountChanged(true).code).toBe('account_changed')
  expect(typeof useSync).toBe('function')
})
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app that has installed the package as `npm pack` makes it."""
    command = ["npm", "pack", "--silent", "--pack-destination", tmp_path]
    subprocess.run(command, cwd=PACKAGE, check=True)
    (archive,) = tmp_path.glob("*.tgz")
    installed = tmp_path / "app/node_modules" / NAME
    installed.mkdir(parents=True)
    unpack = ["tar", "-xzf", archive, "-C", installed, "--strip-components=1"]
    subprocess.run(unpack, check=True)
    for module in (HERE / "node_modules").iterdir():
        (installed.parent / module.name).symlink_to(module)
    return tmp_path / "app"


def node(app: Path, *command: object) -> str:
    done = subprocess.run(
        ["node", *map(str, command)], cwd=app, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_archive_has_what_an_app_needs_and_no_more(app: Path) -> None:
    installed = app / "node_modules" / NAME
    places = {p.relative_to(installed).parts[0] for p in installed.rglob("*") if p.is_file()}
    assert places == {"LICENSE", "README.md", "dist", "package.json", "react", "src"}
    names = {p.name for p in (installed / "src").iterdir()}
    assert names == {
        *("api.ts", "auto.ts", "backend.ts", "index.ts", "live.ts", "react.ts", "spaces.ts")
    }
    described = json.loads((installed / "package.json").read_text())
    assert "dependencies" not in described
    assert described["peerDependenciesMeta"] == {"react": {"optional": True}}


def test_node_imports_and_requires_it(app: Path) -> None:
    says = "console.log(typeof createBackend, new AccountChanged(true).code)"
    (app / "esm.mjs").write_text(
        f"import {{ AccountChanged, createBackend }} from '{NAME}'\n{says}"
    )
    (app / "cjs.cjs").write_text(
        f"const {{ AccountChanged, createBackend }} = require('{NAME}')\n{says}"
    )
    for module in ("esm.mjs", "cjs.cjs"):
        assert node(app, module) == "function account_changed\n"


def test_the_core_needs_no_react(app: Path) -> None:
    for package in ("react", "react-test-renderer"):
        (app / "node_modules" / package).unlink()
    (app / "core.mjs").write_text(f"import '{NAME}'")
    node(app, "core.mjs")


def test_jest_requires_it(app: Path) -> None:
    (app / "package.json").write_text('{"jest": {"testEnvironment": "node"}}')
    (app / "app.test.js").write_text(JEST)
    # An open LokiJS lets no process end by itself.
    options = ["--ci", "--forceExit", "--cacheDirectory", app / "cache"]
    node(app, "node_modules/jest/bin/jest.js", *options)


def test_a_bundler_that_knows_no_exports_takes_it(app: Path) -> None:
    """As Metro did before it read `exports`: by `main`, and as CommonJS."""
    (app / "main.js").write_text(
        f"const {{ createBackend }} = require('./node_modules/{NAME}')\n"
        f"const {{ useSync }} = require('./node_modules/{NAME}/react')\n"
    )
    esbuild = HERE / "node_modules/.bin/esbuild"
    command = [esbuild, "main.js", "--bundle", "--main-fields=main", "--outfile=bundle.js"]
    subprocess.run(command, cwd=app, check=True, capture_output=True)
    bundle = (app / "bundle.js").read_text()
    assert "function createBackend" in bundle
    assert "function useSync" in bundle


@pytest.mark.parametrize("typescript", ["typescript", "typescript-newest"])
def test_a_strict_app_compiles(app: Path, typescript: str) -> None:
    (app / "main.ts").write_text(APP)
    shutil.copy(ROOT / "client/src/backend.ts", app / "copied.ts")
    (app / "package.json").write_text('{"type": "module"}')
    compiler = app / "node_modules" / typescript / "bin/tsc"
    strict = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2020", "--lib", "es2020,dom"]
    for module in (("esnext", "bundler"), ("nodenext", "nodenext")):
        kind = ["--module", module[0], "--moduleResolution", module[1]]
        node(app, compiler, *strict, *kind, "main.ts", "copied.ts")


def test_the_types_of_the_api_are_those_of_the_openapi_document(tmp_path: Path) -> None:
    made = tmp_path / "api.ts"
    subprocess.run([ROOT / "client/types.sh", sys.executable, made], check=True)
    assert made.read_text() == (ROOT / "client/src/api.ts").read_text(), "run make client"


@pytest.mark.parametrize("module", ["client", "auto", "react"])
def test_the_promises_of_its_readme_hold(module: str) -> None:
    """One by one in tests/watermelon: neither loses nor leaks, syncs by itself, tells React."""
    dist = PACKAGE / "dist/esm"
    done = subprocess.run(
        ["node", "--test", "--test-reporter=spec", HERE / f"{module}.test.mjs"],
        env={
            **os.environ,
            "CLIENT": str(dist / "index.js"),
            "CLIENT_REACT": str(dist / "react.js"),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
