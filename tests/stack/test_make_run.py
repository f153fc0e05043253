"""`make run`: the embedded default, as a newcomer meets it."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.machine import network_address
from tests.api import PASSWORD, changes, new_email, project, wire
from tests.conftest import NewPlace, lacking
from tests.servers.checkout import readable_by_others
from tests.servers.processes import free_port
from tests.servers.receiver import Receiver, webhooks_file
from tests.servers.stacks import ROOT, Embedded, fetch
from tests.stack.load import eventually

pytestmark = pytest.mark.backends("embedded")

#: Deep, with what shells, URLs and INI files read as something else.
ODD = "it's 100 % odd, „ümlaut“ & co; #1/" + "a" * 60 + "/" + "b" * 60


@pytest.fixture
def own(tmp_path: Path) -> Embedded:
    return Embedded(tmp_path / "checkout")


@pytest.fixture(scope="module")
def running(new_place: NewPlace) -> Iterator[Embedded]:
    """One that runs, for all that does not end it."""
    running = Embedded(new_place() / "checkout")
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    """Below an odd path, with a proxy for everything, and a directory for temporary files."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return Embedded(tmp_path / ODD)


def test_ctrl_c_ends_it_cleanly_and_data_survives_a_restart_and_a_move(
    own: Embedded, tmp_path: Path
) -> None:
    own.start()
    account = {"email": new_email(), "password": PASSWORD}
    token = fetch(f"{own.url}/auth/register", account)[2]["accessToken"]
    p = project()
    body = changes(projects={"created": [p]})
    assert fetch(f"{own.url}/sync?last_pulled_at=null", body, token=token)[0] == 200
    assert own.stop() == 0

    for name in ("checkout", "moved"):
        own.directory = own.directory.rename(tmp_path / name)
        own.start()
        status, _, answer = fetch(f"{own.url}/sync?last_pulled_at=null", token=token)
        assert status == 200
        assert answer["changes"]["projects"]["created"] == [wire(p)]
        assert own.stop() == 0
    assert "Traceback" not in own.log


def test_receivers_of_webhooks_are_told(own: Embedded) -> None:
    file = own.directory / ".local/webhooks/webhooks.toml"
    file.parent.mkdir(parents=True)
    with Receiver() as receiver:
        file.write_text(webhooks_file(backoffice=receiver))
        own.start()
        account = {"email": new_email(), "password": PASSWORD}
        token = fetch(f"{own.url}/auth/register", account)[2]["accessToken"]
        p = project()
        fetch(f"{own.url}/sync", changes(projects={"created": [p]}), token=token)
        eventually(lambda: [change["id"] for change in receiver.changes] == [p["id"]])
        assert own.stop() == 0
        assert receiver.faults == []
    assert "Traceback" not in own.log


