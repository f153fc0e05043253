"""The services of these tests have the tables of tables.py beside the project's own."""

from collections import defaultdict

import pytest
from sqlalchemy import create_engine

from shared.database.base import Base
from tests.api import Device
from tests.conftest import Backend


@pytest.fixture(scope="session")
def environ(environ: dict[str, str], backend: Backend) -> dict[str, str]:
    database = backend.database
    url = database.url("migrate", "app") if database else environ["DATABASE_URL"]
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    engine.dispose()
    return environ


@pytest.fixture
def device(device: Device) -> Device:
    device.rows = defaultdict(dict)
    return device
