"""Spaces as apps make them, and how users come into them."""

from typing import Any

from tests.api import Device
from tests.mails import verify


def make_space(owner: Device, name: str = "Home") -> str:
    answer = owner.api.post("/spaces", {"name": name}, token=owner.token)
    assert answer.status_code == 201, answer.text
    id_: str = answer.json["id"]
    return id_


def invite(owner: Device, space: str, email: str, role: str = "writer") -> str:
    body = {"email": email, "role": role}
    answer = owner.api.post(f"/spaces/{space}/invitations", body, token=owner.token)
    assert answer.status_code == 201, answer.text
    id_: str = answer.json["id"]
    return id_


def join(owner: Device, space: str, device: Device, role: str = "writer") -> None:
    """Let a device's user, whose e-mail is verified with it, into a space."""
    invitation = invite(owner, space, device.email, role)
    if not device.api.get("/users/me", token=device.token).json["emailVerified"]:
        verify(device)
    path = f"/spaces/invitations/{invitation}/accept"
    answer = device.api.post(path, token=device.token)
    assert answer.status_code == 200, answer.text


def leave(space: str, device: Device) -> None:
    path = f"/spaces/{space}/members/{device.user_id}"
    answer = device.api.delete(path, token=device.token)
    assert answer.status_code == 204, answer.text


def spaces_of(device: Device) -> dict[str, Any]:
    """The spaces that a device's user is in, by id."""
    answer = device.api.get("/spaces", token=device.token)
    assert answer.status_code == 200, answer.text
    return {space["id"]: space for space in answer.json["spaces"]}


def members_of(device: Device, space: str) -> dict[str, str]:
    """The role of each member of a space that the device's user is in."""
    answer = device.api.get(f"/spaces/{space}/members", token=device.token)
    assert answer.status_code == 200, answer.text
    return {member["userId"]: member["role"] for member in answer.json["members"]}
