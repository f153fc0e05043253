"""Real WatermelonDB devices: `devices.js` under Node, and its Python end."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, alone

HERE = Path(__file__).parent
#: The package of client/, built.
PACKAGE = ROOT / ".local/client"


def prepare() -> str | None:
    """Install WatermelonDB unless that was done; return what the machine lacks for it, if anything."""
    if not shutil.which("node") or not shutil.which("npm"):
        return "Node.js with npm"
    installed = HERE / "node_modules/.package-lock.json"
    lock = HERE / "package-lock.json"
    with alone(lock):
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)
        build()
    return None


def build() -> None:
    """Build the package of client/ unless that was done since the sources changed."""
    built = PACKAGE / "dist/cjs/package.json"
    client = ROOT / "client"
    sources = [*client.glob("src/*"), *client.glob("*.json"), client / "build.sh"]
    modules = PACKAGE / "node_modules"
    # `make client` builds it without them.
    if modules.exists() and built.stat().st_mtime > max(s.stat().st_mtime for s in sources):
        return
    shutil.rmtree(PACKAGE, ignore_errors=True)
    # As `make client` says it, from here.
    command = ["client/build.sh", PACKAGE.relative_to(ROOT)]
    subprocess.run(command, cwd=ROOT, check=True)
    modules.symlink_to(HERE / "node_modules")


class Devices:
    """One Node process that holds any number of devices."""

    def __init__(self, backend: str, app: Path = HERE / "schema.js", tables: str = "") -> None:
        self.process = subprocess.Popen(
            # Node.js 20 has it only when asked; apps have it.
            ["node", "--experimental-websocket", HERE / "devices.js"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "NODE_PATH": str(HERE / "node_modules"),
                "BACKEND": backend,
                "CLIENT": str(PACKAGE / "dist/esm/index.js"),
                "APP": str(app),
                "TABLES": tables,
            },
            text=True,
        )

    def call(self, device: str | None, call: str, *args: Any) -> Any:
        """Let `device` do something; raise `RuntimeError` with the message of what failed there."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"device": device, "call": call, "args": args}) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["result"]

    def diagnostics(self) -> list[str]:
        """What WatermelonDB complained of since the last call."""
        said: list[str] = self.call(None, "diagnostics")
        return said

    def weather(self, fates: list[str]) -> None:
        """What becomes of the next requests: ok, drop, lose (the answer), twice, slow."""
        self.call(None, "weather", fates)

    def traffic(self) -> list[tuple[str, int, str]]:
        """Path, status and body of every answer since the last call."""
        answers: list[tuple[str, int, str]] = self.call(None, "traffic")
        return answers

    def expect_sockets(self, number: int) -> None:
        """Wait until so many sockets of live nudges are open."""
        self.call(None, "sockets", number)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class WatermelonDevice:
    """One device with a real WatermelonDB."""

    def __init__(self, devices: Devices, name: str, token: str) -> None:
        self.devices, self.name = devices, name
        self.call("signIn", token)

    def call(self, call: str, *args: Any) -> Any:
        """Call a method of the device in `devices.js`."""
        return self.devices.call(self.name, call, *args)

    def write(self, *operations: tuple[Any, ...]) -> None:
        """`("create" | "update", table, id, values)` and `("delete", table, id)`."""
        self.call("write", operations)

    def sync(self) -> None:
        """Run the documentation's snippet."""
        self.call("sync")

    def dump(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Every live record, by table and id."""
        rows: dict[str, dict[str, dict[str, Any]]] = self.call("dump")
        return rows
