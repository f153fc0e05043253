"""What the database says is told apart by meaning: its own troubles are 503, our mistakes are 500."""

import os
import re
import sqlite3
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import services.sync
from services import embedded
from shared.database import errors
from shared.database.base import db
from shared.database.engines import AT_ONCE, SharingTls
from shared.database.transaction import transaction
from tests.api import Api, Device, assert_problem, changes, project
from tests.conftest import ROOT, Backend, alembic
from tests.servers.processes import MariaDB, free_port


def test_each_number_means_one_thing() -> None:
    numbers = [number for some in errors.NUMBERS.values() for number in some]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(
    "number", [1048, 1054, 1062, 1064, 1146, 1264, 1366, 1406, 1451, 1452, 4025]
)
def test_what_we_sent_wrong_is_a_bug(number: int) -> None:
    error = DBAPIError("…", None, pymysql.err.OperationalError(number, "…"))
    assert errors.why_unavailable(error) is None


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (1021, "out_of_room"),
        (1114, "out_of_room"),
        (3, "out_of_room"),
        (1044, "rights"),
        (1045, "rights"),
        (1142, "rights"),
        (1143, "rights"),
        (1227, "rights"),
        (1049, "address"),
        (2005, "address"),
        (1040, "too_many_connections"),
        (1203, "too_many_connections"),
        (1226, "too_many_connections"),
        (1047, "cluster"),
        (1180, "cluster"),
        (3100, "cluster"),
        (1290, "read_only"),
        (1792, "read_only"),
        (1836, "read_only"),
        (1053, "shutting_down"),
        (1317, "interrupted"),
        (3024, "interrupted"),
        (1205, "locked"),
        (1213, "rolled_back"),
        (3572, "locked"),
        (2013, "connection_lost"),
    ],
)
def test_what_the_database_cannot_do_now_is_unavailable_and_logged_by_number(
    number: int, meaning: str, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    app = services.sync.create_app()

    def refused() -> None:
        raise DBAPIError("secret statement", None, pymysql.err.OperationalError(number, "secret"))

    app.view_functions["sync.pull"] = refused
    answer = Api(app).get("/sync", token=device.token)
    assert_problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "secret" not in answer.text
    with app.test_client() as client:
        lines = client.get("/metrics").text.splitlines()
    [counted] = [line for line in lines if f'db_unavailable_total{{cause="{meaning}"}}' in line]
    assert float(counted.split()[-1]) >= 1


@pytest.fixture
def embedded_file(tmp_path: Path, application: object) -> Path:
    """A database of SQLite of its own, migrated."""
    alembic(f"sqlite:///{tmp_path / 'app.db'}", "upgrade", "head")
    return tmp_path / "app.db"


def attempt(path: Path, *statements: str) -> str | None:
    """What goes wrong with statements on a file of SQLite, by meaning."""
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
    except sqlite3.Error as error:
        return errors.meaning(error)
    return "nothing"


def test_troubles_of_sqlite_are_told_apart(embedded_file: Path, tmp_path: Path) -> None:
    big = "CREATE TABLE x AS SELECT zeroblob(1000000) AS y"
    write = "INSERT INTO restores (lost_after, lost_until) VALUES (1, 1)"
    assert attempt(embedded_file, "PRAGMA max_page_count = 1", big) == "out_of_room"
    assert attempt(embedded_file, "PRAGMA query_only = 1", write) == "read_only"
    holder = sqlite3.connect(embedded_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert attempt(embedded_file, write) == "locked"
    holder.close()
    assert attempt(tmp_path / "no/where.db", "SELECT 1") == "address"
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    assert attempt(tmp_path / "text.db", "SELECT * FROM sqlite_master") == "storage"
    # Ours.
    assert attempt(embedded_file, "SELEC 1") is None
    assert attempt(embedded_file, "SELECT * FROM nothing") is None
    assert attempt(embedded_file, write, write) is None


def test_a_file_that_is_no_database_any_more_is_503_until_it_is_one_again(
    embedded_file: Path,
) -> None:
    app = embedded.create_app(DATABASE_URL=f"sqlite:///{embedded_file}", REDIS_URL="")
    device = Api(app).register()
    good = embedded_file.read_bytes()
    wal = embedded_file.with_name("app.db-wal")
    saved = wal.read_bytes() if wal.exists() else None
    assert saved is not None
    # Another process finds it so.
    embedded_file.write_bytes(b"x" * len(good))
    other = Api(embedded.create_app(DATABASE_URL=f"sqlite:///{embedded_file}", REDIS_URL=""))
    assert_problem(other.get("/sync", token=device.token), 503, "unavailable")
    embedded_file.write_bytes(good)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 200 MB."""
    if os.geteuid():
        pytest.skip("only root makes a small disk")
    place = Path(f"/tmp/disk-{free_port()}")
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m,mode=755", "tmpfs", place])
    if mounted.returncode:
        place.rmdir()
        pytest.skip("this machine mounts nothing")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


@pytest.mark.backends("native")
def test_a_full_disk_is_503_and_the_next_push_after_it_has_room_succeeds(
    small_disk: Path, backend: Backend, application: object
) -> None:
    database = MariaDB(small_disk / "database", free_port())
    database.install()
    database.start()
    try:
        migrate, service = Backend("native", small_disk, database).new_database("app")
        alembic(migrate, "upgrade", "head")
        api = Api(embedded.create_app(DATABASE_URL=service, REDIS_URL=""))
        device = api.register()
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file, pytest.raises(OSError, match="space"):  # noqa: PT012
            while True:
                file.write(b"x" * 100_000)
                file.flush()
        answers = []
        for _ in range(30):
            rows = [project(description="x" * 2000) for _ in range(300)]
            answers.append(device.push_raw(changes(projects={"created": rows})))
            if answers[-1].status_code != 200:
                break
        assert_problem(answers[-1], 503, "unavailable")
        assert device.pull_raw(0).status_code == 200
        ballast.unlink()
        assert device.push_raw(changes(projects={"created": [project()]})).status_code == 200
    finally:
        database.stop()


def test_a_transaction_past_its_deadline_writes_nothing(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.database.transaction.TRANSACTION_S", -1)
    refused = device.push_raw(changes(projects={"created": [project()]}))
    assert_problem(refused, 503, "unavailable")
    monkeypatch.undo()
    assert device.pull()["changes"]["projects"]["created"] == []

    @transaction
    def late() -> None:
        monkeypatch.setattr("time.monotonic", lambda: float("inf"))
        db.session.execute(text("SELECT 1"))

    app = services.sync.create_app()
    with app.app_context(), pytest.raises(errors.DeadlineExceeded):
        late()
    monkeypatch.undo()


@pytest.mark.backends("native")
def test_connections_read_the_certificates_of_the_system_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[ssl.SSLContext] = []
    make = ssl.create_default_context

    def counting(*args: object, **kwargs: object) -> ssl.SSLContext:
        contexts.append(make(*args, **kwargs))  # type: ignore[arg-type]
        return contexts[-1]

    app = services.sync.create_app()
    monkeypatch.setattr(SharingTls, "undemanding", None)
    monkeypatch.setattr(ssl, "create_default_context", counting)
    with app.app_context(), db.engine.connect() as one, db.engines["look_ups"].connect() as other:
        assert [c.scalar(text("SELECT 1")) for c in (one, other)] == [1, 1]
    assert len(contexts) == 1


def test_a_connection_with_settings_of_its_own_has_a_context_of_its_own() -> None:
    makers = [SharingTls(defer_connect=True, **tls) for tls in ({}, {"ssl_verify_cert": True}, {})]
    modes = [maker.ctx.verify_mode for maker in makers]  # type: ignore[attr-defined]
    assert modes == [ssl.CERT_NONE, ssl.CERT_REQUIRED, ssl.CERT_NONE]


def test_a_process_has_threads_that_no_request_can_take() -> None:
    settings = (ROOT / "deploy/gunicorn.conf.py").read_text()
    [threads] = re.findall(r"^threads = (\d+)$", settings, re.MULTILINE)
    assert int(threads) - AT_ONCE == 2
