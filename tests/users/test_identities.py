"""Providers that open an account, and accounts without a password (docs/api.md, "Identities")."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.auth.providers import sign_in, signed_in, trusting
from tests.conftest import promote_to_admin
from tests.mails import forgot, mails, verify
from tests.servers.issuer import KEYS, Issuer, answer

NEW = "a new " + PASSWORD
TEN_MINUTES = 10 * 60


@pytest.fixture(scope="module")
def one() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def two() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def api(
    application: Any, one: Issuer, two: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    with trusting(tmp_path_factory.mktemp("providers"), one=one, two=two) as api:
        yield api


@pytest.fixture
def passwordless(api: Api, one: Issuer) -> Device:
    """A device of somebody without a password, whose subject is their e-mail."""
    email = new_email()
    return signed_in(api, one.token(email, email=email), email)


def link(device: Device, id_token: str, provider: str = "one", **body: Any) -> Any:
    body = {"provider": provider, "idToken": id_token, **body}
    return device.api.post("/users/me/identities", body, token=device.token)


def unlink(device: Device, provider: str = "one") -> Any:
    return device.api.delete(f"/users/me/identities/{provider}", token=device.token)


def linked(device: Device) -> list[str]:
    answer = device.api.get("/users/me/identities", token=device.token)
    return [one["provider"] for one in answer.json["identities"]]


# Linking


def test_a_linked_provider_opens_the_account(device: Device, one: Issuer, two: Issuer) -> None:
    email = new_email()
    answer = link(device, one.token("hal", email=email))
    assert answer.status_code == 201
    assert answer.json.keys() == {"provider", "email", "createdAt"}
    assert (answer.json["provider"], answer.json["email"]) == ("one", email)
    # Its answer was lost.
    assert link(device, one.token("hal", email=email)).status_code == 201
    nonce = {"nonce": "n-0S6"}
    assert link(device, two.token("hal", nonce="n-0S6"), "two", **nonce).status_code == 201
    assert linked(device) == ["one", "two"]
    assert signed_in(device.api, two.token("hal"), provider="two").user_id == device.user_id
    assert len(mails(device.email, "new way to sign in")) == 2
    user = device.api.get("/users/me", token=device.token).json
    assert (user["email"], user["hasPassword"]) == (device.email, True)


def test_an_identity_of_another_account_is_taken_also_at_once(api: Api, one: Issuer) -> None:
    devices = [api.register() for _ in range(4)]
    token = one.token()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda device: link(device, token), devices))
    assert sorted(one.status_code for one in answers) == [201, 409, 409, 409]
    for answered in answers:
        if answered.status_code == 409:
            assert_problem(answered, 409, "identity_taken")


def test_a_bad_token_links_nothing_and_ends_no_session(
    device: Device, one: Issuer, two: Issuer
) -> None:
    for token in ("x", two.token(), one.token(aud="another"), one.token(nonce="n")):
        assert_problem(link(device, token), 403, "invalid_id_token")
    assert_problem(link(device, one.token(), "nobody"), 422, "invalid_request")
    assert linked(device) == []
    no_token = device.api.post("/users/me/identities", {})
    assert_problem(no_token, 401, "unauthorized")


def test_whoever_is_locked_out_while_a_link_is_under_way_does_not_come_back_by_it(
    application: Any, tmp_path: Path
) -> None:
    with Issuer() as slow, trusting(tmp_path, one=slow) as api, ThreadPoolExecutor(1) as pool:
        device = api.register()
        code, asked, over = forgot(api, device.email), threading.Event(), threading.Event()

        def wait(request: BaseHTTPRequestHandler) -> None:
            asked.set()
            over.wait(10)
            answer(request, json.dumps({"keys": slow.published()}).encode())

        slow.instead[KEYS] = wait
        under_way = pool.submit(link, device, slow.token("jack"))
        assert asked.wait(10)
        body = {"email": device.email, "code": code, "newPassword": NEW}
        assert api.post("/auth/password/reset", body).status_code == 204
        over.set()
        assert_problem(under_way.result(), 401, "unauthorized")
        assert linked(api.login(device.email, NEW)) == []
        assert mails(device.email, "new way to sign in") == []


def test_the_same_subject_of_another_issuer_is_another_identity(
    api: Api, one: Issuer, two: Issuer
) -> None:
    first = signed_in(api, one.token("iris", email=new_email()))
    second = signed_in(api, two.token("iris", email=new_email()), provider="two")
    assert first.user_id != second.user_id


def test_an_address_is_told_the_same_three_times_an_hour(device: Device, one: Issuer) -> None:
    api, token = device.api, one.token()
    for _ in range(5):
        assert link(device, token).status_code == 201
        assert unlink(device).status_code == 204
    assert len(mails(device.email, "new way to sign in")) == 3
    assert len(mails(device.email, "was removed")) == 3
    # The codes have a count of their own.
    assert forgot(api, device.email)


# Unlinking


def test_an_unlinked_provider_opens_the_account_no_more(device: Device, one: Issuer) -> None:
    api, token = device.api, one.token(email=device.email)
    verify(device)
    assert link(device, token).status_code == 201
    assert unlink(device).status_code == 204
    assert_problem(unlink(device), 404, "not_found")
    assert linked(device) == []
    assert len(mails(device.email, "was removed")) == 1
    # By the contract it may be joined again, since both hold the address to be verified.
    assert signed_in(api, token).user_id == device.user_id


def test_the_last_way_in_stays(passwordless: Device, two: Issuer) -> None:
    device = passwordless
    assert_problem(unlink(device), 409, "last_way_in")
    assert_problem(unlink(device, "two"), 404, "not_found")
    assert link(device, two.token(), "two").status_code == 201
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda name: unlink(device, name).status_code, ("one", "two"))
        assert sorted(answers) == [204, 409]
    assert len(linked(device)) == 1


def test_with_a_password_the_last_provider_may_go(passwordless: Device) -> None:
    device, api = passwordless, passwordless.api
    body = {"email": device.email, "code": forgot(api, device.email), "newPassword": NEW}
    assert api.post("/auth/password/reset", body).status_code == 204
    assert unlink(api.login(device.email, NEW)).status_code == 204


# Confirming


Call = tuple[str, str, str, dict[str, Any]]
#: Wherever a password is asked: method, path, the field for the password, and the rest.
CONFIRMED: list[Call] = [
    ("PATCH", "/users/me", "currentPassword", {"email": "later"}),
    ("PUT", "/users/me/password", "currentPassword", {"newPassword": NEW}),
    ("DELETE", "/users/me", "password", {}),
]
NAMES = [f"{method} {path}" for method, path, *_ in CONFIRMED]


@pytest.mark.parametrize(("method", "path", "field", "rest"), CONFIRMED, ids=NAMES)
def test_an_account_without_a_password_confirms_with_a_fresh_token(
    passwordless: Device, one: Issuer, two: Issuer, method: str, path: str, field: str, rest: Any
) -> None:
    device, now = passwordless, int(time.time())
    body = rest | ({"email": new_email()} if "email" in rest else {})

    def ask(**more: Any) -> Any:
        return device.api.call(method, path, body | more, token=device.token)

    for given in ({}, {field: PASSWORD}):
        problem = assert_problem(ask(**given), 422, "invalid_request")
        assert problem["errorCodes"] == {"provider": ["required"], "idToken": ["required"]}
    stranger = new_email()
    signed_in(device.api, one.token(stranger, email=stranger))
    for token, provider in (
        (one.token(stranger), "one"),
        (one.token(), "one"),
        (two.token(device.email), "two"),
        (one.token(device.email, iat=now - TEN_MINUTES - 1), "one"),
        (one.token(device.email, exp=now - 61), "one"),
        (one.token(device.email, aud="another"), "one"),
        (one.token(device.email, nonce="n"), "one"),
        ("x", "one"),
    ):
        assert_problem(ask(provider=provider, idToken=token), 403, "invalid_id_token")
    problem = assert_problem(ask(provider="nobody", idToken="x"), 422, "invalid_request")
    assert problem["errorCodes"] == {"provider": ["unknown_provider"]}
    fresh = one.token(device.email, iat=now - TEN_MINUTES + 30, nonce="n")
    done = ask(provider="one", idToken=fresh, nonce="n")
    assert done.status_code in (200, 204), done.text
    if method == "DELETE":
        assert sign_in(device.api, one.token(device.email, email=device.email)).status_code == 201
    elif method == "PUT":
        assert device.api.login(device.email, NEW).tokens["user"]["hasPassword"] is True
        assert signed_in(device.api, one.token(device.email)).user_id == device.user_id
        # From now on with that.
        problem = assert_problem(ask(provider="one", idToken=fresh), 422, "invalid_request")
        assert problem["errorCodes"] == {"currentPassword": ["required"]}
    else:
        assert done.json["pendingEmail"] == body["email"]


@pytest.mark.parametrize(("method", "path", "field", "rest"), CONFIRMED, ids=NAMES)
def test_an_account_with_a_password_confirms_with_that(
    device: Device, one: Issuer, method: str, path: str, field: str, rest: Any
) -> None:
    token = one.token()
    assert link(device, token).status_code == 201
    body = rest | ({"email": new_email()} if "email" in rest else {})
    body |= {"provider": "one", "idToken": token}
    answer = device.api.call(method, path, body, token=device.token)
    problem = assert_problem(answer, 422, "invalid_request")
    assert problem["errorCodes"] == {field: ["required"]}
    answer = device.api.call(method, path, body | {field: PASSWORD}, token=device.token)
    assert answer.status_code in (200, 204), answer.text


def test_a_first_password_ends_the_other_sessions_and_is_told(
    passwordless: Device, one: Issuer
) -> None:
    device, token = passwordless, one.token(passwordless.email)
    other = signed_in(device.api, token)
    body = {"provider": "one", "idToken": token, "newPassword": NEW}
    assert device.api.put("/users/me/password", body, token=device.token).status_code == 204
    assert_problem(device.api.get("/users/me", token=other.token), 401, "unauthorized")
    assert device.api.get("/users/me", token=device.token).json["hasPassword"] is True
    assert len(mails(device.email, "password was changed")) == 1


def test_a_name_is_changed_without_any_confirmation(passwordless: Device) -> None:
    body = {"name": "Jo", "email": passwordless.email}
    answer = passwordless.api.patch("/users/me", body, token=passwordless.token)
    assert answer.json["name"] == "Jo"


# What else knows of them


def test_the_export_has_the_identities(passwordless: Device) -> None:
    exported = passwordless.api.get("/users/me/export", token=passwordless.token).json
    [identity] = exported["identities"]
    assert (identity["provider"], identity["email"]) == ("one", passwordless.email)


def test_administrators_see_and_remove_providers(
    api: Api, users_service: Flask, passwordless: Device, one: Issuer, two: Issuer
) -> None:
    admin = api.register()
    path = f"/users/{passwordless.user_id}/identities"
    assert_problem(api.get(path, token=admin.token), 403, "forbidden")
    assert_problem(api.delete(f"{path}/one", token=admin.token), 403, "forbidden")
    promote_to_admin(users_service, admin.email)
    [identity] = api.get(path, token=admin.token).json["identities"]
    assert identity["provider"] == "one"
    assert_problem(api.delete(f"{path}/one", token=admin.token), 409, "last_way_in")
    assert link(passwordless, two.token(), "two").status_code == 201
    assert api.delete(f"{path}/one", token=admin.token).status_code == 204
    assert linked(passwordless) == ["two"]
    runner = users_service.test_cli_runner()

    def run(*arguments: str) -> Any:
        return runner.invoke(args=["help-user", "unlink", passwordless.email, *arguments])

    assert link(passwordless, one.token(), "one").status_code == 201
    assert "PROVIDER is one of: one, two." in run().output
    assert run("one").exit_code == 0
    last = run("two")
    assert (last.exit_code, "only way to sign in" in last.output) == (1, True)
    assert linked(passwordless) == ["two"]
    for nobody in ("nobody", passwordless.email.replace("@", "_")[:36]):
        assert_problem(api.get(f"/users/{nobody}/identities", token=admin.token), 404, "not_found")
