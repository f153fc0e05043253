"""Whoever holds a space holds the clocks of its members, and has a tick above all of them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from flask import Flask
from sqlalchemy import select

import services.sync
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Member, Space, User
from shared.now import now_ms
from shared.spaces.holding import hold
from shared.web.errors import Unauthorized
from tests.api import Api, new_id

HOUR_MS = 3_600_000


@pytest.fixture
def app(application: object) -> Flask:
    return services.sync.create_app()


def add_space(last_tick: int, *members: str, left: tuple[str, ...] = ()) -> str:
    now, id_ = now_ms(), new_id()
    with db.session.begin():
        db.session.add(Space(id=id_, name="Home", created_at=now, last_tick=last_tick))
        db.session.flush()
        for user_id in (*members, *left):
            ticks = {"joined_at": now, "joined_tick": now, "has_left": user_id in left}
            db.session.add(Member(space_id=id_, user_id=user_id, role="writer", **ticks))
    return id_


def set_clock(user_id: str, tick: int) -> None:
    with db.session.begin():
        db.session.get(User, user_id).last_modified_at = tick


def clocks(*user_ids: str) -> list[int]:
    with db.session.begin():
        found = db.session.execute(
            select(User.id, User.last_modified_at).where(User.id.in_(user_ids))
        )
        by_user = {row.id: row.last_modified_at for row in found}
    return [by_user[id_] for id_ in user_ids]


@pytest.mark.parametrize("latest", ["member", "other", "space", "nobody"])
def test_the_tick_is_above_every_clock_that_is_held(api: Api, app: Flask, latest: str) -> None:
    member, other, former = (api.register().user_id for _ in range(3))
    ahead = now_ms() + HOUR_MS
    with app.app_context():
        for name, user_id in (("member", member), ("other", other)):
            if name == latest:
                set_clock(user_id, ahead)
        set_clock(former, ahead + HOUR_MS)
        space = add_space(ahead if latest == "space" else 1, member, left=(former,))
        before = now_ms()
        with db.session.begin():
            held = hold([space, "unknown"], other)
            held.give([member, other], [space])
        assert held.tick == ahead + 1 if latest != "nobody" else before <= held.tick <= now_ms()
        assert held.spaces.keys() == {space}
        assert held.members == {space: {member: "writer"}}
        assert held.clocks.keys() == {member, other}
        assert clocks(member, other, former) == [held.tick, held.tick, ahead + HOUR_MS]
        with db.session.begin():
            assert db.session.get(Space, space).last_tick == held.tick


def test_whoever_is_gone_is_not_held(app: Flask) -> None:
    with app.app_context(), pytest.raises(Unauthorized), db.session.begin():
        hold([], "nobody")


def test_what_is_held_sees_what_the_one_before_committed(api: Api, app: Flask) -> None:
    """Else two ticks of a common member could be the same, or stand in the wrong order."""
    first, common, second = (api.register().user_id for _ in range(3))
    holds, waits = Event(), Event()
    is_sqlite = app.config["DATABASE_URL"].startswith("sqlite")

    def change(space: str, is_first: bool) -> int:
        with app.app_context():
            if is_sqlite and not is_first:
                # Once it has begun there, the first could not.
                holds.wait(10)

            @transaction
            def work() -> int:
                if not is_first:
                    holds.wait(10)
                    waits.set()
                held = hold([space])
                if is_first:
                    holds.set()
                    waits.wait(10)
                held.give(held.clocks, [space])
                return held.tick

            return work()

    with app.app_context():
        spaces = [add_space(1, first, common), add_space(1, common, second)]
    if is_sqlite:
        # There the second waits before it has begun.
        waits.set()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(change, spaces[0], True), pool.submit(change, spaces[1], False)]
        ticks = [future.result() for future in futures]
    assert ticks[0] < ticks[1]
    with app.app_context():
        assert clocks(first, common, second) == [ticks[0], ticks[1], ticks[1]]
