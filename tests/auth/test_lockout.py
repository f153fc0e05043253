"""Ten wrong passwords, and the account is locked for a while (docs/api.md, "Auth service")."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.clock import Clock


def attempt(api: Api, email: str, password: str = "wrong password"):
    return api.post("/auth/login", {"email": email, "password": password})


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


def test_a_right_password_begins_the_count_again(api: Api) -> None:
    email = api.register().email
    for _ in range(2):
        for _ in range(9):
            attempt(api, email)
        assert attempt(api, email, PASSWORD).status_code == 200


def test_failures_are_counted_together_however_many_come_at_once(api: Api) -> None:
    email = api.register().email
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: attempt(api, email), range(10)))
    assert {a.status_code for a in answers} == {401}
    assert_problem(attempt(api, email, PASSWORD), 429, "too_many_attempts")


def test_a_lockout_touches_nobody_else_and_no_session(api: Api, device: Device) -> None:
    victim = api.register()
    for _ in range(10):
        attempt(api, victim.email)
    assert attempt(api, device.email, PASSWORD).status_code == 200
    assert api.get("/users/me", token=victim.token).status_code == 200


def test_guesses_at_a_confirmation_count_too(device: Device) -> None:
    for _ in range(10):
        refused = device.api.delete("/users/me", {"password": "a guess"}, token=device.token)
        assert_problem(refused, 403, "wrong_password")
    locked = device.api.delete("/users/me", {"password": PASSWORD}, token=device.token)
    assert_problem(locked, 429, "too_many_attempts")
    assert_problem(attempt(device.api, device.email, PASSWORD), 429, "too_many_attempts")