def test_the_curl_commands_of_the_readme_work_as_written(running: Embedded) -> None:
    (block,) = re.findall(r"```sh\n(curl.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    commands = block.replace("localhost:8080", f"localhost:{running.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    # What registering answers, and what pulling does; between them the token is put away.
    assert re.search(r'^{"accessToken":.*}\s*{"changes":{"projects":', done.stdout)


def test_the_curl_commands_of_the_api_document_work_as_written(running: Embedded) -> None:
    (block,) = re.findall(r"```sh\n(API=.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    # Failures are told by exit codes, which the document leaves to who types it.
    curl = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    commands = curl + block.replace("localhost:8080", f"localhost:{running.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, pulled = done.stdout.rpartition('{"changes":')
    assert '"id":"garden"' in pulled
    assert '"id":"water"' in pulled


def test_a_port_in_use_is_a_one_line_error(own: Embedded) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own.port))
        taken.listen()
        with pytest.raises(RuntimeError, match="exit code 1"):
            own.start()
    assert re.fullmatch(
        rf"Error: Cannot serve on 127.0.0.1:{own.port}: .* make run PORT=…\n", own.log
    )


def test_secrets_are_for_their_owner_only(running: Embedded) -> None:
    key = running.directory / ".local/keys/private.pem"
    assert key.stat().st_mode & 0o077 == 0
    assert key.read_text().splitlines()[1] not in running.log


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_any_path_umask_and_proxy_will_do_and_others_read_nothing(
    odd: Embedded, umask: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        odd.start()
    finally:
        os.umask(before)
    try:
        account = {"email": new_email(), "password": PASSWORD}
        token = fetch(f"{odd.url}/auth/register", account)[2]["accessToken"]
        body = changes(projects={"created": [project(description="x" * 60_000) for _ in range(50)]})
        assert fetch(f"{odd.url}/sync?last_pulled_at=null", body, token=token)[0] == 200
        assert readable_by_others(odd.directory / ".local") <= {"run.pid"}
    finally:
        assert odd.stop() == 0
    assert not any((tmp_path / "tmp").iterdir())


def test_a_second_one_is_refused_and_takes_nothing_from_the_first(running: Embedded) -> None:
    metrics = set((running.directory / ".local/metrics").iterdir())
    second = subprocess.run(
        [sys.executable, "-m", "deploy.local.cli", "run"],
        cwd=running.directory,
        env={**os.environ, "PORT": str(free_port())},
        capture_output=True,
        text=True,
    )
    assert second.returncode == 1
    assert second.stderr.startswith("Error: make run is serving from this directory already")
    assert metrics and set((running.directory / ".local/metrics").iterdir()) == metrics


def test_it_starts_though_the_number_of_one_that_was_killed_is_another_process(
    own: Embedded,
) -> None:
    (own.directory / ".local").mkdir(exist_ok=True)
    (own.directory / ".local/run.pid").write_text(f"{os.getpid()}\n")
    own.start()
    assert own.stop() == 0


def test_it_serves_on_ipv6(own: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "::1")
    own.address = f"[::1]:{own.port}"
    own.start()
    assert own.stop() == 0
    assert f"Serving http://[::1]:{own.port}/v1 " in own.log


def test_pages_of_this_machine_may_call_it_by_cors_and_no_others(running: Embedded) -> None:
    rules = (ROOT / "gateway/snippets/headers.conf").read_text()
    for origin in ("http://localhost:8081", "http://127.0.0.1:19006", "http://[::1]:5173"):
        asked = {"Origin": origin, "Access_Control_Request_Method": "POST"}
        status, headers, _ = fetch(f"{running.url}/sync/pull", method="OPTIONS", **asked)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, origin)
        for name in ("Methods", "Headers"):
            assert f'"{headers[f"Access-Control-Allow-{name}"]}"' in rules
        for path in ("/auth/jwks.json", "/users/me"):
            headers = fetch(running.url + path, Origin=origin)[1]
            assert headers["Access-Control-Allow-Origin"] == origin
            assert f'"{headers["Access-Control-Expose-Headers"]}"' in rules
            assert headers["Vary"] == "Origin"
    for origin in (
        "https://app.example",
        "http://localhost.example",
        "http://localhost:1.x",
        "null",
    ):
        headers = fetch(f"{running.url}/users/me", Origin=origin)[1]
        assert not [name for name in headers if name.startswith("Access-Control")], origin
    mails = fetch(f"http://{running.address}/mail/messages.json", Origin="http://localhost:8081")
    assert "Access-Control-Allow-Origin" not in mails[1]


def test_no_page_may_make_a_service_call_by_cors(running: Embedded) -> None:
    origin = "http://localhost:8081"
    asked = {"Origin": origin, "Access_Control_Request_Method": "GET"}
    for path in ("/service/spaces", "/service/changes?space=x", "/service/nothing"):
        preflight = fetch(running.url + path, method="OPTIONS", **asked)
        assert preflight[0] == 204
        for headers in (preflight[1], fetch(running.url + path, Origin=origin)[1]):
            assert not [name for name in headers if name.startswith("Access-Control")]


def test_a_service_key_is_made_listed_and_ended_while_it_serves(running: Embedded) -> None:
    said = running.flask("service-key", "backoffice", "sync:read")
    key = said.splitlines()[-1].split()[-1]
    url = f"{running.url}/service/spaces"
    assert fetch(url, token=key)[0] == 200
    assert "backoffice" in running.flask("service-keys")
    running.flask("revoke-service-key", "backoffice")
    assert fetch(url, token=key)[0] == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_says_where_a_phone_reaches_it_and_keeps_mails_from_other_machines(
    own: Embedded, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    if host == "::" and not socket.has_dualstack_ipv6():
        lacking("IPv6")
    monkeypatch.setenv("HOST", host)
    own.start()
    try:
        assert f"http://10.0.2.2:{own.port}/v1" in own.log
        found = re.search(r"(http://\S+)  from phones in the same network", own.log)
        if network_address() is None:
            assert found is None
        else:
            assert found
            assert fetch(f"{found[1]}/auth/jwks.json")[0] == 200
        assert mails_and_codes(own) == (404, 501)
    finally:
        assert own.stop() == 0


def mails_and_codes(server: Embedded) -> tuple[int, int]:
    """What comes of asking for the mails, and for one."""
    mails = fetch(f"http://{server.address}/mail/messages.json")[0]
    return mails, fetch(f"{server.url}/auth/password/forgot", {"email": new_email()})[0]


def test_mails_are_shown_to_this_machine(running: Embedded) -> None:
    assert mails_and_codes(running) == (200, 202)


def test_it_needs_no_shared_memory(own: Embedded) -> None:
    """As on every Mac."""
    unshare = ["unshare", "--mount", "sh", "-c", 'umount -l /dev/shm && exec "$0" "$@"']
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        lacking("the right to unmount /dev/shm")
    own.start(*unshare)
    assert own.stop() == 0


def test_clean_removes_what_can_be_made_again_and_never_under_a_running_server(
    own: Embedded,
) -> None:
    def clean(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["make", f"--makefile={ROOT / 'Makefile'}", "clean", *arguments]
        environ = {**os.environ, "DOCKER_HOST": "unix:///nowhere"}
        return subprocess.run(
            command, cwd=own.directory, env=environ, capture_output=True, text=True
        )

    local = own.directory / ".local"
    for name in (
        "venv/bin/python",
        "log/sync.log",
        "backups/app.sql.gz",
        "secrets.env",
        "gateway.env",
    ):
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).touch()
    own.start()
    for arguments in ((), ("ALL=yes",)):
        refused = clean(*arguments)
        assert refused.returncode
        assert "A stack runs from here." in refused.stderr
    assert (local / "log/sync.log").exists()
    own.stop()

    kept = {"backups", "embedded.db", "gateway.env", "keys", "secrets.env"}
    done = clean()
    assert {path.name for path in local.iterdir()} == kept
    assert all(f".local/{name}" in done.stdout for name in kept)
    assert "make clean ALL=yes" in done.stdout
    assert (local / "backups/app.sql.gz").exists()

    own.start()
    own.stop()
    assert clean("ALL=yes").returncode == 0
    assert not local.exists()
