"""A forgotten password (docs/api.md, "Forgotten password")."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

import services.auth
from shared.database.base import db
from shared.models import Mail, MailCode
from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.clock import Clock
from tests.mails import forgot, mails, verification_code, verify
from tests.statements import statements

NEW = "a new " + PASSWORD


@pytest.fixture(scope="module")
def auth(application: object) -> Iterator[Flask]:
    """An application of its own, to look into the tables."""
    app = services.auth.create_app()
    yield app
    with app.app_context():
        db.engine.dispose()


def reset(api: Api, email: str, code: str, password: str = NEW) -> Any:
    body = {"email": email, "code": code, "newPassword": password}
    return api.post("/auth/password/reset", body)


def test_a_code_by_mail_gives_a_new_password_and_ends_every_session(device: Device) -> None:
    api = device.api
    code = forgot(api, device.email)
    mail = mails(device.email)[0]
    assert f"/account/reset?email={device.email.replace('@', '%40')}&code={code}" in mail["text"]
    assert code in mail["html"] and "https://api.example.org/account/reset?" in mail["html"]
    assert reset(api, device.email.upper(), code).status_code == 204
    assert_problem(api.get("/auth/sessions", token=device.token), 401, "unauthorized")
    assert_problem(
        api.post("/auth/login", {"email": device.email, "password": PASSWORD}),
        401,
        "invalid_credentials",
    )
    api.login(device.email, NEW)
    assert mails(device.email)[0]["subject"] == "Your password was changed"


def test_a_code_is_typed_without_regard_to_case_separators_and_lookalikes(device: Device) -> None:
    code = forgot(device.api, device.email)
    typed = " - ".join(code.lower().replace("0", "o").replace("1", "l"))
    assert reset(device.api, device.email, typed).status_code == 204


def test_a_code_works_once_also_at_once(device: Device) -> None:
    code = forgot(device.api, device.email)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda n: reset(device.api, device.email, code, f"{n} {NEW}").status_code, range(4)
            )
        )
    assert sorted(answers) == [204, 403, 403, 403]
    assert_problem(reset(device.api, device.email, code), 403, "invalid_code")
    changed = [m for m in mails(device.email) if "changed" in m["subject"]]
    assert len(changed) == 1


def test_five_wrong_tries_void_a_code_also_at_once(device: Device) -> None:
    code = forgot(device.api, device.email)
    with ThreadPoolExecutor(5) as pool:
        wrong = list(pool.map(lambda _: reset(device.api, device.email, "0" * 12), range(5)))
    for answer in wrong:
        assert_problem(answer, 403, "invalid_code")
    assert_problem(reset(device.api, device.email, code), 403, "invalid_code")
    assert reset(device.api, device.email, forgot(device.api, device.email)).status_code == 204


def test_a_refused_password_uses_up_neither_code_nor_try(device: Device) -> None:
    code = forgot(device.api, device.email)
    for _ in range(6):
        refused = reset(device.api, device.email, code, "short")
        assert_problem(refused, 422, "invalid_request")
    assert reset(device.api, device.email, code).status_code == 204


def test_a_code_lives_half_an_hour(device: Device, clock: Clock) -> None:
    code = forgot(device.api, device.email)
    clock.advance(seconds=30 * 60 + 1)
    assert_problem(reset(device.api, device.email, code), 403, "invalid_code")


def test_a_new_code_voids_the_one_before(device: Device) -> None:
    first, second = forgot(device.api, device.email), forgot(device.api, device.email)
    assert_problem(reset(device.api, device.email, first), 403, "invalid_code")
    assert reset(device.api, device.email, second).status_code == 204


def test_three_codes_an_hour_go_to_an_address_and_a_fourth_voids_nothing(
    device: Device, clock: Clock
) -> None:
    # The first came with registering.
    for _ in range(2):
        code = forgot(device.api, device.email)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: forgot(device.api, device.email), range(4))) == {code}
    assert len(mails(device.email)) == 3
    clock.advance(seconds=29 * 60)
    assert reset(device.api, device.email, code).status_code == 204
    clock.advance(seconds=32 * 60)
    assert forgot(device.api, device.email) != code


def test_a_code_is_good_for_its_account_alone(api: Api) -> None:
    one, other = api.register(), api.register()
    code = forgot(api, one.email)
    forgot(api, other.email)
    assert_problem(reset(api, other.email, code), 403, "invalid_code")
    assert_problem(reset(api, new_email(), code), 403, "invalid_code")


def test_the_id_of_an_account_given_for_an_address_voids_no_code_of_it(device: Device) -> None:
    api, code = device.api, forgot(device.api, device.email)
    asked = api.post("/auth/password/forgot", {"email": device.user_id})
    assert asked.status_code == 202
    for _ in range(5):
        assert_problem(reset(api, device.user_id, code), 403, "invalid_code")
    assert reset(api, device.email, code).status_code == 204


def test_whoever_takes_over_an_address_cannot_use_an_older_code(api: Api) -> None:
    one = api.register()
    code = forgot(api, one.email)
    body = {"email": new_email(), "currentPassword": PASSWORD}
    assert api.patch("/users/me", body, token=one.token).status_code == 200
    verify(one, body["email"])
    api.register(one.email)
    assert_problem(reset(api, one.email, code), 403, "invalid_code")


def test_a_reset_lifts_a_lockout_wherever_it_holds(device: Device) -> None:
    def login(password: str, network: str) -> Any:
        body = {"email": device.email, "password": password}
        return device.api.post("/auth/login", body, environ_overrides={"REMOTE_ADDR": network})

    for network in ("192.0.2.1", "192.0.2.2"):
        for _ in range(11):
            answer = login("wrong " + PASSWORD, network)
        assert_problem(answer, 429, "too_many_attempts")
    assert reset(device.api, device.email, forgot(device.api, device.email)).status_code == 204
    for network in ("192.0.2.1", "192.0.2.2"):
        assert login(NEW, network).status_code == 200


def test_a_reset_verifies_the_address_and_cancels_a_change_of_it(device: Device) -> None:
    api, other = device.api, new_email()
    body = {"email": other, "currentPassword": PASSWORD}
    assert api.patch("/users/me", body, token=device.token).json["pendingEmail"] == other
    code = verification_code(other)
    assert reset(api, device.email, forgot(api, device.email)).status_code == 204
    user = api.login(device.email, NEW).tokens["user"]
    assert (user["emailVerified"], user["pendingEmail"]) == (True, None)
    answer = api.post("/auth/email/verify", {"email": other, "code": code})
    assert_problem(answer, 403, "invalid_code")


def test_an_unknown_address_costs_the_same_statements_and_gets_no_mail(
    api: Api, auth: Flask
) -> None:
    known, unknown = api.register().email, new_email()
    own = Api(auth)
    told = []
    for email in (known, unknown):
        with statements() as run:
            assert own.post("/auth/password/forgot", {"email": email}).status_code == 202
        told.append(run)
    assert told[0] == told[1]
    assert told[0]["INSERT"] == 3
    assert len(mails(known, "new password")) == 1
    assert mails(unknown) == []


def test_the_database_holds_no_code_but_in_a_mail_that_waits(device: Device, auth: Flask) -> None:
    code = forgot(device.api, device.email)
    with auth.app_context(), db.session.begin():
        kept = db.session.scalar(db.select(MailCode).where(MailCode.user_id == device.user_id))
    assert kept is not None
    assert code not in f"{kept.id} {kept.code_hash}"


@pytest.mark.parametrize("by_admin", [False, True])
def test_a_deleted_account_leaves_no_mail_and_no_code(
    admin: Device, auth: Flask, by_admin: bool
) -> None:
    device = admin.api.register()
    forgot(device.api, device.email)
    if by_admin:
        gone = device.api.delete(f"/users/{device.user_id}", token=admin.token)
    else:
        gone = device.api.delete("/users/me", {"password": PASSWORD}, token=device.token)
    assert gone.status_code == 204
    with auth.app_context(), db.session.begin():
        for table in (Mail, MailCode):
            assert db.session.scalar(db.select(table).filter_by(user_id=device.user_id)) is None


def test_a_changed_password_is_told_by_mail(device: Device) -> None:
    body = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert device.api.put("/users/me/password", body, token=device.token).status_code == 204
    assert len(mails(device.email, "password was changed")) == 1


def test_a_login_with_the_old_password_beside_a_reset_leaves_no_session(device: Device) -> None:
    api, code = device.api, forgot(device.api, device.email)
    old = {"email": device.email, "password": PASSWORD}
    with ThreadPoolExecutor(4) as pool:
        done = pool.submit(reset, api, device.email, code)
        logins = list(pool.map(lambda _: api.post("/auth/login", old), range(3)))
    assert done.result().status_code == 204
    for login in logins:
        if login.status_code == 200:
            token = login.json["accessToken"]
            assert_problem(api.get("/auth/sessions", token=token), 401, "unauthorized")


def test_without_mail_the_calls_are_501_and_nothing_is_written(api: Api) -> None:
    without = Api(services.auth.create_app(MAIL_URL=""))
    email = without.register().email
    answer = without.post("/auth/password/forgot", {"email": email})
    assert_problem(answer, 501, "mail_not_configured")
    assert_problem(reset(without, email, "0" * 12), 501, "mail_not_configured")
    assert mails(email) == []
    assert without.client.get("/mail/messages.json").status_code == 404
