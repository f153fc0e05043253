"""A mail server of the tests' own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

from tests.servers.processes import free_port


class Post:
    """What a mail server got, and what it answers."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        #: By command; `""` breaks the connection off.
        self.answers: dict[str, str] = {}
        #: Cleared by a test that wants the answer to a mail to wait.
        self.is_taking, self.was_given = threading.Event(), threading.Event()
        self.is_taking.set()

    async def handle_RCPT(self, _s: Any, _x: Any, envelope: Any, to: str, _o: Any) -> str:  # noqa: N802
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: Any, _x: Any, envelope: Any) -> str:  # noqa: N802
        self.was_given.set()
        await asyncio.to_thread(self.is_taking.wait, 10)
        answer = self.answers.get("DATA", "250 OK")
        if not answer:
            server.transport.abort()
        message: Any = message_from_bytes(envelope.content, policy=policy.default)
        self.mails += [(to, message) for to in envelope.rcpt_tos]
        return answer


@contextmanager
def listening(post: Post, port: int | None = None, **options: Any) -> Iterator[int]:
    """Serve on a port of this machine, by default a free one."""
    options = {"hostname": "127.0.0.1", "port": port or free_port()} | options
    server = Controller(post, **options)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def mail_url(port: int) -> str:
    return f"smtp://127.0.0.1:{port}?from=The%20App%20<app@example.org>"
