"""`make run`: prepare `.local/`, then serve all three services on `PORT`.

Keys, database and migrations are made on the first start and kept. With arguments, a command is run
in that environment instead: `python -m deploy.local.run flask --app services.users create-admin …`.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from deploy.keys import PRIVATE_KEY, PUBLIC_KEYS, make_keys

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / ".local"
BINARIES = Path(sys.executable).parent


def main(command: list[str]) -> None:
    """Replace this process by `command`, or by the server."""
    os.chdir(ROOT)
    if not command:
        check_address()
    keys = LOCAL / "keys"
    if not (keys / PRIVATE_KEY).exists():
        make_keys(keys)
    os.environ.update(
        DATABASE_URL=f"sqlite:///{LOCAL / 'embedded.db'}",
        JWT_PRIVATE_KEY_FILE=str(keys / PRIVATE_KEY),
        JWT_PUBLIC_KEYS_FILE=str(keys / PUBLIC_KEYS),
        REDIS_URL="",
        TRUSTED_PROXIES="0",
    )
    os.environ.setdefault("LOG_TEXT", "true")
    subprocess.run([BINARIES / "alembic", "upgrade", "head"], check=True)
    program, *arguments = command or server()
    os.execv(BINARIES / program, [program, *arguments])


def address() -> tuple[str, str]:
    """Where to serve."""
    return os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8080")


def check_address() -> None:
    """End with one line when nobody could listen at `HOST` and `PORT`."""
    host, port = address()
    try:
        probe(host, port)
    except (OSError, ValueError, OverflowError) as error:
        sys.exit(
            f"make run: cannot serve on {host}:{port}: {error}. Choose another: make run PORT=…"
        )


def server() -> list[str]:
    """The command that serves."""
    host, port = address()
    url = f"http://{'localhost' if host == '127.0.0.1' else host}:{port}"
    print(
        f"\nServing {url}/v1 from {LOCAL}.\n"
        f"  {url}/       two devices to play with\n"
        f"  {url}/docs/  the API\n"
        "Ctrl-C stops it.\n",
        flush=True,
    )
    return [
        "gunicorn",
        "--config=deploy/gunicorn.conf.py",
        f"--bind={host}:{port}",
        "--workers=1",
        "deploy.local.embedded:create_app()",
    ]


def probe(host: str, port: str) -> None:
    """Raise `OSError` when nobody could listen there."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
