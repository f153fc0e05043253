"""`make run`: the embedded default, as a newcomer meets it."""

import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.api import PASSWORD, changes, new_email, project, wire
from tests.conftest import Backend
from tests.servers.stacks import ROOT, Embedded, fetch


@pytest.fixture
def own(tmp_path: Path, backend: Backend) -> Embedded:
    if backend.name != "embedded":
        pytest.skip("make run is the embedded backend")
    return Embedded(tmp_path / "checkout", {})


def test_ctrl_c_ends_it_cleanly_and_data_survives_a_restart(own: Embedded) -> None:
    own.start()
    account = {"email": new_email(), "password": PASSWORD}
    token = fetch(f"{own.url}/auth/register", account)[2]["accessToken"]
    p = project()
    body = changes(projects={"created": [p]})
    assert fetch(f"{own.url}/sync?last_pulled_at=null", body, token=token)[0] == 200
    assert own.stop() == 0

    own.start()
    status, _, answer = fetch(f"{own.url}/sync?last_pulled_at=null", token=token)
    assert status == 200
    assert answer["changes"]["projects"]["created"] == [wire(p)]
    assert own.stop() == 0
    assert "Traceback" not in own.log


def test_the_curl_commands_of_the_readme_work_as_written(own: Embedded) -> None:
    (block,) = re.findall(r"```sh\n(curl.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    own.start()
    commands = block.replace("localhost:8080", f"localhost:{own.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    # What registering answers, and what pulling does; between them the token is put away.
    assert re.search(r'^{"accessToken":.*}\s*{"changes":{"projects":', done.stdout)
    own.stop()


def test_the_curl_commands_of_the_api_document_work_as_written(own: Embedded) -> None:
    (block,) = re.findall(r"```sh\n(API=.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    own.start()
    # Failures are told by exit codes, which the document leaves to who types it.
    curl = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    commands = curl + block.replace("localhost:8080", f"localhost:{own.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, pulled = done.stdout.rpartition('{"changes":')
    assert '"id":"garden"' in pulled
    assert '"id":"water"' in pulled
    own.stop()


def test_a_port_in_use_is_a_one_line_error(own: Embedded) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own.port))
        taken.listen()
        with pytest.raises(RuntimeError, match="exit code 1"):
            own.start()
    assert re.fullmatch(rf"make run: cannot serve on 127.0.0.1:{own.port}: .*\n", own.log)


def test_secrets_are_for_their_owner_only(own: Embedded) -> None:
    own.start()
    own.stop()
    key = own.directory / ".local/keys/private.pem"
    assert key.stat().st_mode & 0o077 == 0
    assert key.read_text().splitlines()[1] not in own.log
