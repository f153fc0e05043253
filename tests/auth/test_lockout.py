"""Guessing passwords comes to an end (docs/api.md, "Auth service", login)."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client import REGISTRY
from werkzeug.test import TestResponse

import services.auth
from services import embedded
from shared import config
from shared.accounts import lockout, passwords
from shared.database.base import db
from shared.models import LoginFailures
from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.clock import Clock

WINDOW_S = 15 * 60


def attempt(
    api: Api, email: str, password: str = "wrong password", address: str = "192.0.2.1"
) -> TestResponse:
    body = {"email": email, "password": password}
    return api.post("/auth/login", body, environ_base={"REMOTE_ADDR": address})


def hashed() -> float:
    return REGISTRY.get_sample_value("auth_passwords_total") or 0


def at_once(calls: list[Callable[[], TestResponse]]) -> Counter[int]:
    """The statuses of calls made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return Counter(a.status_code for a in pool.map(lambda call: call(), calls))


@pytest.fixture(scope="module")
def patient(application: object, product_hashing: dict[str, int]) -> Iterator[Api]:
    """The API with room for many hashes and connections at once: only the limits limit.

    A hash takes as long as in the product, so that guesses at once do meet.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "HASH_QUEUE_TIMEOUT_S", 120)
        with patch.context() as costs:
            for name, value in product_hashing.items():
                costs.setattr(config, name, value)
            app = embedded.create_app()
        yield Api(app)


@pytest.mark.parametrize("known", [True, False])
def test_the_eleventh_attempt_is_429_whether_or_not_there_is_an_account(
    api: Api, clock: Clock, known: bool
) -> None:
    email = api.register().email if known else new_email()
    for _ in range(10):
        assert_problem(attempt(api, email.upper()), 401, "invalid_credentials")
        clock.advance(seconds=60)
    for password in ("wrong password", PASSWORD):
        locked = attempt(api, email, password)
        assert_problem(locked, 429, "too_many_attempts")
        assert 290 <= int(locked.headers["Retry-After"]) <= 300
    clock.advance(seconds=301)
    assert attempt(api, email, PASSWORD).status_code == (200 if known else 401)


@pytest.mark.parametrize("known", [True, False])
def test_of_twenty_guesses_at_once_ten_are_hashed(patient: Api, known: bool) -> None:
    email = patient.register().email if known else new_email()
    before = hashed()
    assert at_once([lambda: attempt(patient, email)] * 20) == {401: 10, 429: 10}
    assert hashed() - before == 10
    assert_problem(attempt(patient, email, PASSWORD), 429, "too_many_attempts")
    assert hashed() - before == 10


def test_of_many_guesses_at_once_from_everywhere_a_hundred_are_hashed(patient: Api) -> None:
    email = patient.register().email
    before = hashed()
    answers: Counter[int] = Counter()
    for start in range(0, 120, 20):
        answers += at_once(
            [
                lambda n=n: attempt(patient, email, address=f"198.51.100.{n}")
                for n in range(start, start + 20)
            ]
        )
    assert answers == {401: 100, 429: 20}
    assert hashed() - before == 100
    locked = attempt(patient, email, PASSWORD, address="203.0.113.9")
    assert_problem(locked, 429, "too_many_attempts")
    assert int(locked.headers["Retry-After"]) <= WINDOW_S


def test_one_network_alone_locks_nobody_out_elsewhere(api: Api) -> None:
    email = api.register().email
    for _ in range(120):
        attempt(api, email, address="192.0.2.66")
    assert_problem(attempt(api, email, PASSWORD, address="192.0.2.66"), 429, "too_many_attempts")
    assert attempt(api, email, PASSWORD, address="192.0.2.1").status_code == 200


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (("192.0.2.7", "::ffff:192.0.2.7"), "192.0.2.8"),
        (("2001:db8:0:1::1", "2001:DB8:0:1:ffff::2", "2001:db8:0:1:0:1:2:3"), "2001:db8:0:2::1"),
    ],
)
def test_an_ipv4_address_and_an_ipv6_64_are_one_client(
    api: Api, addresses: tuple[str, ...], other: str
) -> None:
    email = api.register().email
    for n in range(10):
        attempt(api, email, address=addresses[n % len(addresses)])
    for address in addresses:
        assert_problem(attempt(api, email, PASSWORD, address), 429, "too_many_attempts")
    assert attempt(api, email, PASSWORD, other).status_code == 200


@pytest.mark.parametrize("address", ["", "unix:", "é", "fe80::1%eth0", "999.1.1.1"])
def test_what_is_no_address_is_a_client_too(address: str) -> None:
    limits = lockout.login_limits("a@example.com", address)
    assert [limit.most for limit in limits] == [100, 10]


def test_only_hashes_of_emails_addresses_and_sessions_are_kept(device: Device) -> None:
    attempt(device.api, device.email, address="198.51.100.200")
    device.api.delete("/users/me", {"password": "a guess"}, token=device.token)
    with services.auth.create_app().app_context():
        kept = db.session.scalars(db.select(LoginFailures.email_hash)).all()
    assert kept and all(set(key) <= set("0123456789abcdef") and len(key) == 64 for key in kept)


def test_a_right_password_begins_the_count_again(api: Api) -> None:
    email = api.register().email
    for _ in range(2):
        for _ in range(9):
            attempt(api, email)
        assert attempt(api, email, PASSWORD).status_code == 200


def test_right_passwords_at_once_leave_no_count(patient: Api) -> None:
    email = patient.register().email
    for _ in range(3):
        assert at_once([lambda: attempt(patient, email, PASSWORD)] * 8) == {200: 8}
    # None is taken back twice: that would be another guess.
    assert at_once([lambda: attempt(patient, email)] * 20) == {401: 10, 429: 10}


def test_a_right_password_forgets_only_what_came_from_where_it_came(api: Api) -> None:
    email = api.register().email
    for n in range(99):
        attempt(api, email, address=f"198.51.100.{n}")
    assert attempt(api, email, PASSWORD).status_code == 200
    attempt(api, email, address="198.51.100.99")
    assert_problem(attempt(api, email, PASSWORD), 429, "too_many_attempts")


def test_a_disabled_accounts_right_password_is_no_failure(admin: Device) -> None:
    victim = admin.api.register()
    admin.api.patch(f"/users/{victim.user_id}", {"isActive": False}, token=admin.token)
    for _ in range(12):
        refused = attempt(admin.api, victim.email, PASSWORD)
        assert_problem(refused, 403, "account_disabled")


def test_an_attempt_that_had_to_wait_too_long_is_no_failure(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = api.register().email
    monkeypatch.setattr(passwords, "HASH_QUEUE_TIMEOUT_S", 0.01)
    app = services.auth.create_app(HASHES_AT_ONCE=1)
    with app.extensions["hashing"]:
        for _ in range(12):
            assert_problem(attempt(Api(app), email), 503, "unavailable")
    for _ in range(10):
        assert attempt(api, email).status_code == 401


def test_a_lockout_touches_nobody_else_and_no_session(api: Api, device: Device) -> None:
    victim = api.register()
    for _ in range(10):
        attempt(api, victim.email)
    assert attempt(api, device.email, PASSWORD).status_code == 200
    assert api.get("/users/me", token=victim.token).status_code == 200


def confirm(device: Device, password: str, kind: str) -> TestResponse:
    """A call that the account's password confirms."""
    api, token = device.api, device.token
    if kind == "email":
        body = {"email": new_email(), "currentPassword": password}
        return api.patch("/users/me", body, token=token)
    if kind == "password":
        body = {"currentPassword": password, "newPassword": "another " + PASSWORD}
        return api.put("/users/me/password", body, token=token)
    return api.delete("/users/me", {"password": password}, token=token)


