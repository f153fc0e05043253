"""Cursors: where the next page of a pull begins (docs/api.md, "Pull")."""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass

import orjson

from services.sync.schemas import LATEST, SAFE_ID
from services.sync.selection import Mode, PullRequest, Scope
from shared.models.tables import synced_tables
from shared.web.errors import Problem


class InvalidCursor(Problem):
    """The cursor is none of ours, or belongs to another user or other parameters."""

    status, code = 400, "invalid_cursor"
    detail = "The cursor does not belong to this pull. Begin again without one."


@dataclass(frozen=True)
class Cursor:
    """After the row `id` ("": from the first one) of `table`, in a pull that was begun at `timestamp`."""

    timestamp: int
    scope: Scope
    table: str
    id: str


def write(cursor: Cursor, pull: PullRequest, limit: int) -> str:
    """Return the text that brings this cursor back."""
    scope = cursor.scope
    place = (cursor.timestamp, scope.mode, scope.dead_after, cursor.table, cursor.id)
    fields = (*place, _seal(pull, limit))
    return urlsafe_b64encode(orjson.dumps(fields)).decode()


def read(text: object, pull: PullRequest, limit: int) -> Cursor:
    """Return the cursor of `text`. Raises `InvalidCursor`."""
    try:
        timestamp, mode, dead, table, id_, seal = orjson.loads(
            b64decode(str(text), b"-_", validate=True)
        )
        scope = Scope(Mode(mode), None if dead is None else int(dead))
        cursor = Cursor(int(timestamp), scope, str(table), str(id_))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidCursor from error
    is_possible = (
        0 <= cursor.timestamp <= LATEST
        and 0 <= (scope.dead_after or 0) <= LATEST
        and (cursor.id == "" or SAFE_ID.fullmatch(cursor.id))
        and table in [known.name for known in synced_tables()]
    )
    if not is_possible or seal != _seal(pull, limit):
        raise InvalidCursor
    return cursor


def _seal(pull: PullRequest, limit: int) -> str:
    """Return what stands for the user and the parameters. Who forges it reads their own rows, askew."""
    migration = pull.migration and (
        sorted(pull.migration.tables),
        sorted((table, sorted(names)) for table, names in pull.migration.columns.items()),
    )
    fields = (pull.caller.user_id, pull.last_pulled_at, pull.created_as_updated, limit, migration)
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()[:16]
