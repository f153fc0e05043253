"""Verified and changed e-mails (docs/api.md, "Verified e-mail")."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import services.auth
from services import embedded
from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.clock import Clock
from tests.mails import forgot, mails, verification_code, verify


def me(device: Device) -> dict[str, Any]:
    answer = device.api.get("/users/me", token=device.token)
    assert answer.status_code == 200
    user: dict[str, Any] = answer.json
    return user


def change(device: Device, email: str) -> Any:
    body = {"email": email, "currentPassword": PASSWORD}
    return device.api.patch("/users/me", body, token=device.token)


def answer_with(api: Api, email: str, code: str) -> Any:
    return api.post("/auth/email/verify", {"email": email, "code": code})


def test_registering_sends_a_code_that_verifies_the_address(device: Device) -> None:
    before = device.tokens["user"]
    assert (before["emailVerified"], before["pendingEmail"]) == (False, None)
    assert before["hasPassword"] is True
    code = verification_code(device.email)
    [mail] = mails(device.email)
    link = f"https://api.example.org/account/verify?email={device.email.replace('@', '%40')}"
    assert f"{link}&code={code}" in mail["text"]
    assert answer_with(device.api, device.email.upper(), code.lower()).status_code == 204
    after = me(device)
    assert after["emailVerified"] is True
    assert after["updatedAt"] > before["updatedAt"]


def test_a_code_verifies_once_also_at_once(device: Device) -> None:
    code = verification_code(device.email)
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: answer_with(device.api, device.email, code), range(4))
        assert sorted(answer.status_code for answer in answers) == [204, 403, 403, 403]


def test_five_wrong_tries_void_a_code_and_another_can_be_sent(device: Device) -> None:
    code = verification_code(device.email)
    for _ in range(5):
        assert_problem(answer_with(device.api, device.email, "0" * 12), 403, "invalid_code")
    assert_problem(answer_with(device.api, device.email, code), 403, "invalid_code")
    sent = device.api.post("/auth/email/send-code", token=device.token)
    assert (sent.status_code, sent.data) == (202, b"")
    verify(device)


def test_a_code_lives_half_an_hour_and_is_bound_to_its_purpose(
    device: Device, clock: Clock
) -> None:
    code = verification_code(device.email)
    body = {"email": device.email, "code": code, "newPassword": "a new " + PASSWORD}
    assert_problem(device.api.post("/auth/password/reset", body), 403, "invalid_code")
    other = forgot(device.api, device.email)
    assert_problem(answer_with(device.api, device.email, other), 403, "invalid_code")
    clock.advance(seconds=30 * 60 + 1)
    assert_problem(answer_with(device.api, device.email, code), 403, "invalid_code")


def test_a_changed_address_takes_effect_when_it_is_verified_and_the_old_one_is_told(
    device: Device,
) -> None:
    api, email = device.api, new_email()
    verify(device)
    asked = change(device, email.upper())
    assert asked.status_code == 200
    assert asked.json["email"] == device.email
    assert (asked.json["pendingEmail"], asked.json["emailVerified"]) == (email, True)
    assert me(device) == asked.json
    assert len(mails(device.email, "about to change")) == 1
    api.login(device.email)
    verify(device, email)
    after = me(device)
    assert (after["email"], after["pendingEmail"], after["emailVerified"]) == (email, None, True)
    assert len(mails(device.email, "e-mail was changed")) == 1
    api.login(email)
    old = api.post("/auth/login", {"email": device.email, "password": PASSWORD})
    assert_problem(old, 401, "invalid_credentials")
    # The old one is free again.
    api.register(device.email)


def test_changing_back_needs_no_password_and_cancels_the_change(device: Device) -> None:
    email = new_email()
    change(device, email)
    code = verification_code(email)
    back = device.api.patch("/users/me", {"email": device.email}, token=device.token)
    assert (back.status_code, back.json["pendingEmail"]) == (200, None)
    assert_problem(answer_with(device.api, email, code), 403, "invalid_code")
    assert me(device)["email"] == device.email


def test_a_second_change_voids_the_code_of_the_first(device: Device) -> None:
    first, second = new_email(), new_email()
    change(device, first)
    code = verification_code(first)
    change(device, second)
    assert_problem(answer_with(device.api, first, code), 403, "invalid_code")
    assert device.api.post("/auth/email/send-code", token=device.token).status_code == 202
    assert len(mails(second)) == 2
    verify(device, second)
    assert me(device)["email"] == second


def test_an_address_that_somebody_took_meanwhile_is_409_and_nothing_changes(
    device: Device,
) -> None:
    email = new_email()
    change(device, email)
    code = verification_code(email)
    other = device.api.register(email)
    assert_problem(answer_with(device.api, email, code), 409, "email_taken")
    assert (me(device)["email"], me(device)["pendingEmail"]) == (device.email, email)
    assert me(other)["email"] == email
    assert mails(device.email, "e-mail was changed") == []
    # A change to one that is taken already is refused at once.
    assert_problem(change(device.api.register(), email), 409, "email_taken")


def test_of_two_accounts_that_wait_for_an_address_the_first_to_verify_gets_it(api: Api) -> None:
    one, other, email = api.register(), api.register(), new_email()
    codes = []
    for device in (one, other):
        assert change(device, email).status_code == 200
        codes.append(verification_code(email))
    assert answer_with(api, email, codes[0]).status_code == 204
    assert_problem(answer_with(api, email, codes[1]), 409, "email_taken")
    assert (me(one)["email"], me(other)["email"]) == (email, other.email)


def test_verifying_and_registering_an_address_at_once_gives_it_to_one(api: Api) -> None:
    for _ in range(3):
        device, email = api.register(), new_email()
        change(device, email)
        code = verification_code(email)
        body = {"email": email, "password": PASSWORD}
        with ThreadPoolExecutor(2) as pool:
            verified = pool.submit(answer_with, api, email, code)
            registered = pool.submit(api.post, "/auth/register", body)
        statuses = (verified.result().status_code, registered.result().status_code)
        assert statuses in ((204, 409), (409, 201))
        assert (me(device)["email"] == email) is (statuses == (204, 409))


def test_a_required_verification_refuses_logins_until_then(
    application: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_VERIFIED_EMAIL", "true")
    api = Api(embedded.create_app())
    device = api.register()
    assert device.pull_raw().status_code == 200
    for password, status, code in (
        ("wrong " + PASSWORD, 401, "invalid_credentials"),
        (PASSWORD, 403, "email_not_verified"),
    ):
        refused = api.post("/auth/login", {"email": device.email, "password": password})
        assert_problem(refused, status, code)
    verify(device)
    api.login(device.email)


def test_verification_is_not_required_of_a_server_without_mail(
    application: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        services.auth.create_app(REQUIRE_VERIFIED_EMAIL=True, MAIL_URL="")
    assert "REQUIRE_VERIFIED_EMAIL" in capsys.readouterr().err


def test_without_mail_a_changed_address_takes_effect_at_once(application: object) -> None:
    api = Api(embedded.create_app(MAIL_URL=""))
    device, email = api.register(), new_email()
    changed = change(device, email).json
    assert (changed["email"], changed["pendingEmail"]) == (email, None)
    assert device.api.login(email).tokens["user"]["emailVerified"] is False
    for answer in (
        api.post("/auth/email/send-code", token=device.token),
        answer_with(api, email, "0" * 12),
    ):
        assert_problem(answer, 501, "mail_not_configured")
