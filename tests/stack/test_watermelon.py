"""The real WatermelonDB client with the snippet of its documentation, against real servers."""

from typing import Any

from tests.api import PASSWORD, new_email
from tests.servers.stacks import Server, fetch
from tests.watermelon import Devices, WatermelonDevice

Rows = dict[str, dict[str, dict[str, Any]]]


def sign_in(server: Server, email: str, *, register: bool = False) -> str:
    status, _, answer = fetch(
        f"{server.url}/auth/{'register' if register else 'login'}",
        {"email": email, "password": PASSWORD},
    )
    assert status in (200, 201), answer
    token: str = answer["accessToken"]
    return token


def synced(rows: Rows) -> Rows:
    """The rows without WatermelonDB's own bookkeeping, after checking that nothing is left to push."""
    for table in rows.values():
        assert {row["_status"] for row in table.values()} <= {"synced"}
    return {
        table: {
            id_: {c: v for c, v in row.items() if c not in ("_status", "_changed")}
            for id_, row in records.items()
        }
        for table, records in rows.items()
    }


def task(number: int, project: str) -> dict[str, Any]:
    return {
        "title": f"Task {number} – ünïcode 🍉 \u0000 'quoted' \\",
        "description": None if number % 2 else "long " * 20,
        "is_completed": number % 3 == 0,
        "project_id": project,
        "created_at": 1_700_000_000_000 + number,
        "updated_at": 1_700_000_000_000 + number,
    }


def test_two_devices_of_one_user_end_equal(server: Server, devices: Devices) -> None:
    email = new_email()
    phone = WatermelonDevice(devices, "phone", sign_in(server, email, register=True))
    tablet = WatermelonDevice(devices, "tablet", sign_in(server, email))

    phone.write(*(("create", "projects", f"p{n}", {"name": f"Project {n}"}) for n in range(3)))
    phone.write(*(("create", "tasks", f"t{n}", task(n, f"p{n % 3}")) for n in range(2000)))
    phone.sync()
    tablet.sync()
    assert synced(tablet.dump()) == synced(phone.dump())
    assert len(tablet.dump()["tasks"]) == 2000

    tablet.write(
        ("update", "projects", "p0", {"name": "Renamed"}),
        ("update", "tasks", "t0", {"title": "Done", "is_completed": True}),
        ("delete", "tasks", "t1"),
        ("delete", "projects", "p2"),
        ("create", "tasks", "new", task(1, "p1")),
    )
    # Not yet synced, and of another column: both edits are to stand.
    phone.write(("update", "tasks", "t0", {"description": "from the phone"}))
    tablet.sync()
    phone.sync()
    tablet.sync()
    end = synced(phone.dump())
    assert synced(tablet.dump()) == end
    assert end["projects"]["p0"]["name"] == "Renamed"
    assert end["tasks"]["t0"] == task(0, "p0") | {
        "id": "t0",
        "title": "Done",
        "is_completed": True,
        "description": "from the phone",
    }
    assert "t1" not in end["tasks"]
    assert "new" in end["tasks"]
    assert "p2" not in end["projects"]
    assert not [id_ for id_, row in end["tasks"].items() if row["project_id"] == "p2"]

    newcomer = WatermelonDevice(devices, "newcomer", sign_in(server, email))
    newcomer.sync()
    assert synced(newcomer.dump()) == end


def test_what_is_created_synced_deleted_and_synced_stays_deleted(
    server: Server, devices: Devices
) -> None:
    token = sign_in(server, new_email(), register=True)
    phone = WatermelonDevice(devices, "phone", token)
    phone.write(("create", "projects", "p", {"name": "Short-lived"}))
    phone.sync()
    phone.write(("delete", "projects", "p"))
    phone.sync()
    phone.sync()
    assert phone.dump() == {"projects": {}, "tasks": {}}
    assert phone.call("unsynced") is False


def test_two_users_with_the_same_ids_never_meet(server: Server, devices: Devices) -> None:
    ann = WatermelonDevice(devices, "ann", sign_in(server, new_email(), register=True))
    bob = WatermelonDevice(devices, "bob", sign_in(server, new_email(), register=True))
    ann.write(("create", "projects", "same", {"name": "Ann's"}))
    ann.sync()
    bob.write(("create", "projects", "same", {"name": "Bob's"}))
    bob.sync()
    ann.sync()
    assert ann.dump()["projects"]["same"]["name"] == "Ann's"
    assert bob.dump()["projects"]["same"]["name"] == "Bob's"
