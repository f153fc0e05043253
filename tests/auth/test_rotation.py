"""Refresh tokens: rotation, repeat, reuse; logout (docs/api.md, "Rotation")."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.models import Session
from tests.api import Api, Device, assert_problem
from tests.clock import Clock


def refresh(api: Api, token: str) -> Any:
    return api.post("/auth/refresh", token=token)


def test_a_refresh_gives_a_new_pair_that_works(device: Device) -> None:
    answer = refresh(device.api, device.tokens["refreshToken"])
    assert answer.status_code == 200
    pair = answer.json
    assert pair.keys() == {"accessToken", "refreshToken", "tokenType", "expiresIn"}
    assert pair["refreshToken"] != device.tokens["refreshToken"]
    assert device.api.get("/users/me", token=pair["accessToken"]).status_code == 200
    assert refresh(device.api, pair["refreshToken"]).status_code == 200


def test_the_refresh_token_may_come_in_the_body(device: Device) -> None:
    body = {"refreshToken": device.tokens["refreshToken"]}
    assert device.api.post("/auth/refresh", body).status_code == 200


def test_a_repeat_within_30_seconds_gets_the_same_successor(device: Device, clock: Clock) -> None:
    first = refresh(device.api, device.tokens["refreshToken"]).json
    clock.advance(seconds=29)
    again = refresh(device.api, device.tokens["refreshToken"]).json
    assert again["refreshToken"] == first["refreshToken"]
    assert refresh(device.api, again["refreshToken"]).status_code == 200


def test_fifty_parallel_refreshes_of_one_token_yield_one_successor(device: Device) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda _: refresh(device.api, device.tokens["refreshToken"]), range(50))
        )
    assert {a.status_code for a in answers} == {200}
    assert len({a.json["refreshToken"] for a in answers}) == 1


def test_parallel_refreshes_agree_though_time_passes_between_them(
    device: Device, clock: Clock
) -> None:
    clock.step_ns = 1_000_000_000
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda _: refresh(device.api, device.tokens["refreshToken"]), range(10))
        )
    assert len({a.json["refreshToken"] for a in answers}) == 1


@pytest.mark.parametrize("late", [True, False])
def test_any_other_use_of_a_replaced_token_ends_the_session(
    device: Device, clock: Clock, late: bool
) -> None:
    first = refresh(device.api, device.tokens["refreshToken"]).json
    if late:
        clock.advance(seconds=31)
    else:
        # The token before the one just replaced is no repeat, however soon it comes.
        first = refresh(device.api, first["refreshToken"]).json
    reused = refresh(device.api, device.tokens["refreshToken"])
    assert_problem(reused, 401, "token_reused")
    for path in ("/users/me", "/sync"):
        assert_problem(device.api.get(path, token=first["accessToken"]), 401, "unauthorized")
    assert_problem(refresh(device.api, first["refreshToken"]), 401, "unauthorized")


def test_reuse_ends_no_other_session(device: Device, clock: Clock) -> None:
    other = device.another()
    refresh(device.api, device.tokens["refreshToken"])
    clock.advance(seconds=31)
    refresh(device.api, device.tokens["refreshToken"])
    assert device.api.get("/users/me", token=other.token).status_code == 200


def test_an_unused_refresh_token_dies_after_seven_days(device: Device, clock: Clock) -> None:
    clock.advance(seconds=7 * 86400 + 10)
    answer = refresh(device.api, device.tokens["refreshToken"])
    assert_problem(answer, 401, "unauthorized")


def test_the_tables_hold_no_refresh_token(device: Device) -> None:
    columns = Session.__table__.columns.keys()
    assert "refresh_hash" in columns
    assert not [name for name in columns if name in ("token", "refresh_token")]


@pytest.mark.parametrize("name", ["accessToken", "refreshToken"])
def test_logout_ends_the_session_by_either_token(device: Device, name: str) -> None:
    other = device.another()
    assert device.api.post("/auth/logout", token=device.tokens[name]).status_code == 204
    for path in ("/users/me", "/sync"):
        assert_problem(device.api.get(path, token=device.token), 401, "unauthorized")
    assert_problem(refresh(device.api, device.tokens["refreshToken"]), 401, "unauthorized")
    assert device.api.get("/users/me", token=other.token).status_code == 200


def test_logout_takes_the_refresh_token_in_the_body_and_may_be_repeated(device: Device) -> None:
    body = {"refreshToken": device.tokens["refreshToken"]}
    for _ in range(2):
        assert device.api.post("/auth/logout", body).status_code == 204


def test_logout_takes_an_expired_token_and_no_foreign_one(api: Api, clock: Clock) -> None:
    clock.advance(seconds=-3600)
    device = api.register()
    clock.reset()
    assert_problem(api.get("/users/me", token=device.token), 401, "token_expired")
    assert api.post("/auth/logout", token=device.token).status_code == 204
    assert_problem(api.post("/auth/logout", token="never.ours.atall"), 401, "unauthorized")
    assert_problem(api.post("/auth/logout"), 401, "unauthorized")
