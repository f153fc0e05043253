"""Backups of the running stack's database: `make backup`, and `make restore FILE=…`.

A backup is one consistent dump with its point in time. A restore is all or nothing: the dump is loaded
into a database beside the live one, migrated there, and told there what is lost; then one statement
puts its tables in the place of the live ones. Killed before that it has changed nothing, killed after
that all is done but the start of the services; run again, it begins anew.

What was synced after the dump is lost by a restore, and devices may have seen it: the restore records
the interval (docs/api.md, "Pull": they get everything again) and moves every user's clock past it. It ends
all sessions, since which of them were revoked meanwhile is lost too, and empties Redis. (Access tokens from
before are left to the database by shared/auth/revocations.py, also those of sessions that it never knew.)

Of a stack this needs: `client`, the database's own client and dump programs as its administrator;
`migrate(database)`; `pause`, after which no service writes; `resume`, which starts the services with an
empty Redis.
"""

import gzip
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import click

from deploy.local.compose import Compose
from deploy.local.native import Native
from shared.now import now_ms

Running = Native | Compose

ROOT = Path(__file__).parent.parent
#: The name of the one database.
DATABASE = "app"
#: What is read at a time, and a megabyte.
PIECE = 1 << 20

#: The clocks that ticks are taken from.
TICKS = {"users": "last_modified_at", "reference_clock": "mark", "spaces": "last_tick"}
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


def longest_push_ms() -> int:
    """Return how long before its commit a push may have taken its tick."""
    # By itself, most of what any other command would import.
    from shared.database.engines import STATEMENT_S, TRANSACTION_S

    return (TRANSACTION_S + STATEMENT_S) * 1000


def backup(stack: Running, directory: Path, database: str = DATABASE) -> Path:
    """Write a dump into `directory`, both for their owner only; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    path = directory / time.strftime("app-%Y%m%d-%H%M%S.sql.gz")
    try:
        with TemporaryDirectory(dir=directory) as unfinished:
            new = Path(unfinished, path.name)
            new.touch(mode=0o600)
            with new.open("wb") as raw:
                with gzip.open(raw, "wb", compresslevel=3) as file:
                    file.write(b"-- taken_at: %d\n" % (now_ms() - longest_push_ms()))
                    dump(stack, database, file, f"Dumping the database to {path} (MB)")
                raw.flush()
                os.fsync(raw.fileno())
            new.rename(path)
    except OSError as error:
        sys.exit(f"The backup could not be written: {error}. Nothing was kept.")
    print(
        f"Kept as {path.stat().st_size / PIECE:.1f} MB. Next: copy it elsewhere;"
        f" to go back to it, make restore FILE={path}"
    )
    return path


def dump(stack: Running, database: str, file: gzip.GzipFile, label: str) -> None:
    """Write a dump of the database into `file`. Ends the process when it fails."""
    command = [*stack.client("dump"), *OPTIONS, database]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        pieces = iter(partial(process.stdout.read, PIECE), b"")
        with click.progressbar(pieces, label=label, show_pos=True) as shown:
            for piece in shown:
                file.write(piece)
    if process.returncode:
        sys.exit("The dump failed, for the reason above. Nothing was kept.")


def sql(stack: Running, statements: str) -> str:
    """Run statements as the administrator; return what they print. Ends the process when one fails."""
    command = [*stack.client("client"), "--batch", "--skip-column-names", "-e", statements]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("The database refused a statement, for the reason above.")
    return done.stdout.strip()


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
                    refuse(f"{path} is no backup of make backup: it names a database of its own.")
                last = line
    except (OSError, EOFError) as error:
        refuse(f"{path} cannot be read: {error}.")
    taken_at = FIRST_LINE.fullmatch(first)
    if taken_at is None or not last.startswith(LAST_LINE) or version is None:
        refuse(f"{path} is not a complete backup of make backup.")
    known = versions()
    if version.decode() not in known:
        refuse(
            f"{path} has the tables of version {version.decode()}, and the newest here is {known[0]}: "
            "restore it with the release that made it, or a later one."
        )
    return int(taken_at[1])


def versions() -> list[str]:
    """Return the versions of the tables that the migrations here lead to, the newest first."""
    # Half a second, which no other command needs.
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml"))
    return [step.revision for step in script.walk_revisions()]


def refuse(why: str) -> NoReturn:
    """End the process before anything is touched."""
    sys.exit(f"{why} Nothing was changed.")


def restore(stack: Running, path: Path, database: str = DATABASE) -> None:
    """Put the dump at `path` in the place of the database, and start the services on it."""
    beside = f"{database}_restored"
    # With milliseconds: one that was killed may be run again within the second.
    replaced = f"{database}_replaced_{time.strftime('%Y%m%d_%H%M%S')}_{now_ms() % 1000:03d}"
    print(f"Checking {path}", flush=True)
    lost_after = check(path)
    # What one that was killed has left.
    sql(stack, f"DROP DATABASE IF EXISTS {beside}; CREATE DATABASE {beside}")
    try:
        load(stack, path, beside)
        print("Applying migrations that are newer than the backup", flush=True)
        sql(stack, f"GRANT ALL ON {beside}.* TO 'migrate'@'%' WITH GRANT OPTION")
        stack.migrate(beside)
    except SystemExit:
        # Nobody's data stays where nobody looks for it.
        sql(stack, f"DROP DATABASE {beside}")
        refuse("The backup does not make the present tables, for the reason above.")
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


def load(stack: Running, path: Path, database: str) -> None:
    """Run the statements of the dump at `path`. Ends the process when one fails; the client says why."""
    label = "Loading it beside the live database"
    with (
        # Of a client that has said why it ended.
        suppress(BrokenPipeError),
        subprocess.Popen([*stack.client("client"), database], stdin=subprocess.PIPE) as process,
        path.open("rb") as packed,
        gzip.open(packed) as file,
        click.progressbar(length=path.stat().st_size, label=label) as shown,
    ):
        assert process.stdin
        while piece := file.read(PIECE):
            process.stdin.write(piece)
            shown.update(packed.tell() - shown.pos)
    if process.returncode:
        sys.exit(1)


def record(stack: Running, live: str, beside: str, lost_after: int) -> None:
    """Tell the restored database what the live one loses: ticks, and which sessions ended."""
    there = tables(stack, live)
    # A machine's clock may have run ahead in the time that is lost.
    newest = [
        int(sql(stack, f"SELECT COALESCE(MAX({tick}), 0) FROM {live}.{table}"))
        for table, tick in TICKS.items()
        if table in there
    ]
    now = now_ms()
    lost_until = max(now, *newest)
    living = f"SELECT key_hash FROM {live}.service_keys WHERE revoked_at IS NULL"
    revoked = f"AND key_hash NOT IN ({living})" if "service_keys" in there else ""
    statements = [
        f"REPLACE INTO {beside}.restores (lost_after, lost_until) VALUES ({lost_after}, {lost_until})",
        # What is answered from now on lies behind the interval.
        *(
            f"UPDATE {beside}.{table} SET {tick} = GREATEST({tick}, {lost_until + 1})"
            for table, tick in TICKS.items()
        ),
        f"UPDATE {beside}.sessions SET revoked_at = {now} WHERE revoked_at IS NULL",
        # Who was revoked since the backup stays so.
        f"UPDATE {beside}.service_keys SET revoked_at = {now}, living_name = NULL"
        f" WHERE revoked_at IS NULL {revoked}",
    ]
    sql(stack, "; ".join(["START TRANSACTION", *statements, "COMMIT"]))


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
