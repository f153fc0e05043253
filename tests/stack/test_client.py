"""The package of client/ in real WatermelonDB devices."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.api import PASSWORD, new_email
from tests.conftest import CI
from tests.mails import CODE
from tests.servers.stacks import Embedded, Server, fetch
from tests.stack.test_watermelon import synced, task
from tests.watermelon import Devices, WatermelonDevice


class Account:
    """An account, and devices that use the helper."""

    def __init__(self, server: Server, devices: Devices) -> None:
        self.server, self.devices = server, devices
        self.credentials = {"email": new_email(), "password": PASSWORD}
        status, _, self.first = fetch(f"{server.url}/auth/register", self.credentials)
        assert status == 201

    @property
    def email(self) -> str:
        return self.credentials["email"]

    def verify(self) -> None:
        """Verify the e-mail with the code of the mail, where the server sends any."""
        if fetch(f"{self.server.url}/auth/methods")[2]["mail"]:
            mails = fetch(f"{self.server.url.removesuffix('/v1')}/mail/messages.json")[2]
            texts = [mail["text"] for mail in mails if mail["to"] == self.email]
            [code] = [code for text in texts for code in CODE.findall(text)]
            body = {"email": self.email, "code": code}
            assert fetch(f"{self.server.url}/auth/email/verify", body)[0] == 204

    def device(self, name: str, page_size: int = 2000) -> WatermelonDevice:
        status, _, tokens = fetch(f"{self.server.url}/auth/login", self.credentials)
        assert status == 200
        device = WatermelonDevice(self.devices, name, "unused")
        device.call("useBackend", tokens, page_size)
        return device


@pytest.fixture
def account(server: Server, devices: Devices) -> Account:
    return Account(server, devices)


def pulled_rows(traffic: list[tuple[str, int, str]]) -> list[int]:
    """Rows of each pull's answer."""
    return [
        sum(len(b) for t in json.loads(text)["changes"].values() for b in t.values())
        for path, _, text in traffic
        if path.endswith("/sync/pull")
    ]


def test_a_first_sync_is_drained_page_by_page(account: Account) -> None:
    phone, tablet = account.device("phone"), account.device("tablet", page_size=50)
    phone.write(("create", "projects", "p", {"name": "P"}))
    phone.write(*(("create", "tasks", f"t{n}", task(n, "p")) for n in range(220)))
    phone.sync()
    account.devices.traffic()
    tablet.sync()
    assert pulled_rows(account.devices.traffic()) == [50, 50, 50, 50, 21]
    assert synced(tablet.dump()) == synced(phone.dump())


def test_the_echo_of_a_push_is_not_pulled(account: Account) -> None:
    phone, tablet = account.device("phone"), account.device("tablet")
    phone.sync()
    phone.write(("create", "projects", "p", {"name": "P"}))
    phone.sync()
    account.devices.traffic()
    phone.sync()
    assert pulled_rows(account.devices.traffic()) == [0]
    tablet.sync()
    tablet.write(("update", "projects", "p", {"name": "Q"}))
    tablet.sync()
    phone.sync()
    assert phone.dump()["projects"]["p"]["name"] == "Q"


def test_many_calls_with_an_expired_token_refresh_it_once(account: Account) -> None:
    phone = account.device("phone")
    tokens = phone.call("state")["tokens"]
    phone.call("setTokens", tokens | {"accessToken": "not.valid.anymore"})
    # As many as one token may have at a time.
    profiles = phone.call("requestMany", "/users/me", 4)
    assert {p["id"] for p in profiles} == {account.first["user"]["id"]}
    paths = [path for path, _, _ in account.devices.traffic()]
    assert paths.count("/v1/auth/refresh") == 1
    phone.sync()
    assert phone.call("state")["signedOut"] == 0


def test_a_lost_answer_to_a_refresh_logs_nobody_out(account: Account) -> None:
    phone = account.device("phone")
    tokens = phone.call("state")["tokens"]
    phone.call("setTokens", tokens | {"accessToken": "not.valid.anymore"})
    account.devices.weather(["ok", "lose"])
    with pytest.raises(RuntimeError, match="fetch failed"):
        phone.call("requestMany", "/users/me", 1)
    phone.sync()
    assert phone.call("state")["signedOut"] == 0


