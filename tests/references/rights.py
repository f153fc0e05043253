"""The rights that each database user is given are enough, and no more. Run by tests/own_table."""

import json
from io import BytesIO

import pytest
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

import services.auth
import services.sync
import services.users
from deploy.grants import grant
from services.sync.door import push_as_server
from services.sync.purge import purge
from services.sync.reference.loading import find_table, load
from shared.accounts.users import add_user
from shared.database.transaction import transaction
from tests.api import Device, new_email, new_id, project
from tests.conftest import Backend, on_servers
from tests.references.conftest import exercise


@on_servers
def test_each_database_user_may_do_its_part_and_no_more(
    backend: Backend, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend.database
    database = backend.database
    grant(database.url("migrate", "app"))

    def app_as(user: str, service: Flask | None = None) -> Flask:
        monkeypatch.setenv("DATABASE_URL", database.url(user, "app"))
        made = {"auth": services.auth, "users": services.users}.get(user, services.sync)
        return made.create_app()

    rows = [exercise(new_id()) for _ in range(3)]
    with app_as("sync").app_context():
        for number, mode in ((1, "merge"), (2, "replace")):
            body = BytesIO(
                b"".join(json.dumps(row | {"order": number}).encode() + b"\n" for row in rows)
            )
            assert load(find_table("exercises"), body, "ndjson", mode)  # type: ignore[arg-type]
            rows = rows[1:]
    changes = {"projects": {"created": [project()]}}
    with app_as("jobs").app_context():
        push_as_server(device.user_id, changes, "jobs")  # type: ignore[arg-type]
    for user in ("auth", "users"):
        with app_as(user).app_context():
            transaction(add_user)(new_email(), None, None)
    with app_as("purge").app_context():
        purge(1)
    for user, statement in (
        ("auth", "UPDATE reference_clock SET tick = 1"),
        ("users", "INSERT INTO app_exercises (id) VALUES ('x')"),
        ("jobs", "UPDATE app_exercises SET is_deleted = 1"),
        ("purge", "UPDATE reference_clock SET tick = 1"),
        ("sync", "DELETE FROM app_exercises"),
    ):
        engine = create_engine(database.url(user, "app"))
        with engine.connect() as connection, pytest.raises(DBAPIError, match="denied"):
            connection.execute(text(statement))
        engine.dispose()
