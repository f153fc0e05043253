"""Accounts through the gateway, by services that have no more rights than they need."""

from typing import Any

import jwt
from flask import Flask

import services.sync
from tests.api import PASSWORD, new_email
from tests.conftest import Backend, on_servers, promote_to_admin
from tests.mails import CODE
from tests.servers.issuer import Issuer
from tests.servers.stacks import Stack, fetch
from tests.sharing import invite, join, leave, make_space, members_of
from tests.stack.http_api import HttpApi


def newest(stack: Stack, email: str) -> dict[str, Any]:
    mails = fetch(f"{stack.url.removesuffix('/v1')}/mail/messages.json")[2]
    mail: dict[str, Any] = next(mail for mail in mails if mail["to"] == email)
    return mail


#: SQLite knows no rights.
@on_servers
def test_each_service_has_the_rights_that_mail_takes(stack: Stack, users_service: Flask) -> None:
    api = HttpApi(stack.url)
    device, email = api.register(), new_email()
    body = {"email": email, "currentPassword": PASSWORD}
    for _ in range(2):
        # The second time there is a code to overwrite.
        assert api.patch("/users/me", body, token=device.token).status_code == 200
    [code] = CODE.findall(newest(stack, email)["text"])
    verified = api.post("/auth/email/verify", {"email": email, "code": code})
    assert verified.status_code == 204
    assert api.get("/users/me", token=device.token).json["email"] == email

    admin = api.register()
    promote_to_admin(users_service, admin.email)
    path = f"/users/{device.user_id}"
    for purpose in ("verify", "reset"):
        sent = api.post(f"{path}/send-code", {"purpose": purpose}, token=admin.token)
        assert sent.status_code == (202 if purpose == "verify" else 429)
    for what in ("lockout", "sessions"):
        assert api.delete(f"{path}/{what}", token=admin.token).status_code == 204
    assert api.delete(path, token=admin.token).status_code == 204


@on_servers
def test_each_service_has_the_rights_that_spaces_take(stack: Stack, backend: Backend) -> None:
    api = HttpApi(stack.url)
    owner, guest, reader = (api.register() for _ in range(3))
    for device in (guest, reader):
        [code] = CODE.findall(newest(stack, device.email)["text"])
        verified = api.post("/auth/email/verify", {"email": device.email, "code": code})
        assert verified.status_code == 204
    space, other = make_space(owner), make_space(owner)
    invite(owner, space, guest.email)
    assert owner.email in newest(stack, guest.email)["text"]
    for device in (guest, reader):
        join(owner, space, device)
    path = f"/spaces/{space}"
    assert api.patch(path, {"name": "Hut"}, token=owner.token).status_code == 200
    role = api.patch(f"{path}/members/{reader.user_id}", {"role": "reader"}, token=owner.token)
    assert role.status_code == 200
    leave(space, guest)
    join(owner, space, guest)
    declined = invite(owner, other, guest.email)
    answer = api.post(f"/spaces/invitations/{declined}/decline", token=guest.token)
    assert answer.status_code == 204
    withdrawn = invite(owner, other, guest.email)
    answer = api.delete(f"/spaces/{other}/invitations/{withdrawn}", token=owner.token)
    assert answer.status_code == 204

    exported = api.get("/users/me/export", token=owner.token).json
    assert [s["name"] for s in exported["spaces"]] == ["Hut", "Home"]
    gone = api.delete("/users/me", {"password": PASSWORD}, token=owner.token)
    assert gone.status_code == 204
    assert members_of(guest, space) == {guest.user_id: "owner", reader.user_id: "reader"}
    leave(space, reader)
    assert api.delete(path, token=guest.token).status_code == 204

    assert backend.database
    with backend.database.root() as root, root.cursor() as cursor:
        for statement in (
            "UPDATE app.members SET left_tick = 1 WHERE has_left AND space_id = %s",
            "UPDATE app.spaces SET deleted_at = 1 WHERE id = %s",
        ):
            cursor.execute(statement, (space,))
        cursor.execute("INSERT INTO app.resends VALUES (%s, 'projects', 'a', 1)", (guest.user_id,))
        cursor.execute(
            "INSERT INTO app.projects (user_id, id, name, created_at, updated_at, created_at_ms,"
            " updated_at_ms, is_deleted, created_by) VALUES (%s, 'a', '', 0, 0, 1, 1, 1, '')",
            (space,),
        )
        root.commit()
    app = services.sync.create_app(DATABASE_URL=backend.database.url("purge", "app"))
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output
    assert "2 members, 1 resends, 1 spaces" in result.output


@on_servers
def test_each_service_has_the_rights_that_sign_in_by_provider_takes(stack: Stack) -> None:
    api = HttpApi(stack.url)
    [provider] = api.get("/auth/methods").json["providers"]
    email, name = new_email(), provider["name"]
    with Issuer(int(provider["issuer"].rpartition(":")[2])) as issuer:
        body = {"provider": name, "idToken": issuer.token("ann", email=email)}
        for status in (201, 200):
            answer = api.post("/auth/oidc", body)
            assert answer.status_code == status, answer.text
        token = answer.json["accessToken"]
        other = body | {"idToken": issuer.token("ann at work", email=new_email())}
        assert api.post("/users/me/identities", other, token=token).status_code == 201
        exported = api.get("/users/me/export", token=token).json
        assert [one["provider"] for one in exported["identities"]] == [name, name]
        fresh = {"provider": name, "idToken": issuer.token("ann"), "newPassword": PASSWORD}
        assert api.put("/users/me/password", fresh, token=token).status_code == 204
        assert api.delete(f"/users/me/identities/{name}", token=token).status_code == 204
        # By a reset of an account that was never verified, too.
        mine = {"idToken": issuer.token("bea", email=new_email(), email_verified=False)}
        assert api.post("/auth/oidc", body | mine).status_code == 201
        forgotten = jwt.decode(mine["idToken"], options={"verify_signature": False})["email"]
        assert api.post("/auth/password/forgot", {"email": forgotten}).status_code == 202
        [code] = CODE.findall(newest(stack, forgotten)["text"])
        reset = {"email": forgotten, "code": code, "newPassword": PASSWORD}
        assert api.post("/auth/password/reset", reset).status_code == 204
        assert api.post("/auth/oidc", body | mine).status_code == 409