def test_an_ended_session_signs_out_and_wipes_nothing(account: Account) -> None:
    phone = account.device("phone")
    phone.write(("create", "projects", "p", {"name": "Not pushed yet"}))
    token = phone.call("state")["tokens"]["accessToken"]
    fetch(f"{account.server.url}/auth/logout-all", token=token, method="POST")
    with pytest.raises(RuntimeError):
        phone.sync()
    assert phone.call("state") == {"tokens": None, "signedOut": 1}
    assert phone.dump()["projects"]["p"]["name"] == "Not pushed yet"
    assert phone.call("unsynced") is True
    _, _, tokens = fetch(f"{account.server.url}/auth/login", account.credentials)
    phone.call("setTokens", tokens)
    phone.sync()
    assert phone.call("unsynced") is False


def test_logging_out_ends_the_session_and_keeps_the_data(account: Account) -> None:
    phone = account.device("phone")
    phone.write(("create", "projects", "p", {"name": "P"}))
    refresh = phone.call("state")["tokens"]["refreshToken"]
    phone.call("logout")
    assert phone.dump()["projects"].keys() == {"p"}
    status, _, _ = fetch(f"{account.server.url}/auth/refresh", {"refreshToken": refresh})
    assert status == 401


def test_what_one_user_did_not_push_never_reaches_the_next(
    server: Server, devices: Devices, account: Account
) -> None:
    phone = account.device("phone")
    phone.sync()
    phone.write(("create", "projects", "secret", {"name": "Ann's"}))
    phone.call("logout")
    bob = Account(server, devices)
    phone.call("setTokens", bob.first)
    devices.traffic()
    with pytest.raises(RuntimeError, match="belongs to another account"):
        phone.sync()
    assert devices.traffic() == []
    tablet = bob.device("tablet")
    tablet.sync()
    assert tablet.dump()["projects"] == {}

    phone.call("reset")
    phone.sync()
    assert phone.dump()["projects"] == {}


def test_a_push_in_parts_keeps_children_with_their_parents(account: Account) -> None:
    phone, tablet = account.device("phone"), account.device("tablet")
    phone.call("useBackend", phone.call("state")["tokens"], 2000, 7)
    phone.write(*(("create", "tasks", f"t{n}", task(n, f"p{n % 5}")) for n in range(40)))
    phone.write(*(("create", "projects", f"p{n}", {"name": f"P{n}"}) for n in range(5)))
    account.devices.traffic()
    phone.sync()
    paths = [path for path, _, _ in account.devices.traffic()]
    assert paths.count("/v1/sync/push") == 7
    tablet.sync()
    phone.sync()
    assert synced(tablet.dump()) == synced(phone.dump())
    assert len(tablet.dump()["tasks"]) == 40


def share(owner: WatermelonDevice, bob: Account, device: WatermelonDevice, role: str) -> str:
    """Let a device's user into a new space of another's; return its id."""
    space: str = owner.call("spaces", "create", "Our garden")["id"]
    owner.call("spaces", "invite", space, bob.email, role)
    bob.verify()
    [invitation] = device.call("spaces", "myInvitations")
    assert invitation["spaceName"] == "Our garden"
    assert device.call("spaces", "accept", invitation["id"])["id"] == space
    return space


@pytest.fixture
def bob(server: Server, devices: Devices) -> Account:
    return Account(server, devices)


def test_two_users_share_a_project_until_one_leaves(account: Account, bob: Account) -> None:
    phone, tablet = account.device("ann's phone"), bob.device("bob's tablet")
    phone.write(("create", "projects", "p", {"name": "Garden"}))
    phone.write(("create", "projects", "q", {"name": "Ann's own"}))
    phone.write(("create", "tasks", "t", task(1, "p")))
    phone.sync()
    tablet.sync()
    space = share(phone, bob, tablet, "writer")
    phone.write(("update", "projects", "p", {"space_id": space}))
    phone.sync()
    tablet.sync()
    assert tablet.dump()["projects"].keys() == {"p"}
    assert tablet.dump()["tasks"].keys() == {"t"}
    tablet.write(("update", "tasks", "t", {"title": "Water the melons"}))
    tablet.sync()
    phone.sync()
    assert phone.dump()["tasks"]["t"]["title"] == "Water the melons"
    members = phone.call("spaces", "members", space)
    assert [member["role"] for member in members] == ["owner", "writer"]
    tablet.call("spaces", "leave", space)
    tablet.sync()
    assert tablet.dump()["projects"] == {}
    assert tablet.dump()["tasks"] == {}
    assert tablet.call("spaces", "list") == []
    assert phone.dump()["projects"].keys() == {"p", "q"}