@pytest.mark.parametrize("kind", ["email", "password", "deletion"])
def test_confirmations_are_counted_by_session_and_apart_from_logins(
    device: Device, clock: Clock, kind: str
) -> None:
    other = device.another()
    for _ in range(10):
        attempt(device.api, device.email)
    for _ in range(10):
        assert_problem(confirm(device, "a guess", kind), 403, "wrong_password")
    for again in ("email", "password", "deletion"):
        locked = confirm(device, PASSWORD, again)
        assert_problem(locked, 429, "too_many_attempts")
        assert 0 < int(locked.headers["Retry-After"]) <= WINDOW_S
    assert attempt(device.api, device.email, PASSWORD, address="192.0.2.9").status_code == 200
    assert confirm(other, PASSWORD, kind).status_code in (200, 204)


def test_of_guesses_at_a_confirmation_at_once_ten_are_hashed(patient: Api) -> None:
    device = patient.register()
    before = hashed()

    def guess() -> TestResponse:
        while True:
            answer = confirm(device, "a guess", "deletion")
            # Of one user, a process takes four requests at a time.
            if answer.json["code"] != "rate_limited":
                return answer

    answers = at_once([guess] * 22)
    assert answers == {403: 10, 429: 12}
    assert hashed() - before == 10
    assert_problem(confirm(device, PASSWORD, "deletion"), 429, "too_many_attempts")
    assert patient.get("/users/me", token=device.token).status_code == 200


def test_a_confirmation_that_is_refused_for_another_reason_is_no_failure(device: Device) -> None:
    taken = device.api.register().email
    for _ in range(12):
        body = {"email": taken, "currentPassword": PASSWORD}
        refused = device.api.patch("/users/me", body, token=device.token)
        assert_problem(refused, 409, "email_taken")


@pytest.mark.parametrize("ahead_s", [3, 10, 3600, 365 * 86400])
def test_a_clock_that_was_ahead_locks_no_longer_than_the_window(
    api: Api, clock: Clock, ahead_s: float
) -> None:
    device = api.register()
    clock.advance(seconds=ahead_s)
    for _ in range(10):
        attempt(api, device.email)
        confirm(device, "a guess", "deletion")
    clock.reset()
    for locked in (attempt(api, device.email, PASSWORD), confirm(device, "a guess", "deletion")):
        assert int(locked.headers.get("Retry-After", 0)) <= WINDOW_S
    clock.advance(seconds=WINDOW_S + 6)
    assert attempt(api, device.email, PASSWORD).status_code == 200
    device.tokens |= api.post("/auth/refresh", token=device.tokens["refreshToken"]).json
    assert confirm(device, PASSWORD, "deletion").status_code == 204


def test_a_login_takes_four_statements(
    api: Api, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[Any] = []
    app = services.auth.create_app()
    with app.app_context():
        db.event.listen(
            db.engine, "before_cursor_execute", lambda *a: statements.append(a[2].split()[0])
        )
    Api(app).login(device.email)
    data = [word for word in statements if word not in ("BEGIN", "PRAGMA")]
    assert data == ["INSERT", "SELECT", "UPDATE", "INSERT"]
