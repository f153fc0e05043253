from collections.abc import Iterator

import pytest

from tests.conftest import Backend, NewPlace, servers
from tests.servers.processes import MariaDB


@pytest.fixture(scope="session")
def server(backend: Backend, new_place: NewPlace) -> Iterator[MariaDB]:
    """A server of the kind that the backend has, or where it has none MariaDB, for what is there already."""
    if isinstance(backend.database, MariaDB):
        yield backend.database
        return
    yield from started("native", new_place)


@pytest.fixture
def old_server(backends: str, new_place: NewPlace) -> Iterator[MariaDB]:
    """The same, for a test that tries all backends."""
    yield from started("mysql" if "mysql" in backends else "native", new_place)


def started(kind: str, new_place: NewPlace) -> Iterator[MariaDB]:
    for other in servers(kind, new_place()):
        assert isinstance(other.database, MariaDB)
        yield other.database