def test_a_space_is_renamed_its_roles_change_and_it_is_deleted(
    account: Account, bob: Account
) -> None:
    phone, tablet = account.device("ann's phone"), bob.device("bob's tablet")
    space = share(phone, bob, tablet, "reader")
    assert phone.call("spaces", "rename", space, "Home")["name"] == "Home"
    assert [one["role"] for one in tablet.call("spaces", "list")] == ["reader"]
    bobs = bob.first["user"]["id"]
    assert phone.call("spaces", "setRole", space, bobs, "writer")["role"] == "writer"
    phone.call("spaces", "remove", space, bobs)
    for _ in range(2):
        phone.call("spaces", "invite", space, bob.email, "reader")
    [invitation] = phone.call("spaces", "invitations", space)
    phone.call("spaces", "withdraw", space, invitation["id"])
    assert tablet.call("spaces", "myInvitations") == []
    declined = phone.call("spaces", "invite", space, bob.email, "reader")
    tablet.call("spaces", "decline", declined["id"])
    assert phone.call("spaces", "invitations", space) == []
    phone.call("spaces", "delete", space)
    assert phone.call("spaces", "list") == []


def test_what_a_reader_edits_is_put_back_and_told(account: Account, bob: Account) -> None:
    phone, tablet = account.device("ann's phone"), bob.device("bob's tablet")
    space = share(phone, bob, tablet, "reader")
    phone.write(("create", "projects", "p", {"name": "Garden", "space_id": space}))
    phone.sync()
    tablet.sync()
    tablet.write(("update", "projects", "p", {"name": "Mine now"}))
    tablet.write(("create", "projects", "own", {"name": "Bob's"}))
    tablet.write(("create", "projects", "new", {"name": "No", "space_id": space}))
    tablet.sync()
    told = {(one["id"], one["reason"]) for one in tablet.call("takeRefused")}
    assert told == {("p", "read_only"), ("new", "read_only")}
    tablet.sync()
    names = {id_: row["name"] for id_, row in tablet.dump()["projects"].items()}
    assert names == {"p": "Garden", "own": "Bob's"}
    assert tablet.call("unsynced") is False
    phone.sync()
    assert phone.dump()["projects"]["p"]["name"] == "Garden"


def test_spaces_of_another_account_than_the_databases_are_refused(
    account: Account, bob: Account, devices: Devices
) -> None:
    phone = account.device("phone")
    phone.sync()
    phone.call("setTokens", bob.first)
    devices.traffic()
    with pytest.raises(RuntimeError, match="belongs to another account"):
        phone.call("spaces", "create", "Bob's")
    assert devices.traffic() == []


def test_a_nudge_brings_what_another_user_pushes(
    account: Account, bob: Account, devices: Devices
) -> None:
    phone, tablet = account.device("ann's phone"), bob.device("bob's tablet")
    space = share(phone, bob, tablet, "writer")
    tablet.sync()
    tablet.call("live")
    devices.expect_sockets(1)
    # Another one of the same device takes its place.
    tablet.call("live")
    devices.expect_sockets(1)
    for name in ("garden", "yard"):
        phone.write(("create", "projects", name, {"name": name, "space_id": space}))
        phone.sync()
        tablet.call("comes", "projects", name, "name", name)
    tablet.call("unlive")
    devices.expect_sockets(0)


def test_in_the_background_there_is_no_socket_and_nothing_is_missed(
    account: Account, devices: Devices
) -> None:
    phone, tablet = account.device("phone"), account.device("tablet")
    tablet.sync()
    tablet.call("live")
    devices.expect_sockets(1)
    tablet.call("go", "background")
    devices.expect_sockets(0)
    phone.write(("create", "projects", "p", {"name": "Garden"}))
    phone.sync()
    tablet.call("go", "active")
    tablet.call("comes", "projects", "p", "name", "Garden")
    tablet.call("unlive")


