"""What docs/existing-database.md ends with, over the sample's tables. Run by test_existing_database.py."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from deploy.grants import grant
from services.sync.existing import copying, source
from tests.api import PASSWORD, Api, Device
from tests.conftest import ROOT, Backend
from tests.mails import forgot, verify

#: The copy's command, which kills itself at the second push.
KILLED = """
import os, signal, sys
from services.sync.existing import copying
push, calls = copying.push_as_server, []
def once(*given):
    if calls:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(given)
    return push(*given)
copying.push_as_server = once
from flask.cli import main
sys.argv = ["flask", "--app", "services.sync", "copy", f"--map={sys.argv[1]}"]
main()
"""


@pytest.fixture(scope="session")
def sync_service(application: Any) -> Flask:
    import services.sync

    return services.sync.create_app()


def settings(backend: Backend) -> dict[str, str]:
    """The environment of a process that has no more rights than the sync service."""
    environ = dict(os.environ)
    if backend.database:
        grant(backend.database.url("migrate", "app"))
        environ["DATABASE_URL"] = backend.database.url("sync", "app")
    return environ


def copy(sync_service: Flask, map_: Path, *options: str) -> str:
    done = sync_service.test_cli_runner().invoke(args=["copy", f"--map={map_}", *options])
    assert done.exit_code == 0, done.output
    return str(done.output)


def rows_of(device: Device) -> dict[str, dict[str, Any]]:
    """What a device has, once it has pulled."""
    device.rows = defaultdict(dict)
    device.last_pulled_at = 0
    device.pull()
    return device.rows


def test_the_page_from_end_to_end(
    api: Api,
    backend: Backend,
    users_service: Flask,
    sync_service: Flask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A row at a time, so that some come long before those that they name.
    monkeypatch.setattr(source, "BATCH", 1)
    monkeypatch.setattr(copying, "RECORDS", 1)
    ann = api.register("ann@example.com")
    verify(ann)
    file = tmp_path / "users.csv"
    file.write_text("email,name\nANN@example.com,Ann\nBen@Example.com,Ben\nno address,\n")
    made = users_service.test_cli_runner().invoke(args=["create-users", str(file)])
    assert "Made 1 accounts; 1 were there." in made.output and "Line 4" in made.output

    map_ = Path(os.environ["COPY_MAP"])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(map_)],
        cwd=ROOT,
        env=settings(backend),
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert map_.with_name("training.toml.state").exists()
    told = copy(sync_service, map_)
    assert not map_.with_name("training.toml.state").exists()
    for line in (
        "exercises: 3 rows",
        "prices: 2 rows",
        "plans: 4 rows",
        "workouts: 3 rows",
        "sets: 4 rows",
        "workout_tags: 4 rows",
        "plans: 1 created_at: a date that is none: 12",
        "workouts: 1 day: a date that is none: 101",
        "workouts: 1 coach_id: a user without an account: 101",
        "workouts: 1 left out, of a user without an account: 300",
        "sets: 1 left out, of a user without an account: 3000",
        "sets: 1 left out, of no user and no mapped space: 9999",
        "workouts: 1 repaired: 101",
    ):
        assert line in told, told

    code = forgot(api, "ben@example.com")
    reset = {"email": "ben@example.com", "code": code, "newPassword": PASSWORD}
    assert api.post("/auth/password/reset", reset).status_code == 204
    ben = api.login("ben@example.com")
    assert_anns(rows_of(ann), ben.user_id)
    rows = rows_of(ben)
    assert rows["plans"]["20"]["title"] == "Running 🏃"
    assert rows["plans"]["20"]["created_at"] == -1000
    assert rows["workouts"]["200"]["length"] == "838:59:59"
    assert rows["sets"]["2000"]["weight"] == -0.01
    assert set(rows["workout_tags"]) == {"200-3"}


def assert_anns(rows: dict[str, dict[str, Any]], ben: str) -> None:
    """That Ann's rows are what they were in the source."""
    settings = rows["plans"]["10"].pop("settings")
    assert json.loads(settings) == {"rest": 90, "icon": "💪"}
    titled = {"parent_id": None, "title": "Strength", "order": 1}
    at = {"created_at": 1_711_848_600_000, "updated_at": 1_719_828_000_250}
    assert rows["plans"]["10"] == {"id": "10"} | titled | at
    week, block = rows["plans"]["11"], rows["plans"]["12"]
    assert (week["parent_id"], block["parent_id"]) == ("12", "10")
    assert (week["created_at"], week["updated_at"]) == (1_719_835_200_000, None)
    assert (block["created_at"], block["settings"]) == (0, "[]")
    assert rows["workouts"] == {
        "100": {
            "id": "100",
            "plan_id": "11",
            "coach_id": ben,
            "note": "Felt strong 💪🏽 — naïve",
            "started_at": 1_719_858_600_125,
            "day": "2024-07-01",
            "length": "01:05:00",
            "steps": 2**53,
        },
        "101": {
            "id": "101",
            "plan_id": None,
            "coach_id": None,
            "note": None,
            "started_at": 1_719_990_000_000,
            "day": None,
            "length": None,
            "steps": None,
        },
    }
    assert rows["sets"]["1000"] == {
        "id": "1000",
        "workout_id": "100",
        "exercise_id": "1",
        "reps": 5,
        "weight": 102.5,
        "is_done": True,
    }
    assert rows["sets"]["1001"]["weight"] is None and rows["sets"]["1001"]["reps"] == 65535
    assert rows["sets"]["1002"]["weight"] == 9999.99
    assert rows["exercises"]["2"] == {
        "id": "2",
        "name": "Pull-up",
        "muscle": "back",
        "is_bodyweight": True,
    }
    month = {"id": "month", "title": "A month", "amount": 29.9, "valid_from": "2026-01-01"}
    assert rows["prices"] == {"month": month, "year": rows["prices"]["year"] | {"valid_from": None}}
    assert rows["tags"]["2"]["label"] == "Straße"
    tagged = rows["workout_tags"]
    assert set(tagged) == {"100-1", "100-2", "101-1"}
    assert tagged["100-2"] == {"id": "100-2", "workout_id": "100", "tag_id": "2"}


def test_what_a_second_copy_does(api: Api, backend: Backend, sync_service: Flask) -> None:
    ann, map_ = api.login("ann@example.com"), Path(os.environ["COPY_MAP"])
    rows_of(ann)
    before = ann.last_pulled_at
    command = ("-m", "flask", "--app", "services.sync", "copy", f"--map={map_}")
    subprocess.run([sys.executable, *command], cwd=ROOT, env=settings(backend), check=True)
    assert ann.pull()["timestamp"] == before
    # The old system wins: what the page warns of.
    ann.push(
        plans={"updated": [ann.rows["plans"]["10"] | {"title": "Mine"}], "deleted": ["11"]},
        tags={"created": [{"id": "own", "label": "Of a device"}]},
    )
    copy(sync_service, map_, "--only=1")
    rows = rows_of(ann)
    assert (rows["plans"]["10"]["title"], rows["plans"]["11"]["title"]) == ("Strength", "Week one")
    assert set(rows["tags"]) == {"1", "2", "own"}
