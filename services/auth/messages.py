"""What mails say: Jinja templates, `NAME.txt` and `NAME.html`, filled in when a mail is sent.

The first line of a text is the mail's subject.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Flask, current_app
from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    select_autoescape,
)

OURS = Path(__file__).parent / "templates"
#: Each template with what it is filled with, and the page that it leads to.
SAMPLES = {
    "reset": {"email": "ann@example.org", "code": "0123456789AB"},
    "verify": {"email": "ann@example.org", "code": "0123456789AB"},
    "email_will_change": {"email": "ann@example.org"},
    "email_changed": {"email": "ann@example.org"},
    "password_changed": {"email": "ann@example.org"},
    "identity_added": {"email": "ann@example.org", "provider": "google"},
    "identity_removed": {"email": "ann@example.org", "provider": "google"},
    "space_invitation": {"email": "ann@example.org", "inviter": "bea@example.org"},
}
PAGES = {"reset": "reset", "verify": "verify"}


@dataclass(frozen=True)
class Message:
    """A mail as it is read."""

    subject: str
    text: str
    html: str


class Messages:
    """The templates of an application: those of a folder, or else ours."""

    def __init__(self, folder: str, public_url: str, app_link: str) -> None:
        folders = [FileSystemLoader(path) for path in (folder, OURS) if path]
        self.templates = Environment(
            loader=ChoiceLoader(folders),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.bases = {"link": public_url.rstrip("/") + "/account", "app_link": app_link.rstrip("/")}

    def write(self, template: str, content: dict[str, Any]) -> Message:
        """Fill in a template. Raises `TemplateError`."""
        values = {**content, "link": "", "app_link": ""}
        if page := PAGES.get(template):
            query = urlencode(content)
            values |= {n: f"{base}/{page}?{query}" for n, base in self.bases.items() if base}
        text = self.templates.get_template(f"{template}.txt").render(values)
        subject, _, body = text.partition("\n")
        html = self.templates.get_template(f"{template}.html").render(values)
        return Message(subject.strip(), body.strip() + "\n", html)


def write_message(template: str, content: str) -> Message:
    """Return what a row of the outbox says."""
    messages: Messages = current_app.extensions["messages"]
    return messages.write(template, orjson.loads(content))


def init_app(app: Flask) -> None:
    """Load the templates. Raises `TemplateError` for one that cannot be filled in."""
    config = app.config
    messages = Messages(config["MAIL_TEMPLATES"], config["PUBLIC_URL"], config["APP_LINK"])
    for template, content in SAMPLES.items():
        if not messages.write(template, content).subject:
            raise TemplateError(f"{template}.txt has no subject in its first line")
    app.extensions["messages"] = messages
