"""Who may do what in a space, and what joining and leaving do to clocks (docs/api.md, "Spaces")."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

import services.sync
from services.sync import invitations
from services.sync import spaces as spaces_module
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Invitation, Member, Space, User
from shared.spaces.holding import hold
from tests.api import Api, Device, assert_problem, new_email
from tests.clock import Clock
from tests.conftest import Backend
from tests.mails import mails, verify
from tests.sharing import invite, join, leave, make_space, members_of, spaces_of

WHO = ("owner", "writer", "reader", "former", "invited", "stranger")
MEMBERS = {"owner", "writer", "reader"}


@dataclass
class House:
    """A space, and somebody of each kind."""

    space: str
    people: dict[str, Device]
    #: For `invited`.
    invitation: str

    def __getitem__(self, who: str) -> Device:
        return self.people[who]


@pytest.fixture
def app(application: object) -> Flask:
    return services.sync.create_app()


@pytest.fixture
def people(api: Api) -> dict[str, Device]:
    people = {who: api.register() for who in WHO}
    for device in people.values():
        verify(device)
    return people


def build(people: dict[str, Device]) -> House:
    owner = people["owner"]
    space = make_space(owner)
    for who in ("writer", "reader"):
        join(owner, space, people[who], who)
    join(owner, space, people["former"], "writer")
    leave(space, people["former"])
    return House(space, people, invite(owner, space, people["invited"].email))


@pytest.fixture
def house(people: dict[str, Device]) -> House:
    return build(people)


#: Of each call its method, path, body, status of success, and who may.
CALLS: list[tuple[str, str, Any, int, set[str]]] = [
    ("PATCH", "/spaces/{space}", {"name": "Hut"}, 200, {"owner"}),
    ("DELETE", "/spaces/{space}", None, 204, {"owner"}),
    ("GET", "/spaces/{space}/members", None, 200, MEMBERS),
    ("PATCH", "/spaces/{space}/members/{reader}", {"role": "writer"}, 200, {"owner"}),
    ("DELETE", "/spaces/{space}/members/{reader}", None, 204, {"owner", "reader"}),
    ("DELETE", "/spaces/{space}/members/{writer}", None, 204, {"owner", "writer"}),
    (
        *("POST", "/spaces/{space}/invitations"),
        *({"email": "somebody@example.com", "role": "reader"}, 201, {"owner"}),
    ),
    ("GET", "/spaces/{space}/invitations", None, 200, {"owner"}),
    ("DELETE", "/spaces/{space}/invitations/{invitation}", None, 204, {"owner"}),
]


def ask(device: Device, method: str, path: str, body: Any = None) -> TestResponse:
    return device.api.call(method, path, body, token=device.token)


def without_id(answer: TestResponse) -> dict[str, Any]:
    return {name: value for name, value in answer.json.items() if name != "requestId"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "may"), CALLS, ids=[f"{c[0]} {c[1]}" for c in CALLS]
)
def test_members_may_by_their_role_and_nobody_else_learns_that_there_is_a_space(
    people: dict[str, Device],
    method: str,
    path: str,
    body: Any,
    status: int,
    may: set[str],
) -> None:
    house = build(people)
    ids = {who: device.user_id for who, device in people.items()}
    for who in sorted(WHO, key=may.__contains__):
        device = people[who]
        there = path.format(space=house.space, invitation=house.invitation, **ids)
        nowhere = path.format(space=uuid.uuid4(), invitation=uuid.uuid4(), **ids)
        unknown = ask(device, method, nowhere, body)
        assert_problem(unknown, 404, "not_found")
        answer = ask(device, method, there, body)
        if who in may:
            assert answer.status_code == status, (who, answer.text)
            # The next one needs it whole.
            house = build(people) if method != "GET" else house
        elif who in MEMBERS:
            assert_problem(answer, 403, "forbidden")
        else:
            assert_problem(answer, 404, "not_found")
            assert without_id(answer) == without_id(unknown)


@pytest.mark.any_backend
def test_without_a_token_every_call_is_401(house: House) -> None:
    ids = {who: device.user_id for who, device in house.people.items()}
    for method, path, body, *_ in CALLS:
        there = path.format(space=house.space, invitation=house.invitation, **ids)
        assert_problem(house["owner"].api.call(method, there, body), 401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/spaces", {"name": "Hut"}),
        ("GET", "/spaces", None),
        ("GET", "/spaces/invitations", None),
        ("POST", "/spaces/invitations/any/accept", None),
        ("POST", "/spaces/invitations/any/decline", None),
    ],
)
@pytest.mark.any_backend
def test_without_a_token_nobody_makes_lists_or_joins(
    api: Api, method: str, path: str, body: Any
) -> None:
    assert_problem(api.call(method, path, body), 401, "unauthorized")


@pytest.mark.parametrize("answer", ["accept", "decline"])
def test_an_invitation_is_there_for_the_invited_alone(house: House, answer: str) -> None:
    path = f"/spaces/invitations/{house.invitation}/{answer}"
    for who in WHO:
        if who != "invited":
            assert_problem(ask(house[who], "POST", path), 404, "not_found")
            assert ask(house[who], "GET", "/spaces/invitations").json == {"invitations": []}
    [mine] = ask(house["invited"], "GET", "/spaces/invitations").json["invitations"]
    assert mine.pop("expiresAt")
    assert mine == {
        "id": house.invitation,
        "spaceId": house.space,
        "spaceName": "Home",
        "role": "writer",
    }
    done = ask(house["invited"], "POST", path)
    assert done.status_code == (200 if answer == "accept" else 204)
    is_in = house.space in spaces_of(house["invited"])
    assert is_in == (answer == "accept")
    # Used up, for both of them.
    for again in ("accept", "decline"):
        used = ask(house["invited"], "POST", f"/spaces/invitations/{house.invitation}/{again}")
        assert_problem(used, 404, "not_found")
    left = ask(house["owner"], "GET", f"/spaces/{house.space}/invitations").json
    assert left == {"invitations": []}


def test_a_space_is_listed_with_the_callers_role_and_how_many_are_in_it(house: House) -> None:
    for who in MEMBERS:
        space = spaces_of(house[who])[house.space]
        assert (space["name"], space["role"], space["members"]) == ("Home", who, 3)
    for who in set(WHO) - MEMBERS:
        assert house.space not in spaces_of(house[who])
    second = make_space(house["reader"], "Later")
    assert list(spaces_of(house["reader"])) == [house.space, second]


def test_members_see_each_other_in_the_order_of_joining(house: House) -> None:
    answer = ask(house["reader"], "GET", f"/spaces/{house.space}/members").json["members"]
    assert [member["role"] for member in answer] == ["owner", "writer", "reader"]
    first = answer[0]
    assert first.pop("joinedAt")
    owner = house["owner"]
    assert first == {"userId": owner.user_id, "name": None, "email": owner.email, "role": "owner"}


def test_a_changed_role_counts_at_once(house: House) -> None:
    owner, reader = house["owner"], house["reader"]
    path = f"/spaces/{house.space}/members/{reader.user_id}"
    answer = ask(owner, "PATCH", path, {"role": "owner"})
    assert (answer.json["userId"], answer.json["role"]) == (reader.user_id, "owner")
    path = f"/spaces/{house.space}/members/{owner.user_id}"
    assert ask(reader, "PATCH", path, {"role": "reader"}).status_code == 200
    assert_problem(ask(owner, "PATCH", f"/spaces/{house.space}", {"name": "x"}), 403, "forbidden")
    roles = members_of(owner, house.space)
    assert (roles[owner.user_id], roles[reader.user_id]) == ("reader", "owner")


def test_the_last_owner_stays(house: House) -> None:
    owner = house["owner"]
    path = f"/spaces/{house.space}/members/{owner.user_id}"
    assert_problem(ask(owner, "DELETE", path), 409, "last_owner")
    assert_problem(ask(owner, "PATCH", path, {"role": "writer"}), 409, "last_owner")
    assert ask(owner, "PATCH", path, {"role": "owner"}).status_code == 200
    alone = make_space(owner)
    assert_problem(
        ask(owner, "DELETE", f"/spaces/{alone}/members/{owner.user_id}"), 409, "last_owner"
    )


@pytest.mark.parametrize("who", ["former", "stranger", "invited"])
def test_who_is_no_member_can_be_neither_changed_nor_removed(house: House, who: str) -> None:
    path = f"/spaces/{house.space}/members/{house[who].user_id}"
    assert_problem(ask(house["owner"], "DELETE", path), 404, "not_found")
    assert_problem(ask(house["owner"], "PATCH", path, {"role": "reader"}), 404, "not_found")
    # Whoever may not do it does not learn who is there, either.
    assert_problem(ask(house["writer"], "DELETE", path), 403, "forbidden")


BAD_BODIES = [
    ("POST", "/spaces", {}, {"name": ["required"]}),
    ("POST", "/spaces", {"name": ""}, {"name": ["too_short"]}),
    ("POST", "/spaces", {"name": None}, {"name": ["invalid"]}),
    ("POST", "/spaces", {"name": "x" * 256}, {"name": ["too_long"]}),
    ("PATCH", "/spaces/{space}", {"name": 1}, {"name": ["invalid"]}),
    ("PATCH", "/spaces/{space}/members/{user}", {"role": "admin"}, {"role": ["invalid"]}),
    ("PATCH", "/spaces/{space}/members/{user}", {}, {"role": ["required"]}),
    (
        *("POST", "/spaces/{space}/invitations", {}),
        {"role": ["required"], "email": ["required"]},
    ),
    (
        *("POST", "/spaces/{space}/invitations", {"email": "nobody", "role": "reader"}),
        {"email": ["invalid"]},
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "codes"), BAD_BODIES)
def test_a_body_that_is_not_what_the_call_takes_is_422(
    device: Device, method: str, path: str, body: Any, codes: dict[str, list[str]]
) -> None:
    there = path.format(space=make_space(device), user=device.user_id)
    problem = assert_problem(ask(device, method, there, body), 422, "invalid_request")
    assert problem["errorCodes"] == codes
    assert_problem(ask(device, method, there, b"["), 400, "invalid_json")


@pytest.mark.parametrize("name", ["x", "x" * 255, "🍉" * 255, "\0", " "])
def test_a_name_of_1_to_255_characters_comes_back_as_it_was(device: Device, name: str) -> None:
    space = make_space(device, name)
    assert spaces_of(device)[space]["name"] == name
    renamed = ask(device, "PATCH", f"/spaces/{space}", {"name": name[::-1]})
    assert renamed.json["name"] == name[::-1]


# Invitations


def test_a_second_invitation_for_an_address_replaces_the_first(house: House) -> None:
    second = invite(house["owner"], house.space, house["invited"].email.upper(), "reader")
    [there] = ask(house["owner"], "GET", f"/spaces/{house.space}/invitations").json["invitations"]
    assert (there["id"], there["role"]) == (second, "reader")
    assert there["email"] == house["invited"].email
    first = f"/spaces/invitations/{house.invitation}/accept"
    assert_problem(ask(house["invited"], "POST", first), 404, "not_found")
    accepted = ask(house["invited"], "POST", f"/spaces/invitations/{second}/accept")
    assert accepted.json["role"] == "reader"


def test_an_invitation_is_open_for_seven_days(house: House, clock: Clock) -> None:
    clock.advance(seconds=7 * 86400 - 60)
    invited = house["invited"].another()
    assert len(ask(invited, "GET", "/spaces/invitations").json["invitations"]) == 1
    clock.advance(seconds=120)
    invited, owner = house["invited"].another(), house["owner"].another()
    assert ask(invited, "GET", "/spaces/invitations").json == {"invitations": []}
    for answer in ("accept", "decline"):
        path = f"/spaces/invitations/{house.invitation}/{answer}"
        assert_problem(ask(invited, "POST", path), 404, "not_found")
    path = f"/spaces/{house.space}/invitations"
    assert ask(owner, "GET", path).json == {"invitations": []}
    assert_problem(ask(owner, "DELETE", f"{path}/{house.invitation}"), 404, "not_found")


def test_a_withdrawn_invitation_and_one_to_a_deleted_space_are_nowhere(house: House) -> None:
    owner, invited = house["owner"], house["invited"]
    path = f"/spaces/{house.space}/invitations/{house.invitation}"
    assert ask(owner, "DELETE", path).status_code == 204
    assert_problem(ask(owner, "DELETE", path), 404, "not_found")
    second = invite(owner, house.space, invited.email)
    assert ask(owner, "DELETE", f"/spaces/{house.space}").status_code == 204
    for id_ in (house.invitation, second):
        accepted = ask(invited, "POST", f"/spaces/invitations/{id_}/accept")
        assert_problem(accepted, 404, "not_found")
    assert ask(invited, "GET", "/spaces/invitations").json == {"invitations": []}


def test_an_invitation_is_withdrawn_by_owners_of_its_own_space(house: House) -> None:
    other = make_space(house["owner"])
    path = f"/spaces/{other}/invitations/{house.invitation}"
    assert_problem(ask(house["owner"], "DELETE", path), 404, "not_found")
    assert len(ask(house["invited"], "GET", "/spaces/invitations").json["invitations"]) == 1


def test_an_address_without_an_account_is_invited_like_any_other(api: Api, device: Device) -> None:
    space, email = make_space(device), new_email()
    body = {"email": email, "role": "writer"}
    known = ask(device, "POST", f"/spaces/{space}/invitations", body | {"email": device.email})
    unknown = ask(device, "POST", f"/spaces/{space}/invitations", body)
    assert known.status_code == unknown.status_code == 201
    assert known.json.keys() == unknown.json.keys() == {"id", "email", "role", "expiresAt"}
    later = api.register(email)
    assert ask(later, "GET", "/spaces/invitations").json == {"invitations": []}
    path = f"/spaces/invitations/{unknown.json['id']}/accept"
    # It may be somebody else who has registered with the address.
    assert_problem(ask(later, "POST", path), 404, "not_found")
    verify(later)
    assert ask(later, "POST", path).status_code == 200


def test_an_invitation_is_told_by_mail_three_times_an_hour(device: Device, clock: Clock) -> None:
    space, email = make_space(device, "Buy melons at example.org"), new_email()
    for _ in range(4):
        invite(device, space, email)
    told = mails(email, "invited")
    assert len(told) == 3
    for part in ("text", "html"):
        assert device.email in told[0][part] and email in told[0][part]
        # Nobody has us send what they like to whom they like.
        assert "melons" not in told[0][part]
    clock.advance(seconds=3601)
    invite(device.another(), space, email)
    assert len(mails(email, "invited")) == 4


def test_a_space_has_a_bounded_number_of_open_invitations(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MAX_INVITATIONS", 2)
    space = make_space(device)
    first, second = new_email(), new_email()
    invite(device, space, first)
    invite(device, space, second)
    body = {"email": new_email(), "role": "reader"}
    path = f"/spaces/{space}/invitations"
    assert_problem(ask(device, "POST", path, body), 409, "too_many_invitations")
    third = invite(device, space, second)
    assert ask(device, "DELETE", f"{path}/{third}").status_code == 204
    assert ask(device, "POST", path, body).status_code == 201


def test_a_user_is_in_a_bounded_number_of_spaces_with_those_that_are_left(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one pull could keep a processor for minutes."""
    monkeypatch.setattr(spaces_module, "MAX_SPACES", 2)
    invited = house["invited"]
    first, _ = make_space(invited), make_space(invited)
    assert ask(invited, "DELETE", f"/spaces/{first}").status_code == 204
    assert_problem(ask(invited, "POST", "/spaces", {"name": "Third"}), 409, "too_many_spaces")
    path = f"/spaces/invitations/{house.invitation}"
    assert_problem(ask(invited, "POST", f"{path}/accept"), 409, "too_many_spaces")
    assert ask(invited, "POST", f"{path}/decline").status_code == 204
    # Who comes back is not one more.
    join(house["owner"], house.space, house["former"])


