"""Refresh tokens: rotation, repeat, reuse; logout (docs/api.md, "Rotation")."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import services.auth
from services.auth import rotation
from shared.database.base import db
from shared.models import Session
from tests.api import PASSWORD, Api, Device, assert_problem
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


def test_the_bodys_token_counts_when_there_is_a_bearer_too(device: Device) -> None:
    other = device.another()
    body = {"refreshToken": device.tokens["refreshToken"]}
    for bearer in (device.token, other.tokens["refreshToken"], "a.b.c"):
        answer = device.api.post("/auth/refresh", body, token=bearer)
        assert answer.status_code == 200
        claims = jwt.decode(answer.json["accessToken"], options={"verify_signature": False})
        assert claims["sid"] == device.session_id
    for body in ({}, {"refreshToken": None}, {"refreshToken": ""}, b"", b"  "):
        answer = device.api.post("/auth/refresh", body, token=other.tokens["refreshToken"])
        assert answer.status_code == 200
        other.tokens |= answer.json
    assert_problem(device.api.post("/auth/refresh", {}, token=other.token), 401, "unauthorized")
    bad = {"refreshToken": other.token}
    refused = device.api.post("/auth/refresh", bad, token=other.tokens["refreshToken"])
    assert_problem(refused, 401, "unauthorized")


@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/logout"])
@pytest.mark.parametrize("odd", [7, True, [], {}, ["a.b.c"], "\ud800", "x" * 5000], ids=repr)
def test_an_odd_refresh_token_in_the_body_is_422(device: Device, path: str, odd: Any) -> None:
    refused = device.api.post(path, {"refreshToken": odd}, token=device.token)
    problem = assert_problem(refused, 422, "invalid_request")
    assert list(problem["errors"]) == ["refreshToken"]


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


def test_a_repeat_gets_the_same_successor_though_that_was_used_meanwhile(
    device: Device, clock: Clock
) -> None:
    chain = [device.tokens["refreshToken"]]
    for _ in range(4):
        chain.append(refresh(device.api, chain[-1]).json["refreshToken"])
        clock.advance(seconds=1)
    for token, successor in itertools.pairwise(chain):
        assert refresh(device.api, token).json["refreshToken"] == successor
    # The last one was not presented by any of that.
    assert refresh(device.api, chain[-1]).status_code == 200


def test_fifty_parallel_calls_agree_though_one_app_has_refreshed_again(device: Device) -> None:
    token = device.tokens["refreshToken"]
    successor = refresh(device.api, token).json["refreshToken"]
    with ThreadPoolExecutor(10) as pool:
        again = pool.submit(refresh, device.api, successor)
        answers = list(pool.map(lambda _: refresh(device.api, token), range(50)))
    assert again.result().status_code == 200
    assert {a.json["refreshToken"] for a in answers} == {successor}


def test_an_app_killed_before_it_could_save_the_answer_comes_back_days_later(
    device: Device, clock: Clock
) -> None:
    lost = refresh(device.api, device.tokens["refreshToken"]).json
    clock.advance(seconds=6 * 86400)
    again = refresh(device.api, device.tokens["refreshToken"])
    assert again.status_code == 200
    assert again.json["refreshToken"] == lost["refreshToken"]
    assert device.api.get("/sync", token=again.json["accessToken"]).status_code == 200
    assert refresh(device.api, again.json["refreshToken"]).status_code == 200


def test_a_replaced_token_whose_successor_was_used_ends_the_session_after_30_seconds(
    device: Device, clock: Clock
) -> None:
    first = refresh(device.api, device.tokens["refreshToken"]).json
    clock.advance(seconds=20)
    second = refresh(device.api, first["refreshToken"]).json
    clock.advance(seconds=11)
    assert_problem(refresh(device.api, device.tokens["refreshToken"]), 401, "token_reused")
    for path in ("/users/me", "/sync"):
        assert_problem(device.api.get(path, token=second["accessToken"]), 401, "unauthorized")
    assert_problem(refresh(device.api, second["refreshToken"]), 401, "unauthorized")


def test_what_a_clock_that_was_ahead_replaced_is_reused_like_the_rest(
    device: Device, clock: Clock
) -> None:
    clock.advance(seconds=3600)
    first = refresh(device.api, device.tokens["refreshToken"]).json
    refresh(device.api, first["refreshToken"])
    clock.reset()
    assert_problem(refresh(device.api, device.tokens["refreshToken"]), 401, "token_reused")


def test_a_session_of_a_clock_that_was_ahead_ends_with_the_others(api: Api, clock: Clock) -> None:
    clock.advance(seconds=365 * 86400)
    device = api.register()
    clock.reset()
    pair = refresh(api, device.tokens["refreshToken"]).json
    [session] = api.get("/auth/sessions", token=pair["accessToken"]).json["sessions"]
    assert session["createdAt"] <= session["lastUsedAt"] < session["expiresAt"]
    claims = jwt.decode(pair["refreshToken"], options={"verify_signature": False})
    assert claims["exp"] <= clock.now_ns() // 10**9 + 7 * 86400


def test_a_session_remembers_a_bounded_number_of_replaced_tokens(device: Device) -> None:
    token = device.tokens["refreshToken"]
    for _ in range(rotation.MAX_EARLIER + 10):
        token = refresh(device.api, token).json["refreshToken"]
    with services.auth.create_app().app_context():
        kept = db.session.get_one(Session, device.session_id).earlier
    assert len(orjson.loads(kept)) == rotation.MAX_EARLIER
    assert len(kept) < 65_535


@given(
    st.lists(
        st.one_of(
            # Which token is presented, counted from the newest; how long nothing happens, in seconds
            # that never add up to 30, since real time passes too.
            st.tuples(st.just("refresh"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.sampled_from([4, 12, 28, 32, 3600])),
        ),
        max_size=15,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_sequence_of_refreshes_is_answered_by_the_rule(
    api: Api, clock: Clock, steps: list[tuple[str, int]]
) -> None:
    clock.reset()
    now = 0
    #: All tokens of the session in order, and when each was replaced.
    chain = [api.register().tokens["refreshToken"]]
    replaced: list[int] = []
    ended = False
    for step, number in steps:
        if step == "wait":
            clock.advance(seconds=number)
            now += number
            continue
        index = max(0, len(chain) - 1 - number)
        answer = refresh(api, chain[index])
        if ended:
            assert_problem(answer, 401, "unauthorized")
        elif index == len(chain) - 1:
            chain.append(answer.json["refreshToken"])
            replaced.append(now)
            assert len(set(chain)) == len(chain)
        elif index == len(chain) - 2 or now - replaced[index] <= 30:
            assert answer.json["refreshToken"] == chain[index + 1]
        else:
            assert_problem(answer, 401, "token_reused")
            ended = True


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
    for token in (None, device.token, None):
        assert device.api.post("/auth/logout", body, token=token).status_code == 204
    assert_problem(refresh(device.api, device.tokens["refreshToken"]), 401, "unauthorized")


def test_logout_takes_a_replaced_refresh_token(device: Device, clock: Clock) -> None:
    pair = refresh(
        device.api, refresh(device.api, device.tokens["refreshToken"]).json["refreshToken"]
    )
    clock.advance(seconds=3600)
    assert device.api.post("/auth/logout", token=device.tokens["refreshToken"]).status_code == 204
    assert_problem(device.api.get("/sync", token=pair.json["accessToken"]), 401, "unauthorized")


def test_logout_takes_a_token_of_an_account_that_is_gone(device: Device) -> None:
    device.api.delete("/users/me", {"password": PASSWORD}, token=device.token)
    for name in ("accessToken", "refreshToken"):
        assert device.api.post("/auth/logout", token=device.tokens[name]).status_code == 204


def test_logout_takes_an_expired_token_and_no_foreign_one(api: Api, clock: Clock) -> None:
    clock.advance(seconds=-8 * 86400)
    device = api.register()
    clock.reset()
    assert_problem(api.get("/users/me", token=device.token), 401, "token_expired")
    assert api.post("/auth/logout", token=device.token).status_code == 204
    body = {"refreshToken": device.tokens["refreshToken"]}
    assert_problem(api.post("/auth/refresh", body), 401, "token_expired")
    assert api.post("/auth/logout", body).status_code == 204
    assert_problem(api.post("/auth/logout", token="never.ours.atall"), 401, "unauthorized")
    assert_problem(api.post("/auth/logout"), 401, "unauthorized")
