"""`make run`: all three services in one process on SQLite, from what `.local/` keeps."""

import os
import shutil
import subprocess
import sys

from deploy.keys import PRIVATE_KEY, PUBLIC_KEYS, make_keys
from deploy.local.machine import (
    APPS,
    EVERYWHERE,
    LOCAL,
    Refused,
    free_address,
    network_address,
    run,
    webhooks_file,
)
from shared.mail_url import KEEP, is_loopback

PID_FILE = LOCAL / "run.pid"


def prepare(url: str = "http://localhost:8080") -> None:
    """Make keys, database and tables unless they are there; set the environment of the services.

    `url` is where they will be served. Mails are kept and shown unless other machines could see them.
    """
    LOCAL.mkdir(exist_ok=True)
    # Of an earlier version, or of somebody with another umask.
    for path in (LOCAL, *LOCAL.glob("embedded.db*"), *LOCAL.glob("keys")):
        path.chmod(0o711 if path == LOCAL else 0o700 if path.is_dir() else 0o600)
    keys = LOCAL / "keys"
    if not (keys / PRIVATE_KEY).exists():
        make_keys(keys)
    os.environ.update(
        DATABASE_URL=f"sqlite:///{LOCAL / 'embedded.db'}",
        JWT_PRIVATE_KEY_FILE=str(keys / PRIVATE_KEY),
        JWT_PUBLIC_KEYS_FILE=str(keys / PUBLIC_KEYS),
        REDIS_URL="",
        TRUSTED_PROXIES="0",
        WEBHOOKS_FILE=webhooks_file(),
    )
    mail_url = KEEP if is_loopback(os.environ.get("HOST", "127.0.0.1")) else ""
    for name, value in {"LOG_TEXT": "true", "MAIL_URL": mail_url, "PUBLIC_URL": url}.items():
        os.environ.setdefault(name, value)
    if subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"]).returncode:
        raise Refused("The migrations failed, for the reason above; nothing is served.")


def refuse_a_second() -> None:
    """Raise `Refused` while a server runs from here."""
    # The number of one that was killed may be anybody's.
    search = ["pgrep", "-F", str(PID_FILE), "-f", "gunicorn"]
    if pid := subprocess.run(search, capture_output=True, text=True).stdout.strip():
        raise Refused(
            f"make run is serving from this directory already (process {pid}). Stop it first: Ctrl-C."
        )
    PID_FILE.unlink(missing_ok=True)


def serve() -> None:
    """Replace this process by the server. Raises `Refused` when it cannot serve."""
    address, url = free_address("make run")
    refuse_a_second()
    prepare(url)
    metrics = LOCAL / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    is_kept = os.environ["MAIL_URL"] == KEEP
    print(
        f"\nServing {url}/v1 from {LOCAL}.\n"
        f"  {url}/       two devices to play with\n"
        f"  {url}/docs/  the API\n"
        + f"  {url}/mail/  mails, kept instead of sent\n" * is_kept
        + for_phones(url)
        + "Ctrl-C stops it.\n",
        flush=True,
    )
    options = ["--config=deploy/gunicorn.conf.py", f"--bind={address}", "--workers=1"]
    options += [f"--pid={PID_FILE}", "--worker-class=services.sync.live.worker.Worker"]
    command = [sys.executable, "-m", "gunicorn", *options, "services.embedded:create_app()"]
    os.execv(sys.executable, command)


def for_phones(url: str) -> str:
    """Return the lines that say where a phone reaches `url`, if it does; tell the playground too."""
    if os.environ.get("HOST") not in EVERYWHERE:
        return ""
    port = url.rpartition(":")[2]
    emulator = f"  http://10.0.2.2:{port}/v1  from Android's emulator\n"
    if (address := network_address()) is None:
        return f"This machine is in no network that a phone could be in.\n{emulator}"
    os.environ["PHONES_URL"] = f"http://{address}:{port}/"
    return f"  http://{address}:{port}/v1  from phones in the same network\n{emulator}"


def flask(service: str, *command: str) -> None:
    """Run a command of a service on the same database."""
    prepare()
    app = APPS.get(command[0], f"services.{service}")
    run(sys.executable, "-m", "flask", "--app", app, *command)
