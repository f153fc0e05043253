"""Services that tell receivers what changes."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

import services.sync
import services.users
from services.sync.webhooks.deliverer import Courier, Deliverer
from shared.database.base import db
from shared.models import WebhookChange
from tests.api import Api, Device
from tests.servers.receiver import Receiver, configuration


@dataclass
class Telling:
    """The services with receivers; names are a test's own, since all share a database."""

    api: Api
    sync: Flask
    users: Flask
    names: list[str]
    file: str

    @cached_property
    def couriers(self) -> list[Courier]:
        """Those of one process, in the order of the receivers."""
        return self.new_couriers()

    def new_couriers(self) -> list[Courier]:
        """Those of another process."""
        return Deliverer(self.sync).couriers

    def go(self, *couriers: Courier) -> None:
        """Let couriers do a round each."""
        with self.sync.app_context():
            for courier in couriers or self.couriers:
                courier.round()

    def outbox(self, receiver: int = 0, space: str | None = None) -> list[Any]:
        """What waits for a receiver, in the order in which it is told."""
        query = select(WebhookChange).where(WebhookChange.receiver == self.names[receiver])
        if space is not None:
            query = query.where(WebhookChange.space_id == space)
        with self.sync.app_context(), db.session.begin():
            found = db.session.scalars(query.order_by(*WebhookChange.__table__.primary_key))
            return [(one.space_id, one.table_name, one.row_id, one.kind, one.tick) for one in found]


Tell = Callable[..., Telling]


@pytest.fixture
def tell(application: Any, environ: dict[str, str], tmp_path: Path) -> Iterator[Tell]:
    """Configure receivers."""
    with ExitStack() as stack:

        def tell(*receivers: Receiver, urls: Mapping[str, str] | None = None) -> Telling:
            """`urls`: of the database, for services whose users have no more rights than they need."""
            names = [f"r-{uuid.uuid4().hex[:24]}" for _ in receivers]
            file = tmp_path / f"{uuid.uuid4().hex}.toml"
            entries = zip(names, receivers, strict=True)
            file.write_text(configuration((n, [one.secret], one.url) for n, one in entries))
            given = {
                name: {"DATABASE_URL": url, "WEBHOOKS_FILE": str(file)}
                for name in ("sync", "users")
                for url in [(urls or {}).get(name, environ["DATABASE_URL"])]
            }
            sync = services.sync.create_app(**given["sync"])
            users = services.users.create_app(**given["users"])
            for app in (sync, users):
                stack.callback(dispose, app)
            owners = {"sync": sync, "spaces": sync, "users": users}

            def serve(environ: Any, start: Any) -> Any:
                owner = environ["PATH_INFO"].split("/")[2]
                return owners.get(owner, application)(environ, start)

            return Telling(Api(serve), sync, users, names, str(file))

        yield tell


def dispose(app: Flask) -> None:
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with Receiver() as receiver:
        receiver.has_same_clock = "clock" not in request.fixturenames
        yield receiver
        assert receiver.faults == []


@pytest.fixture
def telling(tell: Tell, receiver: Receiver) -> Telling:
    return tell(receiver)


@pytest.fixture
def device(telling: Telling) -> Device:
    """A device of a fresh user, of services that tell one receiver."""
    return telling.api.register()
