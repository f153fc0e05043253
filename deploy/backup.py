"""Backups of the running stack's database: `python -m deploy.backup`, and `… restore FILE`.

A backup is one consistent dump with its point in time. What was synced after that point is lost by a
restore, and devices may have seen it: the restore records the interval (docs/api.md, "Pull": they get
everything again), ends all sessions, since which of them were revoked meanwhile is lost too, and
empties Redis.
"""

import gzip
import re
import subprocess
import sys
import time
from pathlib import Path

from deploy.local.running import Running, find
from deploy.local.stack import DATABASE
from deploy.progress import MEGABYTE, Progress
from shared.now import now_ms

#: A push takes its tick some time before it commits: this long at most, or its connection times out.
LONGEST_PUSH_MS = 60_000
FIRST_LINE = re.compile(rb"-- taken_at: (\d+)\n")
LAST_LINE = b"-- Dump completed"

OPTIONS = (
    "--single-transaction",
    "--quick",
    "--skip-lock-tables",
    "--hex-blob",
    "--no-tablespaces",
    "--default-character-set=utf8mb4",
)


def backup(stack: Running, directory: Path) -> Path:
    """Write a dump into `directory`; return its path."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / time.strftime("app-%Y%m%d-%H%M%S.sql.gz")
    unfinished = path.with_suffix(".unfinished")
    print(f"Dumping the database to {path}", flush=True)
    taken_at = now_ms() - LONGEST_PUSH_MS
    dump = subprocess.Popen([*stack.client("dump"), *OPTIONS, DATABASE], stdout=subprocess.PIPE)
    assert dump.stdout
    progress = Progress()
    with dump, gzip.open(unfinished, "wb", compresslevel=3) as file:
        file.write(b"-- taken_at: %d\n" % taken_at)
        while piece := dump.stdout.read(1 << 20):
            file.write(piece)
            progress.add(len(piece))
    progress.end()
    if dump.returncode:
        unfinished.unlink()
        sys.exit("The dump failed; nothing was kept.")
    unfinished.rename(path)
    size = path.stat().st_size / MEGABYTE
    print(
        f"Kept as {size:.1f} MB. Next: copy it elsewhere; to go back to it, make restore FILE={path}"
    )
    return path


def read_point_in_time(path: Path) -> int:
    """When the dump at `path` was taken, in milliseconds. Ends the process if it is no whole dump."""
    try:
        with gzip.open(path) as file:
            first, last = file.readline(), b""
            while piece := file.read(1 << 20):
                last = last[-1000:] + piece
    except (OSError, EOFError) as error:
        sys.exit(f"{path} cannot be read: {error}. Nothing was changed.")
    taken_at = FIRST_LINE.fullmatch(first)
    if taken_at is None or LAST_LINE not in last[-1000:]:
        sys.exit(f"{path} is no whole backup of make backup. Nothing was changed.")
    return int(taken_at[1])


def restore(stack: Running, path: Path) -> None:
    """Put the dump at `path` in the place of the database, and start the services on it."""
    print(f"Checking {path}", flush=True)
    lost_after = read_point_in_time(path)
    print("Stopping the services", flush=True)
    stack.pause()
    # A machine's clock may have run ahead in the time that is lost.
    newest = sql(stack, f"SELECT MAX(last_modified_at) FROM {DATABASE}.users", check=False)
    lost_until = max(now_ms(), int(newest) if newest.isdigit() else 0)
    print("Loading the backup", flush=True)
    sql(stack, f"DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE}")
    load = subprocess.Popen([*stack.client("client"), DATABASE], stdin=subprocess.PIPE)
    assert load.stdin
    progress = Progress(path.stat().st_size)
    with load, path.open("rb") as packed, gzip.open(packed) as file:
        while piece := file.read(1 << 20):
            load.stdin.write(piece)
            progress.add(packed.tell() - progress.done)
    progress.end()
    if load.returncode:
        sys.exit("The backup could not be loaded. The services stay stopped; run it again.")
    print("Applying migrations that are newer than the backup", flush=True)
    stack.migrate()
    sql(
        stack,
        f"REPLACE INTO {DATABASE}.restores VALUES ({lost_after}, {lost_until});"
        f"UPDATE {DATABASE}.sessions SET revoked_at = {now_ms()} WHERE revoked_at IS NULL",
    )
    print("Starting the services", flush=True)
    stack.resume()
    print(
        "Restored. Everybody has to log in again; devices then get all that the backup has.\n"
        "Next: make logs shows them come."
    )


def sql(stack: Running, statement: str, *, check: bool = True) -> str:
    """Run statements as the administrator; return what they print."""
    command = [*stack.client("client"), "--batch", "--skip-column-names", "-e", statement]
    done = subprocess.run(command, check=check, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    running = find() or sys.exit("No stack is running: make up-native or make up")
    if sys.argv[1:2] == ["restore"]:
        name = sys.argv[2] if len(sys.argv) > 2 else ""
        restore(running, Path(name or sys.exit("Say which: make restore FILE=.local/backups/…")))
    else:
        backup(running, Path(".local/backups"))
