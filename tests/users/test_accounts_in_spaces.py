"""What becomes of spaces when accounts go, and what their owners export (docs/api.md, "Spaces")."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from shared.database.base import db
from shared.models import Member, Space, User
from shared.models.demo import Project
from tests.api import PASSWORD, Api, Device, assert_problem, new_id, project
from tests.sharing import invite, join, leave, make_space, members_of, spaces_of


def delete_account(device: Device) -> None:
    answer = device.api.delete("/users/me", {"password": PASSWORD}, token=device.token)
    assert answer.status_code == 204, answer.text


def delete_by_admin(admin: Device, device: Device) -> None:
    answer = admin.api.delete(f"/users/{device.user_id}", token=admin.token)
    assert answer.status_code == 204, answer.text


def is_deleted(app: Flask, space: str) -> bool:
    with app.app_context(), db.session.begin():
        return db.session.get(Space, space).deleted_at is not None


def clock_of(app: Flask, device: Device) -> int:
    with app.app_context(), db.session.begin():
        return db.session.scalar(select(User.last_modified_at).where(User.id == device.user_id))


def export_of(device: Device) -> Any:
    answer = device.api.get("/users/me/export", token=device.token)
    assert answer.status_code == 200, answer.text
    return answer.json


@pytest.mark.parametrize("by", ["self", "admin"])
def test_a_space_whose_last_owner_goes_passes_to_its_oldest_writer(
    api: Api, admin: Device, users_service: Flask, by: str
) -> None:
    owner, reader, first, second = (api.register() for _ in range(4))
    space = make_space(owner)
    for device, role in ((reader, "reader"), (first, "writer"), (second, "writer")):
        join(owner, space, device, role)
    delete_account(owner) if by == "self" else delete_by_admin(admin, owner)
    assert members_of(reader, space) == {
        reader.user_id: "reader",
        first.user_id: "owner",
        second.user_id: "writer",
    }
    assert not is_deleted(users_service, space)


def test_a_writer_who_came_back_is_as_old_as_their_return(api: Api, device: Device) -> None:
    first, second = api.register(), api.register()
    space = make_space(device)
    for guest in (first, second):
        join(device, space, guest, "writer")
    leave(space, first)
    join(device, space, first, "writer")
    delete_account(device)
    assert members_of(first, space)[second.user_id] == "owner"


def test_a_space_with_another_owner_goes_on_as_it_was(api: Api, device: Device) -> None:
    other, writer = api.register(), api.register()
    space = make_space(device)
    join(device, space, other, "owner")
    join(device, space, writer, "writer")
    delete_account(device)
    assert members_of(writer, space) == {other.user_id: "owner", writer.user_id: "writer"}


def test_a_space_that_nobody_can_take_over_is_deleted_with_a_tick_for_its_readers(
    api: Api, device: Device, users_service: Flask
) -> None:
    reader, former = api.register(), api.register()
    space, alone = make_space(device), make_space(device)
    join(device, space, reader, "reader")
    join(device, space, former, "writer")
    leave(space, former)
    before = clock_of(users_service, reader), clock_of(users_service, former)
    delete_account(device)
    assert is_deleted(users_service, space) and is_deleted(users_service, alone)
    assert spaces_of(reader) == {}
    after = clock_of(users_service, reader)
    assert after > before[0]
    assert clock_of(users_service, former) == before[1]
    with users_service.app_context(), db.session.begin():
        left = db.session.get(Member, (reader.user_id, space))
        assert left.has_left and left.left_tick == after
        assert db.session.get(Space, space).last_tick == after
    assert reader.pull()["timestamp"] == after


def test_members_who_go_leave_nothing_in_a_space(api: Api, device: Device) -> None:
    writer = api.register()
    space = make_space(device)
    join(device, space, writer)
    delete_account(writer)
    assert members_of(device, space) == {device.user_id: "owner"}
    assert spaces_of(device)[space]["members"] == 1


def test_an_invitation_outlives_the_account_that_had_its_address(api: Api, device: Device) -> None:
    space, guest = make_space(device), api.register()
    invitation = invite(device, space, guest.email)
    delete_account(guest)
    path = f"/spaces/{space}/invitations"
    [still] = device.api.get(path, token=device.token).json["invitations"]
    assert still["id"] == invitation
    again = api.register(guest.email)
    answer = again.api.get("/spaces/invitations", token=again.token)
    # Not verified, the address may be anybody's.
    assert answer.json == {"invitations": []}


def test_owners_who_go_while_others_join_and_leave_end_well(api: Api, users_service: Flask) -> None:
    owners = [api.register() for _ in range(4)]
    guests = [api.register() for _ in range(2)]
    spaces = [make_space(owner) for owner in owners]
    for space, owner, other in zip(spaces, owners, owners[1:] + owners[:1], strict=True):
        join(owner, space, other, "writer")
        for guest in guests:
            join(owner, space, guest, "writer")

    def go(device: Device) -> None:
        if device in owners:
            delete_account(device)
            return
        for space in spaces:
            path = f"/spaces/{space}/members/{device.user_id}"
            answer = device.api.delete(path, token=device.token)
            # The last writer may have come to own it.
            assert answer.status_code in (204, 409), answer.text

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(go, owners + guests))
    with users_service.app_context(), db.session.begin():
        for space in spaces:
            roles = db.session.scalars(
                select(Member.role).where(Member.space_id == space, ~Member.has_left)
            ).all()
            is_over = db.session.get(Space, space).deleted_at is not None
            assert ("owner" in roles) != is_over, roles


def test_a_wrong_password_deletes_nothing(api: Api, device: Device) -> None:
    space = make_space(device)
    answer = device.api.delete("/users/me", {"password": "a wrong one"}, token=device.token)
    assert_problem(answer, 403, "wrong_password")
    assert space in spaces_of(device)


def add_row(app: Flask, space: str, *, is_deleted: bool = False) -> str:
    id_ = new_id()
    with app.app_context(), db.session.begin():
        values = {"name": "Shared", "created_at": 0, "updated_at": 0, "created_by": "somebody"}
        ticks = {"created_at_ms": 1, "updated_at_ms": 1, "is_deleted": is_deleted}
        db.session.add(Project(user_id=space, id=id_, description=None, **values, **ticks))
    return id_


def test_the_export_has_the_spaces_and_the_rows_of_those_that_one_owns(
    api: Api, device: Device, users_service: Flask
) -> None:
    assert "spaces" not in export_of(device)
    guest, reader = api.register(), api.register()
    space, other, left = (make_space(device, name) for name in ("Home", "Club", "Left"))
    for name in (space, other, left):
        join(device, name, guest, "owner" if name == other else "writer")
    join(device, space, reader, "reader")
    leave(left, guest)
    p = project()
    guest.push(projects={"created": [p]})
    own = add_row(users_service, space), add_row(users_service, other, is_deleted=True)
    add_row(users_service, left)

    export = export_of(guest)
    assert all(member.pop("joinedAt") for member in export["spaces"])
    assert export["spaces"] == [
        {"id": space, "name": "Home", "role": "writer"},
        {"id": other, "name": "Club", "role": "owner"},
    ]
    rows = {row["id"]: row for row in export["records"]["projects"]}
    assert rows.keys() == {p["id"], own[1]}
    assert (rows[p["id"]]["_deleted"], rows[own[1]]["_deleted"]) == (False, True)
    assert (rows[p["id"]]["space_id"], rows[own[1]]["space_id"]) == (None, other)
    assert export["records"]["tasks"] == []
    assert len(export_of(device)["records"]["projects"]) == 3
    assert export_of(reader)["records"] == {"projects": [], "tasks": []}
