"""A forgotten migration: a service does not start on tables that are not those it declares."""

import gc
import re
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, make_url, text

import services.auth
import services.sync
import services.users
from shared.database.base import Base
from tests.api import Api, assert_problem
from tests.conftest import Backend
from tests.servers.processes import free_port
from tests.servers.proxy import Proxy

Change = Callable[..., None]
SERVICES = {
    "auth": services.auth.create_app,
    "users": services.users.create_app,
    "sync": services.sync.create_app,
}


@pytest.fixture
def change(
    backend: Backend, application: object, request: pytest.FixtureRequest
) -> Iterator[Change]:
    """Run statements on a database of its own with the declared tables; `change.url` is the services'.

    Migrations make the same ones (tests/shared/test_migrations.py), in ten times the time.
    """
    name = f"differs{abs(hash(request.node.name)) % 10**9}"
    migrate, service = backend.new_database(name)
    engine = create_engine(migrate)
    Base.metadata.create_all(engine)

    def change(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    change.url = service  # type: ignore[attr-defined]
    yield change
    engine.dispose()
    if backend.database:
        backend.database.drop_database(name)


def start(service: str, url: str) -> Api:
    return Api(SERVICES[service](DATABASE_URL=url, REDIS_URL=""))


@pytest.mark.parametrize(
    ("statement", "said", "services_"),
    [
        ("DROP TABLE tasks", "the table tasks is not there", "users sync"),
        (
            "ALTER TABLE tasks DROP COLUMN description",
            "tasks.description is not there",
            "users sync",
        ),
        ("ALTER TABLE users DROP COLUMN name", "users.name is not there", "auth users"),
        (
            "ALTER TABLE projects ADD COLUMN color VARCHAR(9) NOT NULL DEFAULT 'x'",
            None,
            "",
        ),
        ("ALTER TABLE projects ADD COLUMN color VARCHAR(9)", None, ""),
    ],
)
def test_a_service_starts_on_the_tables_that_it_declares_and_on_more(
    change: Change,
    statement: str,
    said: str | None,
    services_: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(statement)
    for service in SERVICES:
        if service not in services_.split():
            start(service, change.url)  # type: ignore[attr-defined]
            continue
        capsys.readouterr()
        with pytest.raises(SystemExit) as refused:
            start(service, change.url)  # type: ignore[attr-defined]
        assert refused.value.code == 3
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert line.startswith(f"The {service} service cannot start. ")
        assert f"{said}." in line
        assert "make migration" in line
        assert "make migrate " in line


@pytest.mark.backends("native", "mysql", "cluster")
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("MODIFY title VARCHAR(20) NOT NULL", "tasks.title is varchar(20) and not VARCHAR(255)"),
        ("MODIFY description VARCHAR(20)", "tasks.description is varchar(20) and not TEXT"),
        ("MODIFY created_at INT NOT NULL", "tasks.created_at is int and not BIGINT"),
        ("MODIFY description TEXT NOT NULL", "tasks.description takes no NULL"),
        ("ADD COLUMN must INT NOT NULL", "tasks.must is not declared and cannot be left out"),
        ("DROP PRIMARY KEY, ADD PRIMARY KEY (id)", "tasks.user_id is not part of the primary key"),
        ("MODIFY title VARCHAR(2000) NOT NULL", None),
        ("MODIFY title TEXT NOT NULL", None),
        ("MODIFY description LONGTEXT", None),
        ("MODIFY title VARCHAR(255)", None),
    ],
)
def test_what_a_column_holds_and_refuses_is_compared(
    change: Change, statement: str, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    change(f"ALTER TABLE tasks {statement}")
    if said is None:
        start("sync", change.url)  # type: ignore[attr-defined]
        return
    with pytest.raises(SystemExit):
        start("sync", change.url)  # type: ignore[attr-defined]
    # MariaDB names the width at which it would show a number.
    assert said in re.sub(r"int\(\d+\)", "int", capsys.readouterr().err)


@pytest.mark.backends("native", "mysql")
def test_a_service_that_started_without_its_database_is_not_ready_on_other_tables(
    change: Change,
) -> None:
    url = make_url(change.url)  # type: ignore[attr-defined]
    assert url.port
    with Proxy(free_port()) as address:
        through = url.set(port=address.port).render_as_string(hide_password=False)
        api = start("sync", through)
        assert_problem(api.client.get("/readyz"), 503, "unavailable")
        change("DROP TABLE tasks")
        address.target = url.port
        problem = assert_problem(api.client.get("/readyz"), 503, "unavailable")
    assert "the table tasks is not there" in problem["detail"]


def test_a_start_on_the_declared_tables_has_nothing_to_log(
    change: Change, caplog: pytest.LogCaptureFixture
) -> None:
    start("sync", change.url)  # type: ignore[attr-defined]
    gc.collect()
    assert not caplog.records
