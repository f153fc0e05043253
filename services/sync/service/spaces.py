"""The spaces that there are, for an app's own servers: every user's own one and the shared ones."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, bindparam, literal_column, select, union_all

from shared.database.base import db
from shared.models import Member, Space, User

PERSONAL, SHARED = "personal", "shared"


def _page(model: type[User] | type[Space], kind: str) -> Select[Any]:
    """Return the ids after `after` of users or shared spaces, so many as a page has."""
    its_kind: Any = literal_column(f"'{kind}'").label("kind")
    query = select(model.id.label("id"), its_kind)
    after = model.id > bindparam("after")
    rows = query.where(after, Space.deleted_at.is_(None)) if model is Space else query.where(after)
    # A subquery, since SQLite takes no limit within a union.
    page = rows.order_by(model.id).limit(bindparam("limit")).subquery()
    return select(page.c.id, page.c.kind)


#: Built once.
FIND = (
    union_all(_page(User, PERSONAL), _page(Space, SHARED))
    .order_by(literal_column("id"))
    .limit(bindparam("limit"))
)
FIND_MEMBERS = (
    select(Member.space_id, Member.user_id)
    .where(Member.space_id.in_(bindparam("spaces", expanding=True)), ~Member.has_left)
    .order_by(Member.space_id, Member.user_id)
)


@dataclass(frozen=True)
class AnySpace:
    """A space and who is in it."""

    id: str
    kind: Literal["personal", "shared"]
    members: list[str]


def list_all_spaces(after: str, limit: int) -> list[AnySpace]:
    """Return the next spaces after an id, "" for the first ones, in the order of ids.

    Those of deactivated accounts are there, with their rows; deleted ones are not.
    """
    with db.session.begin():
        found: Sequence[Any] = db.session.execute(FIND, {"after": after, "limit": limit}).all()
        shared = [id_ for id_, kind in found if kind == SHARED]
        members: dict[str, list[str]] = defaultdict(list)
        if shared:
            rows: Sequence[Any] = db.session.execute(FIND_MEMBERS, {"spaces": shared}).all()
            for space_id, user_id in rows:
                members[space_id].append(user_id)
    return [AnySpace(id_, kind, members[id_] if kind == SHARED else [id_]) for id_, kind in found]
