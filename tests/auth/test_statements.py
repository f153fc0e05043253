"""What the calls of every app cost in statements, never in times."""

from tests.api import PASSWORD, Device
from tests.conftest import Backend
from tests.statements import statements


def test_a_login_takes_four_statements(device: Device, backend: Backend) -> None:
    body = {"email": device.email, "password": PASSWORD}
    with statements() as counted:
        assert device.api.post("/auth/login", body).status_code == 200
    # It is counted, and the count read with the account; then it is taken
    # back, and the session begins. SQLite is told to begin, twice.
    assert counted.total() <= (4 if backend.database else 6), counted


def test_a_refresh_takes_two_statements(device: Device, backend: Backend) -> None:
    body = {"refreshToken": device.tokens["refreshToken"]}
    with statements() as counted:
        assert device.api.post("/auth/refresh", body).status_code == 200
    # The session is read and locked, and written. SQLite is told to begin.
    assert counted.total() <= (2 if backend.database else 3), counted


def test_ones_own_profile_takes_one_statement(device: Device) -> None:
    with statements() as counted:
        answer = device.api.get("/users/me", token=device.token)
    assert answer.json == device.tokens["user"]
    # Session and account.
    assert counted.total() == 1, counted
