"""Mail of real processes, by a real mail server (docs/accounts.md, "Mail")."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from tests.api import new_email
from tests.conftest import Backend, NewPlace, alembic
from tests.servers.mail import Post, listening, mail_url
from tests.servers.processes import Service, free_port
from tests.stack.http_api import HttpApi
from tests.stack.load import eventually


class Instances:
    """Two instances of the auth service with two processes each, and a database of their own."""

    def __init__(self, backend: Backend, environ: dict[str, str], directory: Path) -> None:
        migrate, self.database_url = backend.new_database("mails")
        alembic(migrate, "upgrade", "head")
        self.mail_port = free_port()
        settings = environ | {
            "DATABASE_URL": self.database_url,
            "MAIL_URL": mail_url(self.mail_port),
            # That of the tests would have leases from them.
            "REDIS_URL": "",
            "WEB_CONCURRENCY": "2",
        }
        ports = (free_port(), free_port())
        self.services = [
            Service("auth", port, settings, directory / f"auth-{port}.log") for port in ports
        ]
        self.apis = [HttpApi(f"http://127.0.0.1:{port}/v1") for port in ports]

    def start(self) -> None:
        for service in self.services:
            service.start()

    def kill(self) -> None:
        for service in self.services:
            assert service.process
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()

    def waiting(self) -> int:
        with self.database() as connection:
            number: int = connection.execute(text("SELECT COUNT(*) FROM mail_outbox")).scalar_one()
        return number

    def two_minutes_pass(self) -> None:
        """For so long a mail is held that a process was about to send when it was killed."""
        with self.database() as connection:
            connection.execute(text("UPDATE mail_outbox SET next_at = next_at - 120000"))

    @contextmanager
    def database(self) -> Iterator[Connection]:
        engine = create_engine(self.database_url)
        with engine.begin() as connection:
            yield connection
        engine.dispose()


@pytest.fixture(scope="module")
def instances(
    backend: Backend, environ: dict[str, str], new_place: NewPlace
) -> Iterator[Instances]:
    instances = Instances(backend, environ, new_place())
    instances.start()
    yield instances
    for service in instances.services:
        service.stop()


def test_a_mail_server_that_is_away_costs_nothing_and_a_kill_loses_no_mail(
    instances: Instances,
) -> None:
    emails = [new_email() for _ in range(4)]
    began = time.monotonic()
    for email, api in zip(emails, instances.apis * 2, strict=True):
        api.register(email)
        assert api.post("/auth/password/forgot", {"email": email}).status_code == 202
    assert time.monotonic() - began < 40
    instances.kill()
    assert instances.waiting() == 8
    instances.two_minutes_pass()
    post = Post()
    with listening(post, instances.mail_port):
        instances.start()
        eventually(lambda: instances.waiting() == 0)
    assert Counter(to for to, _ in post.mails) == dict.fromkeys(emails, 2)
    assert len({mail["Message-ID"] for _, mail in post.mails}) == 8


def test_of_four_processes_one_sends_each_mail(instances: Instances) -> None:
    emails = [new_email() for _ in range(24)]
    post = Post()
    with listening(post, instances.mail_port):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda at: instances.apis[at % 2].register(emails[at]), range(24)))
        eventually(lambda: instances.waiting() == 0)
    assert Counter(to for to, _ in post.mails) == dict.fromkeys(emails, 1)
