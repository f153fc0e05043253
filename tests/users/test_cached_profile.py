"""The copy of a profile in Redis, which holds a name and an e-mail (docs/accounts.md, "Revocation")."""

from collections.abc import Iterator
from typing import Any

import pytest

import services.users
import shared.redis
from tests.api import PASSWORD, Api, Device, new_email
from tests.conftest import Backend, on_servers, promote_to_admin

NAME = "Somebody's own name"

#: The embedded backend has no Redis.
pytestmark = on_servers


@pytest.fixture
def redis(backend: Backend) -> Iterator[Any]:
    assert backend.redis
    with backend.redis.client() as client:
        yield client


def kept(redis: Any, *texts: str) -> list[bytes]:
    """The keys whose name or value holds one of `texts`."""
    found = []
    for key in redis.scan_iter("*"):
        value = redis.get(key) if redis.type(key) == b"string" else b""
        if any(text.encode() in key + value for text in texts):
            found.append(key)
    return found


def read(device: Device) -> Any:
    return device.api.get("/users/me", token=device.token).json


def change(device: Device, **changes: Any) -> None:
    body = changes | {"currentPassword": PASSWORD}
    assert device.api.patch("/users/me", body, token=device.token).status_code == 200


def test_what_was_copied_is_gone_with_the_next_change(device: Device, redis: Any) -> None:
    old, new = device.email, new_email()
    read(device)
    assert kept(redis, old) == [f"profile:{device.user_id}".encode()]
    change(device, name=NAME, email=new)
    assert kept(redis, old, new, NAME + device.user_id) == []
    assert read(device)["name"] == NAME
    assert kept(redis, old) == []
    assert kept(redis, new) == [f"profile:{device.user_id}".encode()]


@pytest.mark.parametrize("by", ["themselves", "an administrator"])
def test_a_deleted_account_leaves_neither_name_nor_email(
    device: Device, redis: Any, by: str
) -> None:
    name = f"{NAME} {device.user_id}"
    emails = [device.email]
    for _ in range(3):
        read(device)
        emails.append(new_email())
        change(device, name=name, email=emails[-1])
        read(device)
    assert kept(redis, *emails, name, device.user_id) != []
    if by == "themselves":
        gone = device.api.delete("/users/me", {"password": PASSWORD}, token=device.token)
    else:
        admin = device.api.register()
        promote_to_admin(admin.email)
        gone = device.api.delete(f"/users/{device.user_id}", token=admin.token)
    assert gone.status_code == 204
    assert kept(redis, *emails, name, device.user_id) == []


def test_every_change_by_others_drops_the_copy(device: Device, redis: Any) -> None:
    read(device)
    promote_to_admin(device.email)
    assert kept(redis, device.email) == []
    assert read(device)["role"] == "admin"
    other = device.api.register()
    read(other)
    path = f"/users/{other.user_id}"
    changed = device.api.patch(path, {"isActive": False}, token=device.token)
    assert changed.status_code == 200
    assert kept(redis, other.email) == []


@pytest.mark.parametrize("end", ["change", "deletion"])
def test_a_reader_that_is_overtaken_leaves_no_copy(
    device: Device, redis: Any, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = shared.redis.put

    def late(*arguments: Any) -> bool:
        monkeypatch.undo()
        overtaking = Device(Api(services.users.create_app()), device.email, device.tokens)
        if end == "change":
            change(overtaking, email=new_email())
        else:
            body = {"password": PASSWORD}
            overtaking.api.delete("/users/me", body, token=device.token)
        return put(*arguments)

    monkeypatch.setattr(shared.redis, "put", late)
    assert read(device)["email"] == device.email
    assert kept(redis, device.email) == []
