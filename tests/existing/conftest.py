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
    for other in servers("native", new_place()):
        assert isinstance(other.database, MariaDB)
        yield other.database
