"""How passwords are kept (docs/api.md, "Passwords")."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import pytest

import services.auth
import services.users
from shared import config
from shared.accounts import passwords
from shared.database.base import db
from shared.models import User
from tests.api import PASSWORD, Api, Device, assert_problem, new_email


def stored(email: str) -> str:
    with services.auth.create_app().app_context():
        return db.session.scalars(db.select(User.password).where(User.email == email)).one()


def test_hashes_are_argon2id_at_owasps_minimum_or_above(
    application: object, product_hashing: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in product_hashing.items():
        monkeypatch.setattr(config, name, value)
    api = Api(services.auth.create_app())
    parameters = argon2.extract_parameters(stored(api.register().email))
    assert parameters.type is argon2.Type.ID
    assert parameters.memory_cost >= 19456
    assert parameters.time_cost >= 2


def test_raised_parameters_take_effect_at_the_next_login(api: Api) -> None:
    email = api.register().email
    raised = Api(services.auth.create_app(ARGON2_PASSES=3))
    assert raised.post("/auth/login", {"email": email, "password": "wrong one"}).status_code == 401
    assert argon2.extract_parameters(stored(email)).time_cost == config.MIN_PASSES
    raised.login(email)
    assert argon2.extract_parameters(stored(email)).time_cost == 3
    api.login(email)


@pytest.mark.parametrize("common", ["password1", "12345678", "QwertyUiop", "iloveyou"])
def test_the_most_common_passwords_are_refused(api: Api, common: str) -> None:
    refused = api.post("/auth/register", {"email": new_email(), "password": common})
    assert list(assert_problem(refused, 422, "invalid_request")["errors"]) == ["password"]


@pytest.mark.parametrize("password", ["8 chars!", "🍉" * 128, "\0" * 9, " " * 8, "x" * 128])
def test_any_unicode_of_8_to_128_characters_will_do_and_counts_to_the_end(
    api: Api, password: str
) -> None:
    body = {"email": new_email(), "password": password}
    assert api.post("/auth/register", body).status_code == 201
    assert api.post("/auth/login", body).status_code == 200
    body["password"] = password[:-1] + "y"
    assert api.post("/auth/login", body).status_code == 401


def test_an_unknown_email_costs_what_any_known_one_costs(api: Api, monkeypatch: Any) -> None:
    work: list[str] = []
    verify = argon2.PasswordHasher.verify

    def noted(self: Any, hashed: str, password: str) -> bool:
        work.append(passwords.parameters(hashed))
        return verify(self, hashed, password)

    # Since the parameters were raised, one has logged in, and one not.
    old, new, unknown = api.register().email, api.register().email, new_email()
    raised = Api(services.auth.create_app(ARGON2_PASSES=3, ARGON2_MEMORY_KIB=20000))
    raised.login(new)
    monkeypatch.setattr(argon2.PasswordHasher, "verify", noted)
    spent = []
    # Again in the other order: a process that has seen neither knows no more of one than of others.
    for email in (unknown, old, new, new, old, unknown):
        work.clear()
        refused = raised.post("/auth/login", {"email": email, "password": "wrong one"})
        assert_problem(refused, 401, "invalid_credentials")
        spent.append(sorted(work))
    assert spent == [spent[0]] * 6
    assert {passwords.parameters(stored(email)) for email in (old, new)} <= set(spent[0])


def test_too_many_logins_at_once_wait_and_then_get_503(api: Api, monkeypatch: Any) -> None:
    email = api.register().email
    monkeypatch.setattr(passwords, "HASH_QUEUE_TIMEOUT_S", 0.05)
    app = services.auth.create_app(HASHES_AT_ONCE=1)
    busy = Api(app)
    with app.extensions["hashing"]:
        refused = busy.post("/auth/login", {"email": email, "password": PASSWORD})
    assert_problem(refused, 503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    monkeypatch.setattr(passwords, "HASH_QUEUE_TIMEOUT_S", 30)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: busy.post("/auth/login", {"email": email, "password": PASSWORD}),
                range(16),
            )
        )
    assert {a.status_code for a in answers} == {200}


def test_a_password_that_is_replaced_while_it_is_verified_opens_nothing(
    device: Device, monkeypatch: Any
) -> None:
    verify = argon2.PasswordHasher.verify

    def slow(self: Any, hashed: str, password: str) -> bool:
        right = verify(self, hashed, password)
        monkeypatch.undo()
        body = {"currentPassword": PASSWORD, "newPassword": "another " + PASSWORD}
        changed = Api(services.users.create_app()).put(
            "/users/me/password", body, token=device.token
        )
        assert changed.status_code == 204
        return right

    monkeypatch.setattr(argon2.PasswordHasher, "verify", slow)
    late = device.api.post("/auth/login", {"email": device.email, "password": PASSWORD})
    assert_problem(late, 401, "invalid_credentials")
