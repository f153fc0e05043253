"""The server's own hand: pushes of the app's server, by whatever way they come (docs/api.md, "Push").

All rows of synced tables are written through here or by a device's push, under the same locks, at a tick of
everybody whom they concern.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from sqlalchemy import select, true

from services.sync import metering
from services.sync.moving import Again
from services.sync.plan import Key, Push, PushResult, result
from services.sync.schemas import LATEST, Changes
from services.sync.sharing import named_spaces, remember_revived, sort, write_sorted
from services.sync.sorting import SERVER, Sorting
from services.sync.writing import Refused, Writing
from shared.auth.revocations import raise_clocks
from shared.database.base import db
from shared.database.bulk import CHUNK
from shared.database.transaction import one_transaction, transaction
from shared.models import Space, User
from shared.spaces.holding import Held, hold_those_there, look_up_kinds
from shared.web.errors import NotFound, TooLarge

#: Other spaces that one push may put rows into. It holds them all, with all their members.
MAX_SPACES = 100
#: What can be the id of a space or a user.
SPACE_ID = re.compile(r"[\w.-]{1,36}", re.ASCII)


class NoSuchSpace(NotFound):
    """There is no such space or user, or no more."""

    detail = "There is no such space or user."


def push_as_server(space_id: str, changes: Changes, author: str) -> PushResult:
    """Apply `changes`, whose shape has been checked, to a shared space or a user's own.

    To a server nothing is unseen. A record that names another space that there is goes there. `author`, an
    id of at most 36 characters, is noted with the rows that come into being. Raises `NoSuchSpace`, and
    `TooLarge` for a push to very many spaces.
    """
    named = {named for named in named_spaces(changes) if SPACE_ID.fullmatch(named)}
    ids = {space_id, *named} if SPACE_ID.fullmatch(space_id) else ()
    spaces, users = look_up_kinds(ids)
    if space_id not in spaces | users:
        raise NoSuchSpace
    if len(spaces | users) > MAX_SPACES + 1:
        raise TooLarge(f"A push may name {MAX_SPACES} other spaces.")
    refused: set[Key] = set()
    while True:
        try:
            pushed = _attempt(space_id, changes, author, spaces, users, refused)
            break
        except Again as again:
            refused.update(again.refused)
    raise_clocks(pushed.others, pushed.timestamp)
    metering.count(changes, pushed)
    return pushed


@contextmanager
def writing(space_id: str, author: str = SERVER) -> Iterator[Writing]:
    """Hold a shared space or a user's own, and write to it what the block has gathered when that ends.

    All of it or nothing: an exception in the block leaves everything as it was. Raises `NoSuchSpace`, and at
    the end of the block `Refused`. While it runs, nobody else writes to the space.
    """
    spaces, users = look_up_kinds([space_id] if SPACE_ID.fullmatch(space_id) else ())
    with one_transaction(partial(hold_those_there, spaces, users)) as held:
        push = Push(space_id, author, LATEST, held.tick, is_server=True)
        _check_there(space_id, _living(held, users))
        block = Writing(space_id, is_shared=space_id in held.spaces)
        yield block
        changes = block.gathered()
        pushed = apply(push, held, users, changes, ())
        if pushed.refused:
            raise Refused(pushed.refused)
    raise_clocks(pushed.others, pushed.timestamp)
    metering.count(changes, pushed)


def every_space() -> Iterator[str]:
    """Yield the ids of all users, for their own spaces, and of all shared spaces; some at a time."""
    for column, condition in ((User.id, true()), (Space.id, Space.deleted_at.is_(None))):
        after = ""
        while True:
            query = select(column).where(column > after, condition).order_by(column).limit(CHUNK)
            with db.engines["look_ups"].connect() as connection:
                found = connection.scalars(query).all()
            yield from found
            if len(found) < CHUNK:
                break
            after = found[-1]


@transaction
def _attempt(
    space_id: str,
    changes: Changes,
    author: str,
    spaces: Collection[str],
    users: Collection[str],
    refused: Collection[Key],
) -> PushResult:
    held = hold_those_there(spaces, users)
    push = Push(space_id, author, LATEST, held.tick, is_server=True)
    return apply(push, held, users, changes, refused)


def apply(
    push: Push, held: Held, users: Collection[str], changes: Changes, refused: Collection[Key]
) -> PushResult:
    """Apply a push of the server to what it holds: spaces, and the own ones of `users`.

    Raises `NoSuchSpace`, and `Again` with rows that cannot be moved.
    """
    there = _living(held, users)
    _check_there(push.user_id, there)
    roles = dict.fromkeys((id_ for id_ in there if id_ != push.user_id), SERVER)
    sorting = Sorting(push, roles, refused, there, is_shared=push.user_id in held.spaces)
    sort(sorting, changes)
    has_strays = write_sorted(push, sorting)
    remember_revived(sorting)
    space = held.spaces.get(push.user_id)
    return result(
        push,
        held.clocks[push.user_id] if space is None else space.last_tick,
        sorting.made,
        # What is refused is told to the server, which pulls nothing.
        takes_tick=bool(sorting.spaces),
        has_strays=has_strays,
        refused=sorting.refused,
        others=_give(held, sorting.spaces),
    )


def _living(held: Held, users: Collection[str]) -> list[str]:
    """Return the shared spaces and users of those held that have not ended."""
    spaces = [id_ for id_, space in held.spaces.items() if space.deleted_at is None]
    return spaces + [user_id for user_id in users if user_id in held.clocks]


def _check_there(space_id: str, there: Collection[str]) -> None:
    if space_id not in there:
        raise NoSuchSpace


def _give(held: Held, touched: Collection[str]) -> Mapping[str, int]:
    """Give the tick to all whom the push concerns; return their clocks before."""
    shared = {space_id for space_id in touched if space_id in held.spaces}
    concerned = {*touched} - shared
    concerned |= {user_id for space_id in shared for user_id in held.members[space_id]}
    held.give(concerned, shared)
    return {user_id: held.clocks[user_id] for user_id in concerned}
