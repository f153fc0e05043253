"""`make up-native`: the whole stack on this machine, watched, scaled, restarted, backed up."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path

import pymysql
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from deploy.local.cli import MAX_INSTANCES, connections
from deploy.local.machine import PARTS
from tests.api import Device, assert_problem, changes, project, task, wire
from tests.conftest import NewPlace
from tests.servers import processes
from tests.servers.checkout import Checkout, readable_by_others
from tests.servers.receiver import Receiver, webhooks_file
from tests.servers.stacks import fetch, outside
from tests.stack.load import eventually, load
from tests.stack.test_make_run import ODD

pytestmark = pytest.mark.backends("native")


@pytest.fixture
def device(checkout: Checkout) -> Device:
    return checkout.api.register()


def test_up_again_changes_nothing(checkout: Checkout, device: Device) -> None:
    before = checkout.pids()
    assert f"Already running: http://localhost:{checkout.port}/v1" in checkout.run("up-native")
    assert checkout.pids() == before


def test_a_port_in_use_is_a_one_line_error(checkout: Checkout, new_place: NewPlace) -> None:
    other = Checkout(new_place() / "other")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", other.port))
        taken.listen()
        said = other.run("up-native", check=False)
    assert said.startswith(f"Error: Cannot serve on 127.0.0.1:{other.port}: ")
    assert said.count("\n") == 1


def test_mails_are_shown_and_users_helped(checkout: Checkout, device: Device) -> None:
    mails = fetch(f"http://127.0.0.1:{checkout.port}/mail/messages.json")[2]
    assert device.email in [mail["to"] for mail in mails]
    assert "verify is done" in checkout.run("flask", "users", "help-user", "verify", device.email)
    assert device.api.get("/users/me", token=device.token).json["emailVerified"] is True
    said = checkout.run(
        *("flask", "users", "help-user", "unlock", "nobody@example.org"), check=False
    )
    assert "There is no account with this e-mail." in said


def test_a_command_waits_for_a_start_or_a_restore_that_is_under_way(checkout: Checkout) -> None:
    command = [sys.executable, "-m", "deploy.local.cli", "flask", "sync", "service-keys"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with (checkout.local / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen(command, cwd=checkout.directory, env=outside(), **pipes) as process:
            assert process.stderr.readline() == "Waiting for another command to end\n"
            assert process.poll() is None
            fcntl.flock(held, fcntl.LOCK_UN)
            said = process.communicate()
    assert process.returncode == 0, said


def test_service_keys_are_made_and_ended_by_command(checkout: Checkout) -> None:
    url = f"http://127.0.0.1:{checkout.port}/v1/service/spaces"

    def key(scopes: str, *, check: bool = True) -> str:
        return checkout.run("flask", "sync", "service-key", "office", scopes, check=check)

    made = key("sync:read").split()[-1]
    assert fetch(url, token=made)[0] == 200
    assert "A living service key has this name." in key("sync:read", check=False)
    assert fetch(url.replace("spaces", "changes?space=nobody"), token=made)[0] == 404
    listed = checkout.run("flask", "sync", "service-keys")
    assert "office" in listed and made not in listed
    checkout.run("flask", "sync", "revoke-service-key", "office")
    assert fetch(url, token=made)[0] == 401
    assert fetch(url, token=key("sync:write").split()[-1])[0] == 403


def test_what_is_secret_is_for_its_owner_only(checkout: Checkout) -> None:
    for name in ("secrets.env", "keys/private.pem", "native/client.cnf", "native/ports.env"):
        assert (checkout.local / name).stat().st_mode & 0o077 == 0, name


def test_each_service_may_do_in_the_database_what_it_must_and_no_more(
    checkout: Checkout, device: Device
) -> None:
    def attempt(user: str, statement: str) -> None:
        with checkout.connect(user) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    attempt("auth", "SELECT password FROM users LIMIT 1")
    attempt("sync", "SELECT last_modified_at FROM users LIMIT 1 FOR UPDATE")
    attempt("users", "SELECT * FROM tasks LIMIT 1")
    attempt("webhooks", "SELECT * FROM webhook_outbox LIMIT 1")
    for user, statement in (
        ("auth", "SELECT * FROM tasks"),
        ("auth", "DELETE FROM users"),
        ("sync", "SELECT password FROM users"),
        ("sync", "UPDATE users SET role = 'admin'"),
        ("sync", "SELECT refresh_hash FROM sessions"),
        ("sync", "DELETE FROM tasks"),
        ("sync", "INSERT INTO service_keys (id) VALUES ('x')"),
        ("sync", "UPDATE service_keys SET scopes = 'sync:write'"),
        ("sync", "UPDATE service_keys SET revoked_at = NULL"),
        ("purge", "SELECT * FROM service_keys"),
        ("users", "SELECT * FROM service_keys"),
        ("users", "INSERT INTO tasks (id) VALUES ('x')"),
        ("purge", "UPDATE tasks SET title = ''"),
        ("users", "DROP TABLE tasks"),
        ("webhooks", "SELECT * FROM users"),
        ("webhooks", "SELECT * FROM tasks"),
        ("sync", "SELECT row_id FROM webhook_outbox"),
        ("sync", "DELETE FROM webhook_outbox"),
        ("users", "SELECT * FROM mysql.user"),
    ):
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            attempt(user, statement)


@pytest.mark.parametrize("part", ["sync", "redis", "database", "gateway"])
def test_a_part_that_is_killed_runs_again_and_loses_nothing(
    checkout: Checkout, device: Device, part: str
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    killed = checkout.pid(part)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: checkout.answers_anew(part, killed))
    eventually(lambda: device.pull_raw().status_code == 200)
    device.pull()
    assert device.rows["projects"] == {p["id"]: wire(p)}
    log = (checkout.local / "log/supervisor.log").read_text()
    assert re.search(rf"exited: {part}.*SIGKILL", log)


def test_instances_come_and_go_under_load_without_a_failed_request(
    checkout: Checkout, device: Device
) -> None:
    with load(device) as statuses:
        for number in (3, 1):
            said = checkout.run("scale", "sync", str(number))
            assert said.strip() == f"sync runs {number} times"
            assert len(checkout.native.instances("sync")) == number
    assert len(statuses) > 100
    assert set(statuses) == {200}, checkout.warnings()


def test_all_services_restart_under_load_without_a_failed_request(
    checkout: Checkout, device: Device
) -> None:
    with load(device) as statuses:
        checkout.run("restart")
    assert len(statuses) > 100
    assert set(statuses) == {200}, checkout.warnings()


@pytest.mark.parametrize(
    "arguments",
    [
        ("scale", "mysql", "2"),
        ("scale", "sync", "0"),
        ("scale", "sync", "17"),
        ("scale", "sync", "x"),
        ("scale", "", ""),
        ("restart", "mysql"),
        ("nonsense",),
    ],
)
def test_nonsense_is_refused_with_a_line_that_says_why(
    checkout: Checkout, arguments: tuple[str, ...]
) -> None:
    before = checkout.pids()
    said = checkout.run(*arguments, check=False)
    assert re.search(r"^Error: .+$", said, re.MULTILINE)
    assert "Traceback" not in said
    assert checkout.pids() == before


def test_a_command_that_cannot_be_carried_out_leaves_the_stack_running(
    checkout: Checkout, device: Device
) -> None:
    checkout.native.pause()
    try:
        said = checkout.run("restart", check=False)
        assert "The services are stopped: a restore" in said
    finally:
        checkout.native.resume()
    assert device.pull_raw().status_code == 200


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("services/sync/routes.py", "def ", "def (", "SyntaxError"),
        (
            "services/sync/routes.py",
            "from typing",
            "import nowhere\nfrom typing",
            "named 'nowhere'",
        ),
        (
            "deploy/development.env",
            "LOG_LEVEL=DEBUG",
            "LOG_LEVEL=LOUD",
            "LOG_LEVEL: Not a valid log level",
        ),
        (".local/gateway.env", "", "ADDRESS_RATE=quick", 'invalid rate "rate=quick'),
    ],
)
def test_new_processes_that_cannot_start_are_told_of_and_the_old_go_on(
    checkout: Checkout, device: Device, file: str, old: str, new: str, reason: str
) -> None:
    path = checkout.directory / file
    right = path.read_text() if path.exists() else None
    path.write_text((right or "").replace(old, new, 1))
    before = checkout.pids()
    try:
        with load(device) as statuses:
            said = checkout.run("restart", "sync", check=False)
    finally:
        path.write_text(right) if right is not None else path.unlink()
    assert reason in said
    assert "sync was not restarted; its old processes keep serving." in said
    assert checkout.pids() == before
    assert set(statuses) == {200}, checkout.warnings()


def test_more_instances_than_the_gateway_can_be_told_of_leave_all_as_it_was(
    checkout: Checkout, device: Device
) -> None:
    settings = checkout.local / "gateway.env"
    before, pids = settings.read_text() if settings.exists() else None, checkout.pids()
    settings.write_text("ADDRESS_RATE=quick\n")
    try:
        said = checkout.run("scale", "sync", "3", check=False)
    finally:
        settings.write_text(before) if before is not None else settings.unlink()
    assert 'invalid rate "rate=quick' in said
    assert checkout.pids() == pids
    assert device.pull_raw().status_code == 200


def test_a_restart_replaces_every_process_of_the_service(checkout: Checkout) -> None:
    before = checkout.pids()
    assert checkout.run("restart", "users") == "Restarted users\n"
    after = checkout.pids()
    changed = before.keys() ^ after.keys()
    assert len(changed) == 2
    assert all(name.startswith("users-") for name in changed)


def test_a_restart_applies_what_has_changed_in_the_settings_of_the_gateway(
    checkout: Checkout,
) -> None:
    settings = checkout.directory / ".local/gateway.env"
    before = settings.read_text() if settings.exists() else None
    url = f"{checkout.native.ports['URL']}/v1/auth/jwks.json"
    settings.write_text(f"{before or ''}\nCORS_ALLOWED_ORIGINS=https://app.example\n")
    try:
        assert "Access-Control-Allow-Origin" not in fetch(url, Origin="https://app.example")[1]
        checkout.run("restart", "users")
        headers = fetch(url, Origin="https://app.example")[1]
        assert headers["Access-Control-Allow-Origin"] == "https://app.example"
    finally:
        settings.write_text(before) if before is not None else settings.unlink()


def test_a_service_without_workers_serves_again(checkout: Checkout, device: Device) -> None:
    for pid in processes.children(checkout.pid("sync")):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: device.pull_raw().status_code == 200)


def test_the_database_carries_as_many_instances_as_may_be_run(checkout: Checkout) -> None:
    most = dict.fromkeys(PARTS, MAX_INSTANCES)
    with checkout.root() as root, root.cursor() as cursor:
        cursor.execute("SELECT @@max_connections")
        (allowed,) = cursor.fetchone() or (0,)
    assert allowed >= connections(most, checkout.native.processes)


def test_more_instances_than_the_database_carries_are_refused(checkout: Checkout) -> None:
    with checkout.root() as root, root.cursor() as cursor:
        cursor.execute("SELECT @@max_connections")
        (allowed,) = cursor.fetchone() or (0,)
        cursor.execute("SET GLOBAL max_connections = 151")
        try:
            said = checkout.run("scale", "sync", "6", check=False)
        finally:
            cursor.execute(f"SET GLOBAL max_connections = {allowed}")
    assert re.search(r"may take \d+ connections in all, and the database allows 151", said)
    assert len(checkout.native.instances("sync")) == 1


def test_a_part_that_ends_while_another_command_works_is_started_again(checkout: Checkout) -> None:
    scaling = subprocess.Popen(
        [sys.executable, "-m", "deploy.local.cli", "scale", "sync", "2"], cwd=checkout.directory
    )
    try:
        eventually(lambda: len(checkout.native.instances("sync")) == 2)
        scaling.send_signal(signal.SIGSTOP)
        killed = checkout.pid("redis")
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: checkout.pid("redis") not in (0, killed))
    finally:
        scaling.send_signal(signal.SIGCONT)
        assert scaling.wait(60) == 0
        checkout.run("scale", "sync", "1")


def test_whatever_is_said_to_the_supervisor_the_stack_goes_on(
    checkout: Checkout, device: Device
) -> None:
    address = ("127.0.0.1", int(checkout.native.ports["SUPERVISOR_PORT"]))
    for words in (
        b"",
        b"\0\xff\n",
        b"GET / HTTP/1.1\r\n",
        b"POST /RPC2 HTTP/1.1\r\n\r\n<methodCall>",
    ):
        with socket.create_connection(address) as connection:
            connection.sendall(words)
    with (
        xmlrpc.client.ServerProxy("http://{}:{}/RPC2".format(*address)) as stranger,
        pytest.raises(xmlrpc.client.ProtocolError, match="401"),
    ):
        stranger.supervisor.shutdown()
    with pytest.raises(xmlrpc.client.Fault, match="UNKNOWN_METHOD"):
        checkout.native.ask("nonsense")
    assert checkout.native.is_up()
    assert device.pull_raw().status_code == 200


def test_migrations_bring_the_rights_that_the_present_code_needs(checkout: Checkout) -> None:
    def read() -> None:
        with checkout.connect("auth") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM projects")

    rights = checkout.directory / "deploy/rights.toml"
    before = rights.read_text()
    with pytest.raises(pymysql.err.OperationalError, match="denied"):
        read()
    try:
        rights.write_text(before.replace('["restores"]', '["restores", "projects"]', 1))
        checkout.run("migrate")
        read()
    finally:
        rights.write_text(before)
        with checkout.root() as root, root.cursor() as cursor:
            cursor.execute("REVOKE SELECT ON app.projects FROM 'auth'@'%'")


def test_what_is_stored_is_closed_to_others(checkout: Checkout, device: Device) -> None:
    device.push(projects={"created": [project()]})
    checkout.run("backup")
    assert readable_by_others(checkout.local) <= {"native/gateway/site", "native/gateway/snippets"}


def test_a_restored_backup_gives_devices_all_that_it_has_and_no_revoked_session(
    checkout: Checkout, device: Device
) -> None:
    kept, lost = project(), project()
    early = device.another()
    device.push(projects={"created": [kept]})
    early.pull()
    checkout.run("backup")
    backup = max((checkout.local / "backups").glob("*.sql.gz"))
    assert backup.stat().st_mode & 0o077 == 0 or backup.parent.stat().st_mode & 0o077 == 0

    # Between backup and restore: one device pushes, another pulls, a third is logged out.
    late = device.another()
    device.push(projects={"created": [lost], "updated": [kept | {"name": "Lost"}]})
    late.pull()
    assert late.rows["projects"][kept["id"]]["name"] == "Lost"
    revoked = checkout.api.login(device.email)
    assert checkout.api.post("/auth/logout", token=revoked.token).status_code == 204

    assert "Restored." in checkout.run("restore", str(backup))
    for token in (device.token, early.token, late.token, revoked.token):
        assert_problem(checkout.api.get("/sync", token=token), 401, "unauthorized")

    again = checkout.api.login(device.email)
    newer = task(kept["id"])
    again.pull()
    again.push(tasks={"created": [newer]})
    # The clock has passed all that `late` saw; it is the interval that tells.
    late.tokens = again.another().tokens
    answer = late.pull()
    assert [row["id"] for row in answer["changes"]["projects"]["updated"]] == [kept["id"]]
    assert answer["changes"]["tasks"]["updated"] == [wire(newer)]
    assert late.rows["projects"][kept["id"]]["name"] == kept["name"]
    assert late.pull()["changes"]["tasks"] == {"created": [], "updated": [], "deleted": []}


@pytest.mark.parametrize("damage", [b"", b"no gzip", None])
def test_a_damaged_backup_changes_nothing(
    checkout: Checkout, device: Device, damage: bytes | None, tmp_path: Path
) -> None:
    backup = tmp_path / "damaged.sql.gz"
    if damage is None:
        checkout.run("backup")
        newest = max((checkout.local / "backups").glob("*.sql.gz"))
        damage = newest.read_bytes()[:-2000]
    backup.write_bytes(damage)
    said = checkout.run("restore", str(backup), check=False)
    assert "Nothing was changed." in said
    assert device.pull_raw().status_code == 200


def test_no_part_outlives_a_supervisor_that_is_killed_and_the_next_one_has_all_data(
    checkout: Checkout, device: Device
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    parts = checkout.pids().values()
    workers = {child for pid in parts for child in processes.children(pid)}
    os.kill(checkout.native.ask("getPID"), signal.SIGKILL)
    eventually(lambda: not any(is_alive(pid) for pid in {*parts, *workers}))
    assert "No native stack is running" in checkout.run("down-native")
    checkout.run("up-native")
    device.pull()
    assert device.rows["projects"] == {p["id"]: wire(p)}


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    return Path(f"/proc/{pid}/root").exists()


def test_any_path_umask_and_proxy_will_do(new_place: NewPlace) -> None:
    before = os.umask(0o077)
    try:
        # Closed to others as a whole, since it is copied under this umask.
        odd = Checkout(new_place() / ODD)
    finally:
        os.umask(before)
    proxy = {"http_proxy": "http://127.0.0.1:9", "TMPDIR": str(odd.directory / "tmp")}
    # Every address of the machine, IPv4 too.
    proxy |= {"HOST": "::"} if socket.has_dualstack_ipv6() else {}
    (odd.directory / "tmp").mkdir()
    assert "No native stack is running" in odd.run("down-native", **proxy)
    odd.run("up-native", **proxy)
    try:
        device = odd.api.register()
        # Larger than what nginx keeps in memory, both ways.
        device.push(projects={"created": [project(description="x" * 60_000) for _ in range(50)]})
        odd.run("restart", "sync", **proxy)
        odd.run("backup", **proxy)
        device.pull()
        assert len(device.rows["projects"]) == 50
        assert readable_by_others(odd.local) <= {"native/gateway/site", "native/gateway/snippets"}
    finally:
        odd.run("down-native", **proxy)
    assert not any((odd.directory / "tmp").iterdir())


def open_socket(checkout: Checkout, device: Device) -> ClientConnection:
    socket = connect(f"ws://127.0.0.1:{checkout.port}/v1/sync/live", proxy=None, legacy=True)
    socket.send(json.dumps({"accessToken": device.token}))
    json.loads(socket.recv(timeout=10))
    return socket


def test_sockets_hold_up_no_restart_and_are_served_by_every_instance(
    checkout: Checkout, device: Device
) -> None:
    checkout.run("scale", "live", "2")
    socket = open_socket(checkout, device)
    # Old workers of nginx wait for their sockets: these are sent away.
    began = time.monotonic()
    checkout.run("restart", "sync")
    assert time.monotonic() - began < 60
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=5)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1001
    sockets = [open_socket(checkout, device) for _ in range(4)]
    tick = device.another().push(projects={"created": [project()]})["timestamp"]
    assert {json.loads(one.recv(timeout=5))["timestamp"] for one in sockets} == {tick}
    checkout.run("restart", "live")
    for one in sockets:
        with pytest.raises(ConnectionClosed) as closed:
            one.recv(timeout=5)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1001
    open_socket(checkout, device).close()
    checkout.run("scale", "live", "1")


def test_receivers_of_webhooks_are_told_from_a_restart_on(
    checkout: Checkout, device: Device
) -> None:
    file = checkout.local / "webhooks/webhooks.toml"
    file.parent.mkdir()
    with Receiver() as receiver:
        file.write_text(webhooks_file(backoffice=receiver))
        for part in ("sync", "webhooks"):
            checkout.run("restart", part)
        try:
            assert len(checkout.native.instances("webhooks")) == 1
            p = project()
            device.push(projects={"created": [p]})
            eventually(lambda: [change["id"] for change in receiver.changes] == [p["id"]])
            killed = checkout.pid("webhooks")
            os.kill(killed, signal.SIGKILL)
            device.push(projects={"deleted": [p["id"]]})
            with checkout.root() as root, root.cursor() as cursor:
                # As if the half minute were over in which what it held may still be its.
                cursor.execute("UPDATE webhook_receivers SET held_until = 1, next_at = 0")
            # The next one tells again what the killed one had told, and had not noted as told.
            eventually(lambda: receiver.changes[-1]["kind"] == "deleted", seconds=60)
            assert checkout.pid("webhooks") not in (0, killed)
            before = checkout.pid("database")
            os.kill(before, signal.SIGKILL)
            eventually(lambda: checkout.answers_anew("database", before))
            last = project()
            body = changes(projects={"created": [wire(last)]})
            eventually(lambda: device.push_raw(body).status_code == 200)
            eventually(lambda: receiver.changes[-1]["id"] == last["id"])
            assert " bug " not in (checkout.local / "log/webhooks.log").read_text()
            said = checkout.run("flask", "sync", "webhook-replay", "backoffice")
            assert "Nothing was given up. What waits is sent now." in said
        finally:
            file.unlink()
            file.parent.rmdir()
            for part in ("sync", "webhooks"):
                checkout.run("restart", part)
        assert receiver.faults == []
    assert checkout.native.instances("webhooks") == []
