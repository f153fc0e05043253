"""The list of all spaces, for an app's own servers (docs/api.md, "The server's own hand")."""

from typing import Any

import pytest

from tests.api import Device, assert_problem
from tests.service import Service
from tests.sharing import join, leave, make_space
from tests.statements import statements


def walk(service: Service, limit: int) -> list[dict[str, Any]]:
    """All spaces, page by page."""
    found: list[dict[str, Any]] = []
    while page := service.get("/spaces", after=found[-1]["id"] if found else None, limit=limit)[
        "spaces"
    ]:
        assert len(page) <= limit
        found += page
    return found


def test_every_space_is_listed_once_in_the_order_of_ids_with_its_members(
    service: Service, device: Device
) -> None:
    other = device.api.register()
    shared = [make_space(device, f"Space {n}") for n in range(3)]
    join(device, shared[1], other)
    for limit in (3, 200):
        found = walk(service, limit)
        ids = [space["id"] for space in found]
        assert ids == sorted(set(ids))
        by_id = {space["id"]: space for space in found}
        for user in (device, other):
            own = {"id": user.user_id, "kind": "personal", "members": [user.user_id]}
            assert by_id[user.user_id] == own
        assert by_id[shared[0]] == {"id": shared[0], "kind": "shared", "members": [device.user_id]}
        assert by_id[shared[1]]["members"] == sorted([device.user_id, other.user_id])


def test_who_has_left_is_no_member_and_what_is_deleted_is_no_space(
    service: Service, admin: Device
) -> None:
    device, other = admin.api.register(), admin.api.register()
    space, gone = make_space(device), make_space(device)
    join(device, space, other)
    leave(space, other)
    assert device.api.delete(f"/spaces/{gone}", token=device.token).status_code == 204
    found = {one["id"]: one for one in walk(service, 200)}
    assert found[space]["members"] == [device.user_id]
    assert gone not in found
    # A deactivated account is there, with its rows; a deleted one is not.
    path = f"/users/{device.user_id}"
    assert admin.api.patch(path, {"isActive": False}, token=admin.token).status_code == 200
    assert device.user_id in {one["id"] for one in walk(service, 200)}
    assert admin.api.delete(path, token=admin.token).status_code == 204
    found = {one["id"]: one for one in walk(service, 200)}
    assert device.user_id not in found and space not in found


def test_a_page_takes_two_statements_whatever_its_size(service: Service, device: Device) -> None:
    for _ in range(3):
        make_space(device)
    walk(service, 200)
    for limit in (5, 200):
        with statements() as counted:
            service.get("/spaces", limit=limit)
        assert counted["SELECT"] <= 3


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "9" * 5000},
        {"limit": "many"},
        {"after": "x" * 37},
        {"after": "é"},
        {"after": "a\n"},
        {"after": "a b"},
        {"after": "\0"},
    ],
    ids=lambda query: str(query)[:30],
)
def test_a_parameter_that_has_no_meaning_is_400(service: Service, query: dict[str, str]) -> None:
    refused = service.call("GET", "/spaces", **query)
    problem = assert_problem(refused, 400, "invalid_parameter")
    assert list(problem["errors"]) == list(query)
