"""The sessions of one account: listing them and ending them."""

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from shared.auth.sessions import Caller, end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Session
from shared.now import now_ms
from shared.web.errors import NotFound

log = logging.getLogger("audit")


def list_sessions(caller: Caller) -> Sequence[Any]:
    """Return the live sessions of the caller's account, the last used first.

    `current` of each says whether it is the caller's own.
    """
    query = (
        select(
            Session.id,
            Session.device_name,
            Session.created_at,
            Session.last_used_at,
            Session.expires_at,
            (Session.id == caller.session_id).label("current"),
        )
        .where(
            Session.user_id == caller.user_id,
            Session.revoked_at.is_(None),
            Session.expires_at > now_ms(),
        )
        .order_by(Session.last_used_at.desc(), Session.id)
    )
    with db.session.begin():
        return db.session.execute(query).all()


def log_out(user_id: str, session_id: str) -> None:
    """End a session; no matter if it has ended already."""
    if _end(user_id, session_id):
        log.info("logged_out", extra={"user_id": user_id, "session_id": session_id})


def end_session(caller: Caller, session_id: str) -> None:
    """End one of the caller's sessions. Raises `NotFound` when there is no such live one."""
    if not _end(caller.user_id, session_id):
        raise NotFound
    log.info("session_ended", extra={"session_id": session_id})


def log_out_everywhere(caller: Caller) -> None:
    """End all of the caller's sessions."""
    ended = _end(caller.user_id)
    log.info("logged_out_everywhere", extra={"sessions": ended})


_end = transaction(end_sessions)
