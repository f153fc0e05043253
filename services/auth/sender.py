"""Sending what stands in the outbox (docs/accounts.md, "Mail").

A process holds a mail while it sends it, and deletes it when the server has taken it. A process that dies
in between loses its hold after two minutes: the mail is sent again, with the same Message-ID. SMTP leaves
no better choice, since a server may have taken a mail whose sender did not hear so.
"""

import logging
import random
import smtplib
import ssl
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any

from flask import Flask
from jinja2 import TemplateError
from sqlalchemy import ColumnElement, Row, and_, delete, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.auth.messages import write_message
from shared.database.base import db
from shared.database.bulk import execute_count
from shared.database.transaction import transaction
from shared.mail_url import MailServer, is_loopback
from shared.models import Mail
from shared.now import now_ms
from shared.observability import metrics

log = logging.getLogger("audit")

ROUND_S = 1.0
#: Longest pause while the mail server cannot be reached.
MAX_PAUSE_S = 60.0
BATCH = 20
#: For one answer of the mail server. A mail takes at most eleven: less than it is held.
ANSWER_S = 10
HOLD_MS = 120 * 1000
#: Less than a process gets to end in (deploy/gunicorn.conf.py).
STOP_S = 20
#: The first retry comes after this, each next one after twice as long, up to an hour.
FIRST_RETRY_MS = 10 * 1000
MAX_RETRY_MS = 60 * 60 * 1000


class Unreachable(Exception):
    """The mail server does not answer: no other mail would fare better."""