def test_a_member_who_accepts_an_invitation_stays_in_their_role(house: House) -> None:
    owner = house["owner"]
    for who in ("owner", "writer"):
        invitation = invite(owner, house.space, house[who].email, "reader")
        accepted = ask(house[who], "POST", f"/spaces/invitations/{invitation}/accept")
        assert (accepted.json["role"], accepted.json["members"]) == (who, 3)


def test_a_full_space_takes_nobody_and_the_invitation_stays(
    house: House, monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    original = invitations.accept
    monkeypatch.setattr(
        invitations, "accept", lambda user, invitation, _: original(user, invitation, 3)
    )
    path = f"/spaces/invitations/{house.invitation}/accept"
    assert_problem(ask(house["invited"], "POST", path), 409, "space_full")
    leave(house.space, house["reader"])
    assert ask(house["invited"], "POST", path).status_code == 200


# Ticks


def standing(app: Flask, space: str) -> tuple[int, dict[str, int]]:
    """The last tick of a space, and the clocks of everybody who is or was in it."""
    with app.app_context(), db.session.begin():
        last = db.session.scalar(select(Space.last_tick).where(Space.id == space))
        found = db.session.execute(
            select(User.id, User.last_modified_at)
            .join(Member, Member.user_id == User.id)
            .where(Member.space_id == space)
        )
        return last, {row.id: row.last_modified_at for row in found}


def membership(app: Flask, space: str, user_id: str) -> Member:
    with app.app_context(), db.session.begin():
        found = db.session.scalar(
            select(Member).where(Member.space_id == space, Member.user_id == user_id)
        )
        db.session.expunge(found)
        return found


def set_clock(app: Flask, user_id: str, tick: int) -> None:
    with app.app_context(), db.session.begin():
        db.session.execute(update(User).where(User.id == user_id).values(last_modified_at=tick))


def has_spaces(app: Flask, device: Device) -> bool:
    with app.app_context(), db.session.begin():
        return db.session.scalar(select(User.has_spaces).where(User.id == device.user_id))


def test_making_a_space_takes_a_tick_of_its_maker(device: Device, app: Flask) -> None:
    assert not has_spaces(app, device)
    ahead = device.pull()["timestamp"] + 3_600_000
    set_clock(app, device.user_id, ahead)
    space = make_space(device)
    assert has_spaces(app, device)
    assert standing(app, space) == (ahead + 1, {device.user_id: ahead + 1})
    assert membership(app, space, device.user_id).joined_tick == ahead + 1
    assert device.pull()["timestamp"] == ahead + 1


def test_joining_takes_a_tick_above_all_clocks_and_gives_it_to_who_joins(
    house: House, app: Flask
) -> None:
    owner, invited = house["owner"], house["invited"]
    _, before = standing(app, house.space)
    ahead = before[owner.user_id] + 3_600_000
    set_clock(app, owner.user_id, ahead)
    assert not has_spaces(app, invited)
    ask(invited, "POST", f"/spaces/invitations/{house.invitation}/accept")
    assert has_spaces(app, invited)
    last, clocks = standing(app, house.space)
    joined = membership(app, house.space, invited.user_id)
    assert last == joined.joined_tick == clocks.pop(invited.user_id) == ahead + 1
    assert joined.left_tick is None and not joined.has_left
    assert clocks == before | {owner.user_id: ahead}


@pytest.mark.parametrize("by", ["writer", "owner"])
def test_leaving_takes_a_tick_above_all_clocks_and_gives_it_to_who_leaves(
    house: House, app: Flask, by: str
) -> None:
    writer = house["writer"]
    _, before = standing(app, house.space)
    ahead = before[house["reader"].user_id] + 3_600_000
    set_clock(app, house["reader"].user_id, ahead)
    path = f"/spaces/{house.space}/members/{writer.user_id}"
    assert ask(house[by], "DELETE", path).status_code == 204
    last, clocks = standing(app, house.space)
    left = membership(app, house.space, writer.user_id)
    assert left.has_left
    assert last == left.left_tick == clocks.pop(writer.user_id) == ahead + 1
    del before[writer.user_id]
    assert clocks == before | {house["reader"].user_id: ahead}
    # Known to Redis, too: a pull that asks it alone hears of the tick.
    assert writer.pull()["timestamp"] == ahead + 1


def test_who_comes_back_joins_anew_and_keeps_the_tick_of_having_left(
    house: House, app: Flask
) -> None:
    former = house["former"]
    before = membership(app, house.space, former.user_id)
    join(house["owner"], house.space, former, "reader")
    after = membership(app, house.space, former.user_id)
    assert (after.role, after.has_left, after.left_tick) == ("reader", False, before.left_tick)
    assert after.joined_tick > before.left_tick
    assert after.joined_at >= before.joined_at


def test_all_members_leave_a_deleted_space_at_one_tick(house: House, app: Flask) -> None:
    _, before = standing(app, house.space)
    assert ask(house["owner"], "DELETE", f"/spaces/{house.space}").status_code == 204
    last, clocks = standing(app, house.space)
    for who in MEMBERS:
        left = membership(app, house.space, house[who].user_id)
        assert left.has_left
        assert left.left_tick == last == clocks[house[who].user_id]
    former = house["former"].user_id
    assert clocks[former] == before[former]
    with app.app_context(), db.session.begin():
        assert db.session.get(Space, house.space).deleted_at is not None
        gone = select(Invitation.id).where(Invitation.space_id == house.space)
        assert db.session.scalars(gone).all() == []
    for who in WHO:
        path = f"/spaces/{house.space}/members"
        assert_problem(ask(house[who], "GET", path), 404, "not_found")


def test_names_roles_and_invitations_take_no_tick(house: House, app: Flask) -> None:
    before = standing(app, house.space)
    owner = house["owner"]
    ask(owner, "PATCH", f"/spaces/{house.space}", {"name": "Hut"})
    path = f"/spaces/{house.space}/members/{house['reader'].user_id}"
    ask(owner, "PATCH", path, {"role": "writer"})
    ask(house["invited"], "POST", f"/spaces/invitations/{house.invitation}/decline")
    invite(owner, house.space, new_email())
    assert standing(app, house.space) == before


# At the same time


def at_once(*calls: tuple[Device, str, str]) -> list[int]:
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = [pool.submit(ask, *call) for call in calls]
        return sorted(answer.result().status_code for answer in answers)


def test_two_who_accept_the_last_place_at_once_get_it_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = invitations.accept
    monkeypatch.setattr(
        invitations, "accept", lambda user, invitation, _: original(user, invitation, 4)
    )
    second = invite(house["owner"], house.space, house["stranger"].email)
    statuses = at_once(
        (house["invited"], "POST", f"/spaces/invitations/{house.invitation}/accept"),
        (house["stranger"], "POST", f"/spaces/invitations/{second}/accept"),
    )
    assert statuses == [200, 409]
    assert len(members_of(house["owner"], house.space)) == 4


def test_two_owners_who_leave_at_once_do_not_both_leave(house: House) -> None:
    owner, other = house["owner"], house["writer"]
    path = f"/spaces/{house.space}/members/{{}}"
    ask(owner, "PATCH", path.format(other.user_id), {"role": "owner"})
    statuses = at_once(
        (owner, "DELETE", path.format(owner.user_id)),
        (other, "DELETE", path.format(other.user_id)),
    )
    assert statuses == [204, 409]
    assert "owner" in members_of(house["reader"], house.space).values()


def test_leaving_twice_at_once_is_leaving_once(house: House, app: Flask) -> None:
    path = f"/spaces/{house.space}/members/{house['reader'].user_id}"
    statuses = at_once((house["reader"], "DELETE", path), (house["owner"], "DELETE", path))
    assert statuses == [204, 404]


@pytest.mark.parametrize("other", ["withdraw", "decline", "accept"])
def test_an_invitation_is_used_once_whatever_comes_at_the_same_time(
    house: House, other: str
) -> None:
    accept = f"/spaces/invitations/{house.invitation}/accept"
    rival = {
        "withdraw": (
            house["owner"],
            "DELETE",
            f"/spaces/{house.space}/invitations/{house.invitation}",
        ),
        "decline": (house["invited"], "POST", f"/spaces/invitations/{house.invitation}/decline"),
        "accept": (house["invited"], "POST", accept),
    }[other]
    statuses = at_once((house["invited"], "POST", accept), rival)
    assert statuses in ([200, 404], [204, 404])
    assert (statuses == [200, 404]) == (house.space in spaces_of(house["invited"]))


def test_joins_and_leaves_of_common_members_from_all_sides_end_well(
    backend: Backend, people: dict[str, Device], app: Flask
) -> None:
    owners = [people["owner"], people["writer"]]
    spaces = [make_space(owner) for owner in owners]
    for space, owner, other in zip(spaces, owners, owners[::-1], strict=True):
        join(owner, space, other, "owner")
    guests = [people[who] for who in ("reader", "former", "invited", "stranger")]

    def come_and_go(place: tuple[Device, str, Device]) -> None:
        owner, space, guest = place
        for _ in range(8):
            invitation = ask(
                *(owner, "POST", f"/spaces/{space}/invitations"),
                {"email": guest.email, "role": "writer"},
            )
            assert invitation.status_code == 201, invitation.text
            id_ = invitation.json["id"]
            accepted = ask(guest, "POST", f"/spaces/invitations/{id_}/accept")
            assert accepted.status_code == 200, accepted.text
            path = f"/spaces/{space}/members/{guest.user_id}"
            left = ask(guest, "DELETE", path)
            assert left.status_code == 204, left.text

    # Each owner and each guest twice at a time, in a different space.
    places = [
        (owner, space, guest)
        for at, guest in enumerate(guests)
        for owner, space in zip(owners, spaces if at % 2 else spaces[::-1], strict=True)
    ]
    is_over = Event()

    def hold_on(space: str) -> None:
        """Take ticks of all members, as pushes into the space do."""

        @transaction
        def take() -> None:
            held = hold([space])
            held.give(held.clocks, [space])

        with app.app_context():
            while not is_over.is_set():
                take()

    with ThreadPoolExecutor(len(places) + len(spaces)) as pool:
        # SQLite has one writer, and nothing to lock in a circle: these would starve the others.
        holding = [pool.submit(hold_on, space) for space in spaces if backend.database]
        try:
            list(pool.map(come_and_go, places))
        finally:
            is_over.set()
        for one in holding:
            one.result()
    for owner, space in zip(owners, spaces, strict=True):
        assert len(members_of(owner, space)) == 2
        last, clocks = standing(app, space)
        assert last <= max(clocks.values())
