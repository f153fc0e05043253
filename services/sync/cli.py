"""The command line of the sync service: the scheduled purge, and loads of reference tables."""

import time
from collections.abc import Callable
from typing import BinaryIO

import click
from flask import current_app

from services.sync.purge import purge
from services.sync.reference.files import Format
from services.sync.reference.loading import MODES, Mode, find_table, load
from shared.cli import command
from shared.models.tables import reference_tables
from shared.web.errors import InvalidRequest, NotFound

#: Between two lines that say how far a load is.
TELL_S = 3


@command("purge")
def purge_command() -> None:
    """Remove tombstones past their retention, and what else has had its time."""
    purged = purge(current_app.config["TOMBSTONE_DAYS"])
    click.echo("Purged " + ", ".join(f"{rows} {table}" for table, rows in purged.items()))


@command("load")
@click.argument("table")
@click.argument("file", type=click.File("rb"))
@click.option("--mode", type=click.Choice(MODES), default="merge")
@click.option(
    "--format", "format_", type=click.Choice(["csv", "ndjson"]), help="By default by the name."
)
def load_command(table: str, file: BinaryIO, mode: Mode, format_: Format | None) -> None:
    """Load FILE (- for the input), CSV or NDJSON, into the reference table TABLE."""
    if format_ is None:
        format_ = "csv" if file.name.lower().endswith(".csv") else "ndjson"
    try:
        counts = load(find_table(table), file, format_, mode, tell=_teller())
    except NotFound as error:
        known = ", ".join(t.name for t in reference_tables()) or "none is declared"
        raise click.ClickException(
            f"{table} is no reference table (there are: {known}). Nothing was changed."
        ) from error
    except InvalidRequest as error:
        raise click.ClickException(f"Nothing was changed.\n{_said(error)}") from error
    if not counts:
        click.echo(f"{table} has all of it already. Nothing was changed.")
        return
    click.echo(
        f"Loaded {table}: {counts.inserted:,} new, {counts.updated:,} changed, {counts.deleted:,} deleted. "
        "Every device gets them with its next sync."
    )


def _said(error: InvalidRequest) -> str:
    """Return what is wrong with a file, line by line."""
    faults: dict[str, list[str]] = error.members["errors"]
    lines = [f"  {path}: {' '.join(said)}" for path, said in faults.items()]
    omitted = error.members.get("errorsOmitted")
    return "\n".join([*lines, *([f"  and {omitted:,} more"] if omitted else [])])


def _teller() -> Callable[[str], None]:
    """Return what says now and then how far it is, to a person who waits."""
    told = time.monotonic()

    def tell(said: str) -> None:
        nonlocal told
        if time.monotonic() > told + TELL_S:
            told = time.monotonic()
            click.echo(said, err=True)

    return tell