def test_a_nudge_whose_sync_fails_comes_again(account: Account, devices: Devices) -> None:
    phone, tablet = account.device("phone"), account.device("tablet")
    tablet.sync()
    tablet.call("live")
    devices.expect_sockets(1)
    tablet.call("go", "background")
    devices.expect_sockets(0)
    phone.write(("create", "projects", "p", {"name": "Garden"}))
    phone.sync()
    devices.traffic()
    # All tries of the first pull.
    devices.weather(["drop"] * 3)
    tablet.call("go", "active")
    tablet.call("comes", "projects", "p", "name", "Garden")
    assert len([path for path, _, _ in devices.traffic() if path == "/v1/sync/pull"]) == 1
    tablet.call("unlive")


def test_a_socket_whose_token_is_turned_down_comes_back_with_the_next(
    account: Account, devices: Devices
) -> None:
    phone, tablet = account.device("phone"), account.device("tablet")
    tablet.sync()
    tokens = tablet.call("state")["tokens"]
    tablet.call("setTokens", tokens | {"accessToken": "not.valid.anymore"})
    tablet.call("live")
    phone.write(("create", "projects", "p", {"name": "Garden"}))
    phone.sync()
    tablet.call("comes", "projects", "p", "name", "Garden")
    paths = [path for path, _, _ in devices.traffic()]
    assert paths.count("/v1/auth/refresh") == 1
    tablet.call("unlive")


def test_who_is_signed_out_has_no_socket(account: Account, devices: Devices) -> None:
    phone, tablet = account.device("phone"), account.device("tablet")
    for device in (phone, tablet):
        device.sync()
        device.call("live")
    devices.expect_sockets(2)
    phone.call("logout")
    devices.expect_sockets(1)
    token = tablet.call("state")["tokens"]["accessToken"]
    fetch(f"{account.server.url}/auth/logout-all", token=token, method="POST")
    devices.expect_sockets(0)
    tablet.call("signsOut")
    assert tablet.call("state") == {"tokens": None, "signedOut": 1}


@pytest.mark.backends("embedded")
def test_a_socket_comes_back_after_the_server(watermelon_installed: None, tmp_path: Path) -> None:
    server = Embedded(tmp_path / "checkout")
    server.start()
    devices = Devices(server.url)
    ann = Account(server, devices)
    phone, tablet = ann.device("phone"), ann.device("tablet")
    tablet.sync()
    tablet.call("live")
    devices.expect_sockets(1)
    server.stop()
    devices.expect_sockets(0)
    server.start()
    phone.write(("create", "projects", "p", {"name": "Garden"}))
    phone.sync()
    tablet.call("comes", "projects", "p", "name", "Garden")
    devices.close()
    server.stop()


#: New ones in each run, the same in all its workers.
SEEDS = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).sample(range(10**6), 2)


@pytest.mark.parametrize("seed", [1, 2] if CI else SEEDS)
def test_devices_converge_in_bad_weather(account: Account, seed: int) -> None:
    """The seed is the parameter: a failing run is repeated with it."""
    chance = random.Random(seed)
    devices = [account.device(f"device {n}", page_size=7) for n in range(3)]
    for serial in range(40):
        device = chance.choice(devices)
        rows: Any = device.dump()
        projects, tasks = sorted(rows["projects"]), sorted(rows["tasks"])
        kind = chance.random()
        if kind < 0.2 or not projects:
            device.write(("create", "projects", f"p{serial}", {"name": f"P{serial}"}))
        elif kind < 0.5:
            parent = chance.choice(projects)
            device.write(("create", "tasks", f"t{serial}", task(serial, parent)))
        elif kind < 0.7 and tasks:
            column = chance.choice(["title", "description"])
            id_ = chance.choice(tasks)
            device.write(("update", "tasks", id_, {column: f"edit {serial}"}))
        elif kind < 0.75:
            device.write(("delete", "projects", chance.choice(projects)))
        elif kind < 0.85 and tasks:
            device.write(("delete", "tasks", chance.choice(tasks)))
        if chance.random() < 0.5:
            fates = ["ok", "ok", "drop", "lose", "twice", "slow"]
            account.devices.weather([chance.choice(fates) for _ in range(6)])
            try:
                chance.choice(devices).sync()
            except RuntimeError as error:
                assert "fetch failed" in str(error)  # noqa: PT017
            account.devices.weather([])
    for device in devices * 3:
        device.sync()
    newcomer = account.device("newcomer")
    newcomer.sync()
    for device in devices:
        assert synced(device.dump()) == synced(newcomer.dump())
