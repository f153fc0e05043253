"""The application of the process that delivers: health, metrics, and what an operator may ask of it."""

from typing import Any

import click
from flask import Flask, current_app

from services.sync import config
from services.sync.webhooks.batches import replay
from shared import outbox
from shared.app import create_service
from shared.cli import command
from shared.database.base import Base
from shared.models.webhook import WEBHOOK_TABLES


def create_app(**overrides: Any) -> Flask:
    """Build the application, which has no call of the API; a test may override single settings."""
    tables = [Base.metadata.tables[name] for name in sorted(WEBHOOK_TABLES)]
    app = create_service("webhooks", config.load, [], tables, overrides)
    outbox.init_app(app)
    app.cli.add_command(replay_command)
    return app


@command("webhook-replay")
@click.argument("name")
def replay_command(name: str) -> None:
    """Send the receiver NAME at once what waits for it, and again what was given up."""
    receivers = current_app.extensions["receivers"]
    count = replay(name)
    if count is None and name not in receivers:
        known = ", ".join(receivers) or "none"
        raise click.ClickException(f"There is no receiver {name!r}. WEBHOOKS_FILE names: {known}.")
    if not count:
        click.echo("Nothing was given up. What waits is sent now.")
    else:
        click.echo(f"{count} batches are sent again." if count > 1 else "1 batch is sent again.")
