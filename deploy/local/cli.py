"""The stacks on this machine, by one command line: `python -m deploy.local.cli --help`."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from deploy import backup
from deploy.local import run as embedded
from deploy.local import running
from deploy.local.machine import LOCAL, ROOT, SERVICES, Refused
from deploy.local.native import Native


@click.group()
def cli() -> None:
    """Start, operate and stop the stacks of this checkout."""
    # Databases, backups, logs and keys are for their owner only.
    os.umask(0o077)
    os.chdir(ROOT)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other command changes a stack of this checkout."""
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("Waiting for another command to end", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cli.command()
def run() -> None:
    """Serve everything on PORT with SQLite."""
    embedded.serve()


@cli.command()
def up_native() -> None:
    """Start the whole stack without Docker: MariaDB, Redis, services, nginx."""
    with one_at_a_time():
        running.up_native()


@cli.command()
def down_native() -> None:
    """Stop it; the data stays."""
    Native().down()


@cli.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.argument("number", type=click.IntRange(1, running.MAX_INSTANCES))
def scale(service: str, number: int) -> None:
    """Run SERVICE NUMBER times."""
    with one_at_a_time():
        running.scale(service, number)
    click.echo(f"{service} runs {number} times")


@cli.command()
@click.argument("service", type=click.Choice(["", *SERVICES]), default="")
def restart(service: str) -> None:
    """Replace the processes of SERVICE, or of all three, without losing a request."""
    with one_at_a_time():
        stack = running.running()
        for name in [service] if service else SERVICES:
            try:
                stack.restart(name)
            except Refused as refused:
                message = f"{refused.message}\n{name} was not restarted; its old processes go on."
                raise Refused(message) from refused
            click.echo(f"Restarted {name}")


@cli.command()
def logs() -> None:
    """Follow what every part says."""
    running.running().logs()


@cli.command()
def migrate() -> None:
    """Apply the migrations, and the database rights that the present models need."""
    with one_at_a_time():
        running.running().migrate()
    click.echo("The database is at the present version. Next: make restart")


@cli.command()
@click.argument("email")
def admin(email: str) -> None:
    """Make EMAIL an administrator."""
    flask("users", "create-admin", email)


@cli.command()
def purge() -> None:
    """Remove old tombstones and sessions."""
    flask("sync", "purge")


def flask(service: str, *command: str) -> None:
    """Run a command of a service of the stack that runs, or else on what make run serves."""
    if stack := running.find():
        stack.flask(service, *command)
    else:
        sys.exit(embedded.flask(service, *command))


@cli.command("backup")
def make_backup() -> None:
    """Dump the database into .local/backups."""
    backup.backup(running.running(), LOCAL / "backups")


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Go back to a backup."""
    backup.restore(running.running(), file)


@cli.command()
def drop_replaced() -> None:
    """Remove the data that restores have replaced."""
    backup.drop_replaced(running.running())


if __name__ == "__main__":
    cli()
