"""Several processes, killed while they work, and answers as long as they get."""

import http.client
import os
import re
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api import Device, assert_problem, new_id, project, task
from tests.conftest import on_servers
from tests.servers import processes
from tests.servers.stacks import Embedded, Stack
from tests.service import Service
from tests.sharing import make_space
from tests.stack.http_api import HttpApi
from tests.stack.load import eventually
from tests.sync import test_concurrency, test_feed


@pytest.fixture
def device(server: Embedded | Stack) -> Device:
    """A device whose calls are spread over the server's processes."""
    # On a cluster, a long push may lose to short ones on other nodes until its attempts are used up.
    patience = 20 if isinstance(server, Stack) and server.more else 0
    return HttpApi(server.url, patience).register()


def workers(server: Embedded | Stack) -> list[int]:
    """Process ids of the workers that serve sync."""
    master = server.process if isinstance(server, Embedded) else server.services["sync"].process
    assert master
    return sorted(processes.children(master.pid))


def test_a_reader_misses_no_push_through_any_process(device: Device) -> None:
    test_concurrency.test_a_reader_that_pulls_without_pause_misses_no_parallel_push(device)


def test_a_reader_misses_no_deletion_through_any_process(device: Device) -> None:
    test_concurrency.test_a_reader_that_pulls_without_pause_misses_no_parallel_deletion(device)


#: `make run` is one process, and what may happen in one is in tests/sync/test_feed.py.
@on_servers
def test_a_server_that_reads_through_any_process_misses_nothing_of_fifty_devices(
    device: Device, service_key: str
) -> None:
    devices = [device, *(device.another() for _ in range(test_feed.DEVICES - 1))]
    service = Service(device.api, service_key)
    # One process takes four requests of a user at a time.
    test_feed.poll_while_they_push(service, make_space(device), devices, 4)


def test_edits_through_any_process_all_stand(device: Device) -> None:
    test_concurrency.test_parallel_edits_of_one_row_all_stand_column_by_column(device)


def test_a_push_that_is_killed_is_applied_whole_or_not_at_all(
    server: Embedded | Stack, device: Device
) -> None:
    pushes: dict[str, list[str]] = {}
    acknowledged: set[str] = set()

    def push(number: int) -> None:
        p = project()
        tasks = [task(p["id"]) for _ in range(1500)]
        pushes[p["id"]] = [t["id"] for t in tasks]
        for _ in range(20):
            # As an app does: again, until it is acknowledged.
            try:
                device.push(projects={"created": [p]}, tasks={"created": tasks})
            except (OSError, http.client.HTTPException, AssertionError):
                eventually(lambda: device.pull_raw(2**60, limit=1).status_code == 200)
            else:
                acknowledged.add(p["id"])
                return
            check_whole()

    def check_whole() -> None:
        fresh = Device(device.api, device.email, device.tokens)
        try:
            fresh.pull()
        except (OSError, http.client.HTTPException, AssertionError):
            return
        stored: dict[str, int] = dict.fromkeys(fresh.rows["projects"], 0)
        for row in fresh.rows["tasks"].values():
            stored[row["project_id"]] += 1
        assert set(stored.values()) <= {1500}, stored

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(push, number) for number in range(4)]
        for _ in range(3):
            # The moment of the kill: while pushes are under way, and each time at another point.
            time.sleep(0.15)
            for pid in workers(server):
                os.kill(pid, signal.SIGKILL)
        for future in running:
            future.result()
    assert acknowledged == pushes.keys()
    fresh = device.another()
    fresh.pull()
    assert fresh.rows["tasks"].keys() == {id_ for ids in pushes.values() for id_ in ids}


def test_a_first_sync_of_a_hundred_thousand_records_keeps_memory_flat(
    server: Embedded | Stack, device: Device
) -> None:
    if isinstance(server, Stack) and server.more:
        pytest.skip("measured on one instance")
    parents = [project() for _ in range(10)]
    device.push(projects={"created": parents})
    for parent in parents:
        # Short records: it is their number that must not show.
        records = [
            {"id": new_id(), "title": "A task", "description": "x" * 50, "project_id": parent["id"]}
            for _ in range(10_000)
        ]
        device.push(tasks={"created": records})

    def peak() -> int:
        return max(
            int(line.split()[1])
            for pid in workers(server)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )

    def forget_peak() -> None:
        for pid in workers(server):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    fresh = device.another()
    # New workers: those that took the pushes have memory to spare.
    for pid in workers(server):
        os.kill(pid, signal.SIGKILL)
    for _ in range(8):
        assert fresh.pull_raw(2**60, limit=1).status_code == 200
    forget_peak()
    idle = peak()
    fresh.pull()
    assert len(fresh.rows["tasks"]) == 100_000
    grown = peak() - idle
    assert 0 < grown < 100 * 1024, f"{grown} KiB above idle"


@on_servers
def test_the_workers_keep_the_lists_and_go_by_them(stack: Stack, device: Device) -> None:
    device.pull()

    def by_redis() -> bool:
        assert device.pull()["changes"]["tasks"]["created"] == []
        with urllib.request.urlopen(
            f"http://127.0.0.1:{stack.services['sync'].port}/metrics", timeout=5
        ) as answer:
            found = re.search(rb'revocation_checks_total{outcome="alive"} (\S+)', answer.read())
        return bool(found and float(found[1]) > 0)

    eventually(by_redis)
    assert device.api.post("/auth/logout", token=device.token).status_code == 204
    for path in ("/auth/sessions", "/users/me", "/sync"):
        assert_problem(device.api.get(path, token=device.token), 401, "unauthorized")
