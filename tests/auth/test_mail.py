"""Mail leaves by SMTP: once, in time, whatever the mail server does (docs/accounts.md, "Mail")."""

import re
import smtplib
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from flask import Flask
from prometheus_client import REGISTRY

import services.auth
from services.auth import sender as sending
from shared.accounts.mail import write_mail
from shared.database.base import db
from shared.database.transaction import transaction
from shared.mail_url import check_mail_url, parse_mail_url
from shared.models import Mail
from tests.api import new_email
from tests.clock import Clock
from tests.servers.mail import Post, listening, mail_url
from tests.servers.processes import free_port


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def port(post: Post) -> Iterator[int]:
    with listening(post) as port:
        yield port


@pytest.fixture
def auth(application: object, port: int) -> Iterator[Flask]:
    app = services.auth.create_app(MAIL_URL=mail_url(port))
    with app.app_context():
        # What other tests left.
        transaction(lambda: db.session.execute(db.delete(Mail)))()
        yield app
        db.engine.dispose()


def write(email: str, **life: int) -> None:
    transaction(write_mail)("password_changed", "somebody", email, {"email": email}, **life)


def waiting() -> list[Mail]:
    with db.session.begin():
        return list(db.session.scalars(db.select(Mail)))


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("mails_total", {"outcome": outcome}) or 0


def test_a_mail_is_sent_once_and_forgotten(auth: Flask, post: Post) -> None:
    email = new_email()
    write(email)
    for _ in range(2):
        auth.extensions["sender"].round()
    [(to, mail)] = post.mails
    assert (to, mail["To"], mail["From"]) == (email, email, "The App <app@example.org>")
    assert mail["Subject"] == "Your password was changed"
    assert re.fullmatch(r"<[\w-]{36}@example\.org>", mail["Message-ID"])
    assert mail["Auto-Submitted"] == "auto-generated"
    assert email in mail.get_body(("plain",)).get_content()
    assert email in mail.get_body(("html",)).get_content()
    assert waiting() == []


