"""Backups of the running stack's database: `make backup`, and `make restore FILE=…`.

A backup is one consistent dump with its point in time. A restore is all or nothing: the dump is loaded
into a database beside the live one, migrated there, and told there what is lost; then one statement
puts its tables in the place of the live ones. Killed before that it has changed nothing, killed after
that all is done but the start of the services; run again, it begins anew.

What was synced after the dump is lost by a restore, and devices may have seen it: the restore records
the interval (docs/api.md, "Pull": they get everything again) and moves every user's clock past it. It ends
all sessions, since which of them were revoked meanwhile is lost too, and empties Redis. (Access tokens from
before are left to the database by shared/auth/revocations.py, also those of sessions that it never knew.)

Of a stack (`deploy.local.running`) this needs: `client`, the database's own client and dump programs
as its administrator; `migrate(database)`; `pause`, after which no service writes; `resume`, which
starts the services with an empty Redis.
"""

import fcntl
import gzip
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from alembic.config import Config
from alembic.script import ScriptDirectory

from deploy.local.running import DATABASE, Running, sql
from deploy.progress import MEGABYTE, Progress
from shared.database.base import Base
from shared.database.engines import STATEMENT_S, TRANSACTION_S
from shared.now import now_ms

ROOT = Path(__file__).parent.parent

#: A push takes its tick some time before it commits: this long at most.
LONGEST_PUSH_MS = (TRANSACTION_S + STATEMENT_S) * 1000
FIRST_LINE = re.compile(rb"-- taken_at: (\d+)\n")
LAST_LINE = b"-- Dump completed"
#: Texts have their line breaks escaped, so what begins a line is a statement.
VERSION = re.compile(rb"INSERT INTO `alembic_version` VALUES\s*\('([^']+)'\)")
#: What a dump of one database never says, and would have effect outside the one that it is loaded into.
ELSEWHERE = re.compile(
    rb"\s*(?:/\*!\d*\s*)?(?:USE|(?:CREATE|DROP|ALTER)\s+(?:DATABASE|SCHEMA))\b", re.IGNORECASE
)

OPTIONS = (
    "--single-transaction",
    "--quick",
    "--skip-lock-tables",
    "--hex-blob",
    "--no-tablespaces",
    "--default-character-set=utf8mb4",
)


