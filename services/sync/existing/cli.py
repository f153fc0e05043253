"""The command that copies an existing database."""

from contextlib import closing
from pathlib import Path

import click
import pymysql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.sync.existing.copying import copy
from services.sync.existing.mapping import MapRefused, read_map
from services.sync.existing.source import Source
from shared.cli import command
from shared.database.errors import DeadlineExceeded

AGAIN = "run it again: it goes on after what is done."


@command("copy")
@click.option("--url", envvar="SOURCE_URL", help="The source: mysql://user:password@host/database.")
@click.option(
    "--map",
    "map_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The map of its tables, in TOML (docs/existing-database.md).",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to keep how far it came: by default the map's name with .state behind it.",
)
@click.option("--only", default="", help="The source's key of one user: no other rows are copied.")
def copy_command(url: str | None, map_path: Path, state: Path | None, only: str) -> None:
    """Copy the rows of an existing MySQL database."""
    kept = None if only else state or map_path.with_name(f"{map_path.name}.state")
    try:
        with closing(Source(url or "", read_map(map_path.read_text()))) as source:
            for line in copy(source, kept, only).lines():
                click.echo(line)
    except MapRefused as refusal:
        raise click.ClickException(str(refusal)) from refusal
    except pymysql.MySQLError as error:
        raise click.ClickException(
            f"The source says: {error.args[-1]}. When that is mended, {AGAIN}"
        ) from error
    except (DBAPIError, PoolTimeout, DeadlineExceeded) as error:
        raise click.ClickException(
            f"The database here gave up ({type(error).__name__}): {AGAIN}"
        ) from error
