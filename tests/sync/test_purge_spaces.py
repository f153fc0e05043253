"""What the purge removes of shared spaces, and what it notes where (docs/api.md, "Pull")."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

import services.sync
from services.sync import purge as purge_module
from shared.database.base import db
from shared.models import Invitation, Member, Resend, Space, User
from shared.models.demo import Project
from shared.models.tables import synced_tables
from shared.now import DAY_MS, now_ms
from tests.api import Api, Device, new_email, new_id, project
from tests.sharing import invite, join, leave, make_space, spaces_of

LONG_AGO = now_ms() - 200 * DAY_MS


@pytest.fixture
def app(application: object) -> Flask:
    return services.sync.create_app()


def purge(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output


def add_row(app: Flask, owner: str, tick: int, *, is_deleted: bool = False) -> str:
    """Store a project of a space or user as a push at that tick would have."""
    id_ = new_id()
    with app.app_context(), db.session.begin():
        db.session.add(
            Project(
                user_id=owner,
                id=id_,
                name="Old",
                description=None,
                created_at=0,
                updated_at=0,
                created_at_ms=tick,
                updated_at_ms=tick,
                is_deleted=is_deleted,
                created_by="somebody",
            )
        )
    return id_


def ids_of(app: Flask, owner: str) -> set[str]:
    with app.app_context(), db.session.begin():
        return set(db.session.scalars(select(Project.id).where(Project.user_id == owner)))


def one(app: Flask, model: Any, *conditions: Any) -> Any:
    with app.app_context(), db.session.begin():
        found = db.session.scalar(select(model).where(*conditions))
        if found is not None:
            db.session.expunge(found)
        return found


def change(app: Flask, model: Any, *conditions: Any, **values: Any) -> None:
    with app.app_context(), db.session.begin():
        db.session.execute(update(model).where(*conditions).values(values))


def user(app: Flask, device: Device) -> User:
    found: User = one(app, User, User.id == device.user_id)
    return found


def test_a_spaces_tombstones_go_and_the_space_knows_up_to_which_tick(
    device: Device, app: Flask
) -> None:
    space, other = make_space(device), make_space(device)
    live = add_row(app, space, LONG_AGO - 5)
    add_row(app, space, LONG_AGO - 3, is_deleted=True)
    add_row(app, space, LONG_AGO, is_deleted=True)
    recent = add_row(app, space, now_ms(), is_deleted=True)
    purge(app)
    assert ids_of(app, space) == {live, recent}
    assert one(app, Space, Space.id == space).purged_until == LONG_AGO
    assert one(app, Space, Space.id == other).purged_until == 0
    assert user(app, device).purged_until == 0


def test_who_left_long_ago_is_forgotten_and_pulls_anew_from_before(
    api: Api, device: Device, app: Flask
) -> None:
    space = make_space(device)
    long_ago, lately, back = (api.register() for _ in range(3))
    for guest in (long_ago, lately, back):
        join(device, space, guest)
        leave(space, guest)
    join(device, space, back)
    for guest in (long_ago, back):
        of = (Member.user_id == guest.user_id, Member.space_id == space)
        change(app, Member, *of, left_tick=LONG_AGO)
    purge(app)
    assert one(app, Member, Member.user_id == long_ago.user_id) is None
    assert user(app, long_ago).purged_until == LONG_AGO
    assert not user(app, long_ago).has_spaces
    for guest in (lately, back, device):
        assert one(app, Member, Member.user_id == guest.user_id) is not None
        assert user(app, guest).purged_until == 0
        assert user(app, guest).has_spaces
    assert space in spaces_of(back)
    assert "experimentalStrategy" not in long_ago.pull_raw(LONG_AGO).json
    assert long_ago.pull_raw(LONG_AGO - 1).json["experimentalStrategy"] == "replacement"


def add_resend(app: Flask, device: Device, tick: int) -> None:
    with app.app_context(), db.session.begin():
        db.session.add(
            Resend(user_id=device.user_id, table_name="projects", row_id=new_id(), tick=tick)
        )
        db.session.get(User, device.user_id).has_spaces = True


def test_old_refusals_are_forgotten_and_noted_with_their_user(
    api: Api, device: Device, app: Flask
) -> None:
    other = api.register()
    for tick in (LONG_AGO - 2, LONG_AGO):
        add_resend(app, device, tick)
        add_resend(app, other, tick)
    add_resend(app, other, now_ms())
    purge(app)
    assert one(app, Resend, Resend.user_id == device.user_id) is None
    assert one(app, Resend, Resend.user_id == other.user_id) is not None
    for each in (device, other):
        assert user(app, each).purged_until == LONG_AGO
    assert not user(app, device).has_spaces
    assert user(app, other).has_spaces


def test_a_deleted_space_goes_with_its_rows_once_no_device_needs_them(
    api: Api, device: Device, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_module, "BATCH", 3)
    guest = api.register()
    spaces = [make_space(device) for _ in range(3)]
    for space in spaces:
        join(device, space, guest)
        for _ in range(5):
            add_row(app, space, LONG_AGO)
    lately, long_ago, kept = spaces
    for space in (lately, long_ago):
        path = f"/spaces/{space}"
        assert device.api.delete(path, token=device.token).status_code == 204
    of = Member.space_id == long_ago
    # Of a clock that was ahead.
    change(app, Space, Space.id == long_ago, deleted_at=LONG_AGO)
    purge(app)
    assert one(app, Space, Space.id == long_ago) is not None
    change(app, Member, of, left_tick=LONG_AGO)
    purge(app)
    assert one(app, Space, Space.id == long_ago) is None
    assert ids_of(app, long_ago) == set()
    for space in (lately, kept):
        assert len(ids_of(app, space)) == 5
    assert user(app, guest).purged_until == LONG_AGO
    assert user(app, guest).has_spaces


def test_rows_of_nobody_go_and_no_other(device: Device, app: Flask) -> None:
    p = project()
    device.push(projects={"created": [p]})
    space = make_space(device)
    shared = add_row(app, space, now_ms())
    nobodys = [new_id(), "0" * 36, "zzz"]
    for owner in nobodys:
        for is_deleted in (False, True):
            add_row(app, owner, LONG_AGO, is_deleted=is_deleted)
    purge(app)
    assert [ids_of(app, owner) for owner in nobodys] == [set(), set(), set()]
    assert ids_of(app, device.user_id) == {p["id"]}
    assert ids_of(app, space) == {shared}


def test_the_search_for_rows_of_nobody_is_bounded_and_gets_round_in_time(
    device: Device, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few for a bound that can be told from no bound, and enough to get round among all users of other tests.
    batch = 8
    monkeypatch.setattr(purge_module, "BATCH", batch)
    monkeypatch.setattr(purge_module, "MAX_BATCHES", 1)
    nobodys = [f"{digit}{new_id()}" for digit in "0123456789abcdef"]
    for owner in nobodys:
        add_row(app, owner, now_ms())
    asked = []
    find = purge_module._find
    monkeypatch.setattr(purge_module, "_find", lambda query: asked.append(1) or find(query))
    [projects] = [table for table in synced_tables() if table.name == "projects"]
    left = select(Project.id).where(Project.user_id.in_(nobodys)).limit(1)
    rounds = 0
    with app.app_context():
        while db.session.scalar(left):
            db.session.rollback()
            asked.clear()
            purge_module._purge_nobodys(projects)
            # Owners, users and spaces for each direction; of each owner rows, and that there are no more.
            assert len(asked) <= 2 * 3 + 2 * batch * 2
            rounds += 1
            assert rounds < 10_000


def test_expired_invitations_go(device: Device, app: Flask) -> None:
    space = make_space(device)
    expired, open_ = invite(device, space, new_email()), invite(device, space, new_email())
    long_ago = now_ms() - 2 * DAY_MS
    change(app, Invitation, Invitation.id == expired, expires_at=long_ago)
    purge(app)
    assert one(app, Invitation, Invitation.id == expired) is None
    assert one(app, Invitation, Invitation.id == open_) is not None
