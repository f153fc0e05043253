"""The mails that a development stack keeps instead of sending them (`MAIL_URL=keep:`)."""

from typing import Any

from flask import Blueprint, Response, render_template
from sqlalchemy import select

from services.auth.messages import write_message
from shared.database.base import db
from shared.models import Mail
from shared.now import rfc3339

bp = Blueprint("kept", __name__, url_prefix="/mail", template_folder="pages")

MAX_SHOWN = 100


@bp.get("/")
def show() -> Response:
    """Show the mails."""
    page = Response(render_template("mails.html", mails=messages()))
    page.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    return page


@bp.get("/messages.json")
def list_messages() -> list[dict[str, Any]]:
    """List the mails."""
    return messages()


def messages() -> list[dict[str, Any]]:
    """Return the mails that would have been sent, the newest first."""
    newest = select(*Mail.__table__.c).where(Mail.recipient.is_not(None))
    with db.session.begin():
        rows = db.session.execute(
            newest.order_by(Mail.created_at.desc(), Mail.id).limit(MAX_SHOWN)
        ).all()
    return [
        {"to": row.recipient, "sentAt": rfc3339(row.created_at)}
        | vars(write_message(row.template, row.content))
        for row in rows
    ]
