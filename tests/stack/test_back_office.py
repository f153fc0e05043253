"""docs/back-office.md, as somebody follows it."""

import re
from typing import Any

import pytest

from tests.api import Device, project, task, wire
from tests.conftest import ROOT
from tests.servers.stacks import Server
from tests.stack.http_api import HttpApi

TEXT = (ROOT / "docs/back-office.md").read_text()


def code() -> dict[str, Any]:
    """What the document's code defines."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, names)
    return names


@pytest.fixture
def device(server: Server) -> Device:
    return HttpApi(server.url).register()


def test_the_loop_of_the_document_reads_all_changes_and_goes_on(
    server: Server, service_key: str, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    names = code()
    rows: dict[str, Any] = {}
    replaced: list[str] = []

    def apply(_space: str, change: dict[str, Any]) -> None:
        rows[change["id"]] = change["record"]

    def read(since: int) -> int:
        arguments = (server.url, service_key, device.user_id, since, apply, replaced.append)
        timestamp: int = names["read_changes"](*arguments)
        return timestamp

    projects = [project() for _ in range(1100)]
    device.push(projects={"created": projects})
    since = read(0)
    assert rows.keys() == {p["id"] for p in projects}
    device.pull()
    device.push(projects={"deleted": [projects[0]["id"]]})
    assert read(since) > since
    assert rows[projects[0]["id"]] is None
    assert not replaced
    read(2**60)
    assert replaced == [device.user_id]


def test_the_approval_of_the_document_is_pulled_and_read(
    server: Server, service_key: str, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    names, p = code(), project()
    t = task(p["id"], title="Leave in May")
    device.push(projects={"created": [p]}, tasks={"created": [t]})
    device.pull()
    names["approve"](server.url, service_key, device.user_id, t["id"])
    device.pull()
    assert device.rows["tasks"][t["id"]] == wire(t | {"is_completed": True})


def test_the_pattern_of_the_document_finds_keys(service_key: str) -> None:
    [pattern] = re.findall(r"`(wdbsk_\[.*?\})`", TEXT)
    assert re.fullmatch(pattern, service_key)
