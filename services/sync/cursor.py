"""Cursors: where the next page of a pull begins (docs/api.md, "Pull")."""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

import orjson

from services.sync.schemas import LATEST, SAFE_ID
from services.sync.selection import Mode, PullRequest, Scope
from services.sync.views import Key
from shared.models.tables import pulled_tables
from shared.web.errors import Problem


class InvalidCursor(Problem):
    """The cursor is none of ours, or belongs to another user or other parameters."""

    status, code = 400, "invalid_cursor"
    detail = (
        "The cursor does not belong to this call with these parameters. Begin again without one."
    )


@dataclass(frozen=True)
class Cursor:
    """After the row `id` ("": from the first one) of `table`, in a pull that was begun at `timestamp`.

    `key`: of the unit of the table that the row is in (`services.sync.views`).
    """

    timestamp: int
    scope: Scope
    table: str
    key: Key
    id: str


def write(cursor: Cursor, pull: PullRequest, limit: int) -> str:
    """Return the text that brings this cursor back."""
    scope = cursor.scope
    place = (cursor.timestamp, scope.mode, scope.dead_after, cursor.table, cursor.key, cursor.id)
    fields = (*place, _seal(pull, limit))
    return urlsafe_b64encode(orjson.dumps(fields)).decode()


def read(text: object, pull: PullRequest, limit: int) -> Cursor:
    """Return the cursor of `text`. Raises `InvalidCursor`."""
    try:
        timestamp, mode, dead, table, key, id_, seal = orjson.loads(
            b64decode(str(text), b"-_", validate=True)
        )
        scope = Scope(Mode(mode), None if dead is None else int(dead))
        cursor = Cursor(int(timestamp), scope, str(table), _read_key(key), str(id_))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidCursor from error
    is_possible = (
        0 <= cursor.timestamp <= LATEST
        and 0 <= (scope.dead_after or 0) <= LATEST
        and (cursor.id == "" or SAFE_ID.fullmatch(cursor.id))
        and table in [known.name for known in pulled_tables()]
    )
    if not is_possible or seal != _seal(pull, limit):
        raise InvalidCursor
    return cursor


def _read_key(given: Any) -> Key:
    """Return a key that can be compared with any other. Raises `ValueError`, `TypeError`."""
    step, made_at, space_id, again = given
    return int(step), int(made_at), str(space_id), int(again)


def _seal(pull: PullRequest, limit: int) -> str:
    """Return what stands for the user and the parameters. Who forges it reads their own rows, askew."""
    migration = pull.migration and (
        sorted(pull.migration.tables),
        sorted((table, sorted(names)) for table, names in pull.migration.columns.items()),
    )
    fields = (pull.caller.user_id, pull.last_pulled_at, pull.created_as_updated, limit, migration)
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()[:16]
