"""Start refuses an address that cannot work, with one line that says what to write and no secret."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from environs import ValidationError
from sqlalchemy import make_url

import services.sync
from shared.database.urls import check_database_url, check_redis_url
from tests.api import Api, assert_problem
from tests.conftest import ROOT, Backend, on_servers

SECRET = "s3cr3t"
MYSQL = f"mysql+pymysql://app:{SECRET}@127.0.0.1:1/app"


def assert_refused(check: Callable[[str], object], url: str, said: str) -> None:
    """The check says why, and not the password."""
    with pytest.raises(ValidationError) as refused:
        check(url)
    sentence = str(refused.value)
    assert said in sentence
    assert SECRET not in sentence


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "Cannot be read"),
        ("the one over there", "Cannot be read"),
        # As managed providers hand them out.
        (
            f"mysql://app:{SECRET}@host:3306/db",
            "mysql:// is not known here. Write mysql+pymysql://",
        ),
        (f"mysql://app:{SECRET}@host:3306/db?ssl-mode=REQUIRED", "Write mysql+pymysql://"),
        (f"mariadb://app:{SECRET}@host/db", "for MariaDB too"),
        (f"postgresql://app:{SECRET}@host/db", "Write mysql+pymysql://"),
        (f"mysql+mysqldb://app:{SECRET}@host/db", "Write mysql+pymysql://"),
        (f"{MYSQL}?ssl-mode=REQUIRED", "option ssl-mode is not known"),
        (f"{MYSQL}?sslmode=require", "option sslmode is not known"),
        (f"{MYSQL}?sslaccept=strict", "option sslaccept is not known"),
        (f'{MYSQL}?ssl={{"rejectUnauthorized":true}}', "option ssl is not known"),
        (f"{MYSQL}?read_timeout=0", "option read_timeout is not known"),
        (f"{MYSQL}?autocommit=true", "option autocommit is not known"),
        (f"{MYSQL}?charset=latin1", "charset is always utf8mb4"),
        (f"{MYSQL}?ssl_ca=/missing/file", "file of ssl_ca cannot be read"),
        (f"{MYSQL}?ssl_ca={__file__}", "TLS options is of no use"),
        # Odd characters.
        (f"mysql+pymysql://app:{SECRET}@x@host:3306/db", "@ is %40"),
        (f"mysql+pymysql://app:{SECRET}@host:port/db", "port must be a number"),
        (f"mysql+pymysql://app:{SECRET}@host:99999/db", "port must be a number"),
        (f"{MYSQL}\n", "line break"),
        (f" {MYSQL}", "blank"),
        (f"mysql+pymysql://app:{SECRET}@host:3306", "Names no database"),
        (f"mysql+pymysql://app:{SECRET}@host:3306/", "Names no database"),
        (f"mysql+pymysql://app:{SECRET}@host:3306/a/b", "odd characters"),
        (f"mysql+pymysql://app:{SECRET}@/db", "Names no host"),
        # Files.
        ("sqlite://", "Must name a file"),
        ("sqlite:///:memory:", "Must name a file"),
        ("sqlite:////missing/directory/app.db", "directory of the file does not exist"),
        (f"sqlite:///{ROOT}", "Names a directory"),
        (f"sqlite:///{ROOT}/app.db?mode=ro", "take no options"),
    ],
)
def test_a_database_url_that_cannot_work_is_refused(url: str, said: str) -> None:
    assert_refused(check_database_url, url, said)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1", "no scheme that is known"),
        ("127.0.0.1:6379", "no scheme that is known"),
        ("unix:///run/redis.sock", "no scheme that is known"),
        (f"redis://:{SECRET}@/0", "Names no host"),
        (f"redis://:{SECRET}@host:port/0", "Cannot be read"),
        (f"redis://:{SECRET}/x@host:6379/0", "/ is %2F"),
        (f"redis://:{SECRET}@host:6379/cache", "database is no number"),
        (f"redis://:{SECRET}@host:6379/0/1", "database is no number"),
        (f"redis://:{SECRET}@host:6379/0?socket_timeout=30", "socket_timeout is not known"),
        (f"redis://:{SECRET}@host:6379/0?family=4", "family is not known"),
        (f"redis://:{SECRET}@host:6379/0?ssl_ca_certs={__file__}", "require rediss://"),
        (f"rediss://:{SECRET}@host:6379/0?ssl_ca_certs=/missing", "file of ssl_ca_certs"),
        (f"rediss://:{SECRET}@host:6379/0?ssl_cert_reqs=maybe", "none, optional or required"),
        (f"redis+cluster://:{SECRET}@host:6379/3", "only database 0"),
        (f"redis://:{SECRET}@host:6379/0\n", "line break"),
    ],
)
def test_a_redis_url_that_cannot_work_is_refused(url: str, said: str) -> None:
    assert_refused(check_redis_url, url, said)


@pytest.mark.parametrize(
    "url",
    [
        MYSQL,
        f"{MYSQL}?charset=utf8mb4",
        "mysql+pymysql://app:p%40ss%2Fw%C3%B6rd@127.0.0.1:1/app",
        "mysql+pymysql://app@[::1]:1/app",
        # SQLAlchemy reads all but an @ as it is meant.
        "mysql+pymysql://app:a/b?c#d:e%zz@127.0.0.1:1/app",
    ],
)
def test_a_database_that_is_away_may_come_back(url: str, application: object) -> None:
    check_database_url(url)
    app = services.sync.create_app(DATABASE_URL=url)
    assert_problem(app.test_client().get("/readyz"), 503, "unavailable")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/",
        "rediss://user:p%40ss@host:6380/12?ssl_cert_reqs=none",
        "redis+cluster://:x@host:7001/0",
        "redis://[::1]:6379/0",
    ],
)
def test_other_redis_urls_are_taken(url: str) -> None:
    check_redis_url(url)


@on_servers
def test_what_the_server_itself_refuses_is_refused_at_the_start(
    backend: Backend, environ: dict[str, str]
) -> None:
    assert backend.database
    url = make_url(environ["DATABASE_URL"])
    for wrong, said in (
        (url.set(database="nowhere"), "does not exist on the server|refuses this user"),
        (url.set(password="wrong"), "refuses this user or password"),
        (backend.database.url("migrate", "app"), None),
    ):
        text = wrong if isinstance(wrong, str) else wrong.render_as_string(hide_password=False)
        if said is None:
            check_database_url(text)
            continue
        with pytest.raises(ValidationError, match=said):
            check_database_url(text)


@on_servers
def test_a_password_may_have_any_character(backend: Backend, environ: dict[str, str]) -> None:
    assert backend.database
    password = "p@ss:w/ör#d?%41 €"
    with backend.database.root() as root, root.cursor() as cursor:
        cursor.execute("CREATE USER 'odd'@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute("GRANT SELECT ON app.* TO 'odd'@'%'")
    url = make_url(environ["DATABASE_URL"]).set(username="odd", password=password)
    text = url.render_as_string(hide_password=False)
    check_database_url(text)
    client = services.sync.create_app(DATABASE_URL=text).test_client()
    assert client.get("/readyz").status_code == 200
    assert_problem(
        Api(services.sync.create_app(DATABASE_URL=text)).get("/sync"), 401, "unauthorized"
    )


@pytest.mark.any_backend
def test_the_refusal_is_one_line_and_an_exit_code_of_its_own(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "flask", "--app", "services.sync", "routes"],
        cwd=ROOT,
        env={**environ, "DATABASE_URL": f"mysql://app:{SECRET}@host/db", "REDIS_URL": "nowhere"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL: mysql:// is not known here." in done.stderr
    assert "REDIS_URL: Begins with no scheme" in done.stderr
    assert SECRET not in done.stderr
