"""The command line of the sync service: the scheduled purge."""

import click
from flask import current_app
from flask.cli import with_appcontext

from services.sync.purge import purge


@click.command("purge")
@with_appcontext
def purge_command() -> None:
    """Remove tombstones past their retention, and what else has had its time."""
    purged = purge(current_app.config["TOMBSTONE_DAYS"])
    click.echo("Purged " + ", ".join(f"{rows} {table}" for table, rows in purged.items()))