class Sender:
    """Sends what is due, once a second, in a thread of its own."""

    def __init__(self, app: Flask, server: MailServer) -> None:
        self.app, self.server = app, server
        self.pause_s = ROUND_S
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin, in the background of this process."""
        self.thread.start()

    def stop(self) -> None:
        """Begin no other mail, and wait for the one that is being sent: cut off, it would be sent again."""
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join(STOP_S)

    def run(self) -> None:
        """Do round after round until `stopped` is set."""
        while not self.stopped.wait(self.pause_s):
            with self.app.app_context():
                try:
                    self.round()
                except (DBAPIError, PoolTimeout) as error:
                    log.warning("outbox_unreadable", extra={"cause": type(error).__name__})
                except Exception:
                    # The thread must go on.
                    metrics.BUGS.inc()
                    log.exception("bug")

    def round(self) -> None:
        """Send each mail that is due, but no more once the server turns out not to answer."""
        while due := find_due():
            for mail in due:
                if self.stopped.is_set():
                    return
                held_until = now_ms() + HOLD_MS
                if not hold(mail, held_until):
                    continue
                try:
                    self.settle(mail, held_until)
                except Unreachable:
                    self.pause_s = min(2 * self.pause_s, MAX_PAUSE_S)
                    return
                self.pause_s = ROUND_S
            if len(due) < BATCH:
                return

    def settle(self, mail: Row[*tuple[Any, ...]], held_until: int) -> None:
        """Send a mail that is held and delete it, or put it off. Raises `Unreachable`."""
        own = and_(Mail.id == mail.id, Mail.next_at == held_until)
        if mail.recipient is None:
            remove(own)
            return
        if mail.expires_at <= now_ms():
            remove(own)
            count("expired", mail)
            return
        try:
            self.send(mail)
        except smtplib.SMTPRecipientsRefused as error:
            refusals = [code for code, _ in error.recipients.values()]
            if min(refusals) >= 500:
                remove(own)
                count("refused", mail, refusals[0])
            else:
                put_off(own, mail)
                count("failed", mail, refusals[0])
        except OSError as error:
            # Those of smtplib are OSErrors, too.
            put_off(own, mail)
            count("failed", mail, getattr(error, "smtp_code", None))
            answered = isinstance(error, smtplib.SMTPResponseException)
            if not answered or isinstance(error, smtplib.SMTPConnectError):
                raise Unreachable from error
        except (TemplateError, ValueError) as error:
            # A template of the operator's own, or an address that cannot stand in a mail.
            remove(own)
            count("refused", mail)
            log.error("mail_unwritable", extra={"cause": type(error).__name__})
        else:
            remove(own)
            count("sent", mail)

    def send(self, mail: Row[*tuple[Any, ...]]) -> None:
        """Give a mail to the server. Raises what smtplib does, `TemplateError` and `ValueError`."""
        message = self.write(mail)
        recipient = ascii_address(mail.recipient)
        with closing(self.connect()) as connection:
            try:
                connection.send_message(message, parseaddr(self.server.sender)[1], [recipient])
            except smtplib.SMTPNotSupportedError as error:
                # The server is well, but takes ASCII alone.
                raise ValueError("an address that the mail server does not take") from error
            # Nobody waits for the farewell.
            with suppress(OSError):
                connection.putcmd("QUIT")

    def write(self, mail: Row[*tuple[Any, ...]]) -> EmailMessage:
        """Return the mail as it is sent."""
        content = write_message(mail.template, mail.content)
        message = EmailMessage()
        message["From"] = self.server.sender
        message["To"] = ascii_address(mail.recipient)
        message["Subject"] = content.subject
        message["Date"] = format_datetime(datetime.fromtimestamp(mail.created_at / 1000, UTC))
        domain = parseaddr(self.server.sender)[1].partition("@")[2]
        message["Message-ID"] = f"<{mail.id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(content.text)
        message.add_alternative(content.html, subtype="html")
        return message

    def connect(self) -> smtplib.SMTP:
        """Return a connection that may send. A password never goes over a network in clear."""
        server, context = self.server, ssl.create_default_context()
        where = (server.host, server.port)
        if server.is_tls:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(*where, timeout=ANSWER_S, context=context)
        else:
            connection = smtplib.SMTP(*where, timeout=ANSWER_S)
        try:
            connection.ehlo_or_helo_if_needed()
            if not server.is_tls and connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
            elif server.user and not server.is_tls and not is_loopback(server.host):
                raise smtplib.SMTPNotSupportedError("The mail server offers no STARTTLS.")
            if server.user:
                connection.login(server.user, server.password)
        except BaseException:
            connection.close()
            raise
        return connection


def find_due() -> Sequence[Row[*tuple[Any, ...]]]:
    """Return mails whose time has come, and those that have had theirs."""
    now = now_ms()
    with db.session.begin():
        return db.session.execute(
            select(*Mail.__table__.c)
            .where(or_(Mail.next_at <= now, Mail.expires_at <= now - HOLD_MS))
            # What is never sent waits for what is: anybody can write thousands of those.
            .order_by(Mail.recipient.is_(None), Mail.next_at)
            .limit(BATCH)
        ).all()


@transaction
def hold(mail: Row[*tuple[Any, ...]], until: int) -> bool:
    """Keep others from a mail for a while; False when another process was first."""
    seen = and_(Mail.id == mail.id, Mail.next_at == mail.next_at)
    taken = update(Mail).where(seen).values(next_at=until, attempts=Mail.attempts + 1)
    return execute_count(taken) == 1


@transaction
def remove(own: ColumnElement[bool]) -> None:
    """Delete a mail that is still held by us."""
    db.session.execute(delete(Mail).where(own))


@transaction
def put_off(own: ColumnElement[bool], mail: Row[*tuple[Any, ...]]) -> None:
    """Let a mail be tried again, the later the more often it failed, as long as it is of use."""
    wait = min(FIRST_RETRY_MS * 2**mail.attempts, MAX_RETRY_MS)
    again = now_ms() + int(wait * random.uniform(0.5, 1))  # noqa: S311
    db.session.execute(update(Mail).where(own).values(next_at=min(again, mail.expires_at)))


def count(outcome: str, mail: Row[*tuple[Any, ...]], code: int | None = None) -> None:
    """Note what came of a mail: neither where it went nor what it says."""
    metrics.MAILS.labels(outcome).inc()
    level = logging.INFO if outcome == "sent" else logging.WARNING
    fields = {"mail_id": mail.id, "template": mail.template, "attempt": mail.attempts + 1}
    log.log(level, f"mail_{outcome}", extra=fields | ({"smtp_code": code} if code else {}))


def ascii_address(address: str) -> str:
    """Return an address with its domain as mail servers know it. Raises `ValueError`."""
    name, _, domain = address.rpartition("@")
    return f"{name}@{domain.encode('idna').decode()}"
