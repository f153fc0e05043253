"""`make up-native`: the whole stack on this machine, watched, scaled, restarted, backed up."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pymysql
import pytest

from tests.api import Device, assert_problem, project, task, wire
from tests.servers import processes
from tests.servers.checkout import Checkout
from tests.stack.load import eventually, load


@pytest.fixture
def device(checkout: Checkout) -> Device:
    return checkout.api.register()


def test_up_again_changes_nothing(checkout: Checkout, device: Device) -> None:
    before = checkout.ask("describe")["parts"]
    assert f"Already running: http://localhost:{checkout.port}/v1" in checkout.run(
        "deploy.local.stack", "up"
    )
    assert checkout.ask("describe")["parts"] == before


def test_a_port_in_use_is_a_one_line_error(checkout: Checkout, directory: Path) -> None:
    other = Checkout(directory / "other")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", other.port))
        taken.listen()
        said = other.run("deploy.local.stack", "up", check=False)
    assert said.startswith(f"Cannot serve on port {other.port}")
    assert said.count("\n") == 1


def test_what_is_secret_is_for_its_owner_only(checkout: Checkout) -> None:
    for name in ("secrets.env", "keys/private.pem", "native/control"):
        assert (checkout.local / name).stat().st_mode & 0o077 == 0, name


def test_each_service_may_do_in_the_database_what_it_must_and_no_more(
    checkout: Checkout, device: Device
) -> None:
    passwords = processes.settings_file(checkout.local / "secrets.env")
    port = checkout.ask("describe")["database"]["port"]

    def attempt(user: str, statement: str) -> None:
        password = passwords[f"{user.upper()}_PASSWORD"]
        with (
            pymysql.connect(
                host="127.0.0.1", port=port, user=user, password=password, database="app"
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    attempt("auth", "SELECT password FROM users LIMIT 1")
    attempt("sync", "SELECT last_modified_at FROM users LIMIT 1 FOR UPDATE")
    attempt("users", "SELECT * FROM tasks LIMIT 1")
    for user, statement in (
        ("auth", "SELECT * FROM tasks"),
        ("auth", "DELETE FROM users"),
        ("sync", "SELECT password FROM users"),
        ("sync", "UPDATE users SET role = 'admin'"),
        ("sync", "SELECT refresh_hash FROM sessions"),
        ("sync", "DELETE FROM tasks"),
        ("users", "INSERT INTO tasks (id) VALUES ('x')"),
        ("purge", "UPDATE tasks SET title = ''"),
        ("users", "DROP TABLE tasks"),
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
    eventually(lambda: checkout.pid(part) != killed)
    eventually(lambda: device.pull_raw().status_code == 200)
    device.pull()
    assert device.rows["projects"] == {p["id"]: wire(p)}
    log = (checkout.local / "log/stack.log").read_text()
    assert f"{part} on port" in log
    assert "runs again" in log


def test_instances_come_and_go_under_load_without_a_failed_request(
    checkout: Checkout, device: Device
) -> None:
    with load(device) as statuses:
        for number in (3, 1):
            said = checkout.run("deploy.local.running", "scale", "sync", str(number))
            assert said.strip() == f"sync runs {number} times"
            parts = checkout.ask("describe")["parts"]
            assert len([name for name in parts if name.startswith("sync:")]) == number
    assert len(statuses) > 100
    assert set(statuses) == {200}


def test_all_services_restart_under_load_without_a_failed_request(
    checkout: Checkout, device: Device
) -> None:
    with load(device) as statuses:
        checkout.run("deploy.local.running", "restart")
    assert len(statuses) > 100
    assert set(statuses) == {200}


@pytest.mark.parametrize(
    "arguments",
    [("scale", "mysql", "2"), ("scale", "sync", "0"), ("scale", "sync", "x"), ("scale",)],
)
def test_nonsense_is_refused_with_a_line_that_says_why(
    checkout: Checkout, arguments: tuple[str, ...]
) -> None:
    said = checkout.run("deploy.local.running", *arguments, check=False)
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_a_command_that_cannot_be_carried_out_leaves_the_stack_running(
    checkout: Checkout, device: Device
) -> None:
    checkout.ask("pause")
    try:
        said = checkout.run("deploy.local.running", "restart", check=False)
        assert said == "auth is not running\n"
    finally:
        checkout.ask("resume")
    assert device.pull_raw().status_code == 200


def test_a_restored_backup_gives_devices_all_that_it_has_and_no_revoked_session(
    checkout: Checkout, device: Device
) -> None:
    kept, lost = project(), project()
    early = device.another()
    device.push(projects={"created": [kept]})
    early.pull()
    checkout.run("deploy.backup")
    [backup] = (checkout.local / "backups").glob("*.sql.gz")
    assert backup.stat().st_mode & 0o077 == 0 or backup.parent.stat().st_mode & 0o077 == 0

    # Between backup and restore: one device pushes, another pulls, a third is logged out.
    late = device.another()
    device.push(projects={"created": [lost], "updated": [kept | {"name": "Lost"}]})
    late.pull()
    assert late.rows["projects"][kept["id"]]["name"] == "Lost"
    revoked = checkout.api.login(device.email)
    assert checkout.api.post("/auth/logout", token=revoked.token).status_code == 204

    assert "Restored." in checkout.run("deploy.backup", "restore", str(backup))
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
        checkout.run("deploy.backup")
        newest = max((checkout.local / "backups").glob("*.sql.gz"))
        damage = newest.read_bytes()[:-2000]
    backup.write_bytes(damage)
    said = checkout.run("deploy.backup", "restore", str(backup), check=False)
    assert "Nothing was changed." in said
    assert device.pull_raw().status_code == 200


def test_no_part_outlives_a_watcher_that_is_killed_and_the_next_one_has_all_data(
    checkout: Checkout, device: Device
) -> None:
    p = project()
    device.push(projects={"created": [p]})
    parts = checkout.ask("describe")["parts"].values()
    found = subprocess.run(
        ["pgrep", "-f", f"deploy.local.stack serve {checkout.local}"],
        capture_output=True,
        text=True,
    )
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}/root").exists() for pid in parts))
    checkout.run("deploy.local.stack", "up")
    device.pull()
    assert device.rows["projects"] == {p["id"]: wire(p)}