def backup(stack: Running, directory: Path, database: str = DATABASE) -> Path:
    """Write a dump into `directory`, both for their owner only; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    path = directory / time.strftime("app-%Y%m%d-%H%M%S.sql.gz")
    unfinished = path.with_suffix(".unfinished")
    print(f"Dumping the database to {path}", flush=True)
    taken_at = now_ms() - LONGEST_PUSH_MS
    try:
        with os.fdopen(
            os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb"
        ) as raw:
            # Whatever is left of one that was killed has its own rights.
            os.fchmod(raw.fileno(), 0o600)
            with gzip.open(raw, "wb", compresslevel=3) as file:
                file.write(b"-- taken_at: %d\n" % taken_at)
                dump(stack, database, file)
            raw.flush()
            os.fsync(raw.fileno())
    except BaseException as error:
        unfinished.unlink()
        if isinstance(error, OSError):
            sys.exit(f"The backup could not be written: {error}. Nothing was kept.")
        raise
    unfinished.rename(path)
    size = path.stat().st_size / MEGABYTE
    print(
        f"Kept as {size:.1f} MB. Next: copy it elsewhere; to go back to it, make restore FILE={path}"
    )
    return path


def dump(stack: Running, database: str, file: gzip.GzipFile) -> None:
    """Write a dump of the database into `file`. Ends the process when it fails."""
    command = [*stack.client("dump"), *OPTIONS, database]
    progress = Progress()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        while piece := process.stdout.read(1 << 20):
            file.write(piece)
            progress.add(len(piece))
    progress.end()
    if process.returncode:
        sys.exit("The dump failed; nothing was kept.")


def check(path: Path) -> int:
    """Return when the dump at `path` was taken, in milliseconds.

    Ends the process, with nothing changed, when it is no whole dump of `backup`, or of a version whose
    migrations are not here.
    """
    version: bytes | None = None
    try:
        with gzip.open(path) as file:
            first = last = file.readline()
            for line in file:
                # MariaDB's dump has a line for each row.
                if version is None and (found := VERSION.match(last[:100] + line)):
                    version = found[1]
                if ELSEWHERE.match(line):
                    refuse(f"{path} names a database of its own.")
                last = line
    except (OSError, EOFError) as error:
        refuse(f"{path} cannot be read: {error}.")
    taken_at = FIRST_LINE.fullmatch(first)
    if taken_at is None or not last.startswith(LAST_LINE) or version is None:
        refuse(f"{path} is no whole backup of make backup.")
    script = ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml"))
    known = [step.revision for step in script.walk_revisions()]
    if version.decode() not in known:
        refuse(
            f"{path} has the tables of version {version.decode()}, and the newest here is {known[0]}: "
            "restore it with the release that made it, or a later one."
        )
    return int(taken_at[1])


def refuse(why: str) -> NoReturn:
    """End the process before anything is touched."""
    sys.exit(f"{why} Nothing was changed.")


def restore(stack: Running, path: Path, database: str = DATABASE) -> None:
    """Put the dump at `path` in the place of the database, and start the services on it."""
    beside = f"{database}_restored"
    replaced = f"{database}_replaced_{time.strftime('%Y%m%d_%H%M%S')}"
    with only_one():
        print(f"Checking {path}", flush=True)
        lost_after = check(path)
        print("Loading it beside the live database", flush=True)
        # What one that was killed has left.
        sql(stack, f"DROP DATABASE IF EXISTS {beside}; CREATE DATABASE {beside}")
        try:
            load(stack, path, beside)
            print("Applying migrations that are newer than the backup", flush=True)
            sql(stack, f"GRANT ALL ON {beside}.* TO 'migrate'@'%' WITH GRANT OPTION")
            stack.migrate(beside)
            if missing := Base.metadata.tables.keys() - tables(stack, beside):
                refuse(f"The backup lacks the tables {', '.join(sorted(missing))}.")
        except SystemExit:
            # Nobody's data stays where nobody looks for it.
            sql(stack, f"DROP DATABASE {beside}")
            raise
        print("Stopping the services", flush=True)
        try:
            stack.pause()
            record(stack, database, beside, lost_after)
            swap(stack, database, beside, replaced)
        finally:
            print("Starting the services", flush=True)
            stack.resume()
        sql(
            stack,
            f"DROP DATABASE {beside}; REVOKE ALL ON {beside}.* FROM 'migrate'@'%';"
            f" REVOKE GRANT OPTION ON {beside}.* FROM 'migrate'@'%'",
        )
    print(
        "Restored. Everybody has to log in again; devices then get all that the backup has.\n"
        f"What it replaced is kept as the database {replaced}; when nobody needs it: make drop-replaced"
    )


@contextmanager
def only_one() -> Iterator[None]:
    """Let no two restores run at once."""
    local = Path(".local")
    local.mkdir(exist_ok=True)
    with (local / "restore.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            refuse("Another restore is running.")
        yield


def load(stack: Running, path: Path, database: str) -> None:
    """Run the statements of the dump at `path`. Ends the process when one fails."""
    progress = Progress(path.stat().st_size)
    process = subprocess.Popen([*stack.client("client"), database], stdin=subprocess.PIPE)
    assert process.stdin
    try:
        with process, path.open("rb") as packed, gzip.open(packed) as file:
            while piece := file.read(1 << 20):
                process.stdin.write(piece)
                progress.add(packed.tell() - progress.done)
    except BrokenPipeError:
        # The client has said why it ended.
        pass
    progress.end()
    if process.returncode:
        refuse("The backup could not be loaded.")


def record(stack: Running, live: str, beside: str, lost_after: int) -> None:
    """Tell the restored database what the live one loses: ticks, and which sessions ended."""
    newest = 0
    if "users" in tables(stack, live):
        # A machine's clock may have run ahead in the time that is lost.
        newest = int(sql(stack, f"SELECT COALESCE(MAX(last_modified_at), 0) FROM {live}.users"))
    now = now_ms()
    lost_until = max(now, newest)
    sql(
        stack,
        f"START TRANSACTION;"
        f"REPLACE INTO {beside}.restores (lost_after, lost_until) VALUES ({lost_after}, {lost_until});"
        # What is answered from now on lies behind the interval.
        f"UPDATE {beside}.users SET last_modified_at = GREATEST(last_modified_at, {lost_until + 1});"
        f"UPDATE {beside}.sessions SET revoked_at = {now} WHERE revoked_at IS NULL;"
        "COMMIT",
    )


def swap(stack: Running, live: str, beside: str, replaced: str) -> None:
    """Put the tables of `beside` in the place of the live ones, which go to `replaced`, all at once.

    Rights stand with the names of tables, and so stay.
    """
    moves = [f"{live}.`{name}` TO {replaced}.`{name}`" for name in tables(stack, live)]
    moves += [f"{beside}.`{name}` TO {live}.`{name}`" for name in tables(stack, beside)]
    sql(stack, f"CREATE DATABASE {replaced}; RENAME TABLE {', '.join(moves)}")


def drop_replaced(stack: Running, database: str = DATABASE) -> None:
    """Remove what restores have replaced."""
    names = sql(stack, rf"SHOW DATABASES LIKE '{database}\_replaced\_%'").split()
    for name in names:
        sql(stack, f"DROP DATABASE {name}")
    print(f"Removed {', '.join(names)}" if names else "No restore has left anything.")


def tables(stack: Running, database: str) -> list[str]:
    """Return the names of the tables of a database."""
    return sql(
        stack,
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}'"
        " AND table_type = 'BASE TABLE' ORDER BY table_name",
    ).split()
