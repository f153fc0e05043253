"""A migration that broke off, wherever it did, is run again and ends as if nothing had been."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from alembic import autogenerate  # noqa: F401 - here, so that the hundreds of children find it
from alembic.config import main
from sqlalchemy import create_engine, event, make_url
from sqlalchemy.engine import Engine

from shared.database.engines import job_options
from tests.conftest import ROOT, Backend, alembic, on_servers
from tests.shared.test_migrations import assert_is_at_head

KILLED = 9


def upgrade(url: str, kill_after: int) -> int:
    """Run `alembic upgrade head` in a process that dies after so many changes; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = kill_after
    file = make_url(url).database if url.startswith("sqlite") else None

    def kill(_c: Any, _cursor: Any, statement: str, _p: Any, _context: Any, _many: bool) -> None:
        nonlocal left
        word = statement.split()[0].upper()
        left -= word in ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE")
        # What another connection sees is what a kill here would leave.
        assert file is None or not tables_of(file)
        if left == 0:
            os._exit(KILLED)

    try:
        os.environ["DATABASE_URL"] = url
        os.chdir(ROOT)
        event.listen(Engine, "after_cursor_execute", kill)
        main(["--raiseerr", "upgrade", "head"])
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(1)


def tables_of(file: str) -> list[Any]:
    """What is committed in a file of SQLite's."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT name FROM sqlite_master").fetchall()


def test_a_migration_that_is_killed_after_any_statement_is_run_again(backend: Backend) -> None:
    url, _ = backend.new_database("again")
    if backend.database is None:
        # A migration is one transaction there, and each run looks after every statement for what is left of
        # it. Some are killed.
        for statements in range(1, 200, 12):
            code = upgrade(url, statements)
            if code == 0:
                break
            assert code == KILLED
    else:
        # Each change of a table stays, so each run is killed after the first or second that is left.
        for run in range(200):
            code = upgrade(url, 1 + run % 2)
            if code == 0:
                break
            assert code == KILLED
    assert code == 0
    assert_is_at_head(url)
    alembic(url, "downgrade", "base")


def test_two_migrations_at_once_do_the_work_of_one(backend: Backend) -> None:
    url, _ = backend.new_database("twice")

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "alembic", "upgrade", "head"],
            env={**os.environ, "DATABASE_URL": url},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(run, range(3)))
    assert [done.returncode for done in runs] == [0, 0, 0], [
        done.stdout + done.stderr for done in runs
    ]
    assert_is_at_head(url)
    alembic(url, "downgrade", "base")


@on_servers
def test_a_migration_has_no_limit_of_time(backend: Backend) -> None:
    url, _ = backend.new_database("slow")
    engine = create_engine(url, **job_options(make_url(url)))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert (driver._read_timeout, driver._write_timeout) == (None, None)
    engine.dispose()