def test_several_processes_send_each_mail_once(auth: Flask, post: Post) -> None:
    emails = {new_email() for _ in range(10)}
    for email in emails:
        write(email)

    def send() -> None:
        with auth.app_context():
            sending.Sender(auth, auth.extensions["sender"].server).round()

    senders = [threading.Thread(target=send) for _ in range(4)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
    assert sorted(to for to, _ in post.mails) == sorted(emails)


@pytest.fixture
def round_that_dies(auth: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], None]:
    """Let a round of the sender's process end where it calls something."""

    def die(*_: Any) -> None:
        raise SystemExit

    def run(what: Any, name: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(what, name, die)
            with pytest.raises(SystemExit):
                auth.extensions["sender"].round()

    return run


def test_a_process_that_dies_before_it_sends_loses_nothing(
    auth: Flask, post: Post, clock: Clock, round_that_dies: Callable[[Any, str], None]
) -> None:
    write(new_email())
    sender = auth.extensions["sender"]
    round_that_dies(sender, "send")
    sender.round()
    assert post.mails == []
    clock.advance(seconds=121)
    sender.round()
    assert len(post.mails) == 1


def test_one_that_dies_before_it_notes_the_sending_sends_the_same_mail_again(
    auth: Flask, post: Post, clock: Clock, round_that_dies: Callable[[Any, str], None]
) -> None:
    write(new_email())
    round_that_dies(sending, "remove")
    clock.advance(seconds=121)
    auth.extensions["sender"].round()
    [first, second] = [mail["Message-ID"] for _, mail in post.mails]
    assert first == second
    assert waiting() == []


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
def test_a_server_that_asks_for_patience_is_asked_again_ever_later(
    auth: Flask, post: Post, clock: Clock, command: str
) -> None:
    write(new_email())
    failed = counted("failed")
    post.answers[command] = "451 Later"
    waits = []
    for _ in range(4):
        auth.extensions["sender"].round()
        [mail] = waiting()
        waits.append((mail.next_at - sending.now_ms()) / 1000)
        clock.advance(seconds=waits[-1] + 1)
        auth.extensions["sender"].pause_s = 0
    assert counted("failed") - failed == 4
    assert [5 * 2**n - 2 < wait <= 10 * 2**n for n, wait in enumerate(waits)] == [True] * 4
    post.answers.clear()
    auth.extensions["sender"].round()
    assert waiting() == []


def test_an_address_that_the_server_refuses_is_given_up(auth: Flask, post: Post) -> None:
    write(new_email())
    refused = counted("refused")
    post.answers["RCPT"] = "550 Nobody here"
    auth.extensions["sender"].round()
    assert (waiting(), post.mails, counted("refused") - refused) == ([], [], 1)


def test_an_address_beyond_the_servers_letters_is_given_up_and_holds_up_no_other(
    auth: Flask, post: Post
) -> None:
    email, refused = new_email(), counted("refused")
    write("ü" + new_email())
    write(email)
    with listening(post, enable_SMTPUTF8=False) as port:
        sender = sending.Sender(auth, parse_mail_url(mail_url(port)))
        sender.round()
    assert ([to for to, _ in post.mails], counted("refused") - refused) == ([email], 1)
    assert (waiting(), sender.pause_s) == ([], sending.ROUND_S)


def test_what_is_written_for_addresses_without_an_account_holds_up_no_mail(
    auth: Flask, post: Post
) -> None:
    for _ in range(2 * sending.BATCH):
        transaction(write_mail)("password_changed", None, None, {"email": new_email()})
    email = new_email()
    write(email)
    assert sending.find_due()[0].recipient == email
    auth.extensions["sender"].round()
    assert ([to for to, _ in post.mails], waiting()) == ([email], [])


def test_a_mail_that_has_had_its_time_is_not_sent(auth: Flask, post: Post, clock: Clock) -> None:
    write(new_email(), life_ms=1000)
    expired = counted("expired")
    clock.advance(seconds=2)
    auth.extensions["sender"].round()
    assert (waiting(), post.mails, counted("expired") - expired) == ([], [], 1)


def test_a_server_that_is_down_is_tried_ever_less_and_no_mail_is_lost(
    auth: Flask, post: Post, clock: Clock
) -> None:
    for _ in range(3):
        write(new_email())
    down = sending.Sender(auth, parse_mail_url(mail_url(free_port())))
    failed = counted("failed")
    down.round()
    # The others would fare no better.
    assert counted("failed") - failed == 1
    assert down.pause_s == 2 * sending.ROUND_S
    clock.advance(seconds=60)
    auth.extensions["sender"].round()
    assert len(post.mails) == 3


def test_a_server_that_dies_midway_gets_the_mail_when_it_is_back(
    auth: Flask, post: Post, clock: Clock
) -> None:
    write(new_email())
    failed = counted("failed")
    post.answers["DATA"] = ""
    auth.extensions["sender"].round()
    assert (len(waiting()), counted("failed") - failed) == (1, 1)
    post.answers.clear()
    post.mails.clear()
    clock.advance(seconds=11)
    auth.extensions["sender"].round()
    assert (len(post.mails), waiting()) == (1, [])


def test_a_process_that_ends_finishes_the_mail_that_it_is_sending_and_begins_no_other(
    auth: Flask, post: Post
) -> None:
    for _ in range(2):
        write(new_email())
    sender = auth.extensions["sender"]
    sender.pause_s = 0
    post.is_taking.clear()
    sender.start()
    assert post.was_given.wait(10)
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(sender.stop)
        assert sender.stopped.wait(10)
        assert not stopped.done()
        post.is_taking.set()
        stopped.result(10)
    assert (len(post.mails), len(waiting())) == (1, 1)


def test_a_server_that_hangs_holds_the_sender_for_a_bounded_while(
    auth: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    write(new_email())
    monkeypatch.setattr(sending, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = sending.Sender(auth, parse_mail_url(mail_url(silent.getsockname()[1])))
        hanging.round()
    [mail] = waiting()
    assert mail.attempts == 1
    assert mail.next_at <= sending.now_ms() + sending.FIRST_RETRY_MS


def test_a_password_is_sent_by_tls_alone(
    auth: Flask, post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    given: list[Any] = []

    def authenticate(_s: Any, session: Any, _e: Any, _m: str, login: Any) -> AuthResult:
        given.append((session.ssl is not None, login.login, login.password))
        return AuthResult(success=True)

    options = {"tls_context": context, "require_starttls": True, "authenticator": authenticate}
    with listening(post, hostname="localhost", **options) as port:
        server = parse_mail_url(f"smtp://an%40n:p%3Aw%2Fd@localhost:{port}?from=app@example.org")
        write(new_email())
        # A certificate that nobody vouches for.
        sending.Sender(auth, server).round()
        assert (given, post.mails) == ([], [])
        transaction(lambda: db.session.execute(db.update(Mail).values(next_at=0)))()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        sending.Sender(auth, server).round()
    assert given == [(True, b"an@n", b"p:w/d")]
    assert len(post.mails) == 1


def test_without_starttls_a_password_stays_here(
    auth: Flask, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "is_loopback", lambda _host: False)
    server = parse_mail_url(f"smtp://ann:secret@127.0.0.1:{port}?from=app@example.org")
    with pytest.raises(smtplib.SMTPNotSupportedError):
        sending.Sender(auth, server).connect()


def test_a_folder_of_templates_takes_the_place_of_ours(
    application: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reset.txt").write_text("Moin\n\n{{ code }}\n{{ app_link }}\n")
    app = services.auth.create_app(MAIL_TEMPLATES=str(tmp_path), APP_LINK="myapp://account")
    message = app.extensions["messages"].write("reset", {"email": "a@b.org", "code": "X"})
    assert message.subject == "Moin"
    assert message.text == "X\nmyapp://account/reset?email=a%40b.org&code=X\n"
    assert "X" in message.html
    (tmp_path / "reset.txt").write_text("Moin\n\n{{ cod }}\n")
    with pytest.raises(SystemExit):
        services.auth.create_app(MAIL_TEMPLATES=str(tmp_path))
    assert "MAIL_TEMPLATES: 'cod' is undefined" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        "mail.example.com",
        "http://mail.example.com?from=a@b.org",
        "smtp://mail.example.com",
        "smtp://mail.example.com?from=nobody",
        "smtp://mail.example.com?from=a@b.org&tls=no",
        "smtp://mail.example.com:port?from=a@b.org",
        "smtp://mail.example.com?from=a@b.org%0d%0aBcc:c@d.org",
    ],
)
def test_a_mail_url_that_has_no_meaning_is_refused(wrong: str) -> None:
    from environs import ValidationError

    with pytest.raises(ValidationError):
        check_mail_url(wrong)
