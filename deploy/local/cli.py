"""The stacks on this machine, by one command line: `python -m deploy.local.cli --help`."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from deploy import backup
from deploy.backup import Running
from deploy.local import run as embedded
from deploy.local.compose import Compose
from deploy.local.machine import INSTANCES, LOCAL, PARTS, ROOT, SERVICES, Refused
from deploy.local.native import Native
from shared.usage import in_one_line

#: Nobody needs more on one machine, and a slip of the finger must not fill it with processes.
MAX_INSTANCES = 16
#: Of an instance of live: its threads (services/sync/live/sockets.py), and one for its start.
LIVE_CONNECTIONS = 5
#: For migrations, the purge, backups and administrators.
SPARE_CONNECTIONS = 20


def find() -> Running | None:
    """Return the stack that runs from this checkout, if one does."""
    stacks: tuple[Running, ...] = (Native(), Compose())
    return next((stack for stack in stacks if stack.is_up()), None)


def running() -> Running:
    """Return the stack that runs. Raises `Refused` when none does."""
    if stack := find():
        return stack
    raise Refused("No stack is running. Start one: make up-native, or make up in Docker")


def connections(counts: dict[str, int], processes: int) -> int:
    """Return how many connections are open at most, also while a service is replaced."""
    # By itself, most of what a command would import.
    from sqlalchemy.engine import make_url

    from shared.database.engines import engine_options, look_up_options

    url = make_url("mysql+pymysql://")
    pools = (engine_options(url), look_up_options(url))
    each = processes * sum(pool["pool_size"] + pool["max_overflow"] for pool in pools)
    needed = [counts[part] * (LIVE_CONNECTIONS if part == "live" else each) for part in counts]
    return sum(needed) + max(needed) + SPARE_CONNECTIONS


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


class OneLine(click.Group):
    """Commands that answer a wrong call in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Raises `UsageError`."""
        with in_one_line():
            return super().invoke(ctx)


@click.group(cls=OneLine)
def cli() -> None:
    """Start, operate and stop the stacks of this checkout."""
    # Databases, backups, logs and keys are for their owner only.
    os.umask(0o077)
    os.chdir(ROOT)


@cli.command()
def run() -> None:
    """Serve everything on PORT with SQLite."""
    embedded.serve()


@cli.command()
def up_native() -> None:
    """Start the whole stack without Docker. MariaDB, Redis, the services and nginx."""
    native = Native()
    with one_at_a_time():
        native.up(connections(dict.fromkeys(PARTS, MAX_INSTANCES), native.processes))


@cli.command()
def down_native() -> None:
    """Stop the native stack; the data stays."""
    Native().down()


@cli.command()
@click.argument("service", type=click.Choice(PARTS), metavar="SERVICE")
@click.argument("number", type=click.IntRange(1, MAX_INSTANCES), metavar="N")
def scale(service: str, number: int) -> None:
    """Run SERVICE N times. Refused when the database could not carry that."""
    with one_at_a_time():
        stack = running()
        counts = {part: len(stack.instances(part)) for part in PARTS}
        needed = connections(counts | {service: number}, stack.processes)
        allowed = int(backup.sql(stack, "SELECT @@max_connections"))
        if number > counts[service] and needed > allowed:
            raise Refused(
                f"{service} {number} times may take {needed} connections in all, and the database"
                f" allows {allowed} (max_connections). Nothing was changed."
            )
        stack.scale(service, number)
    click.echo(f"{service} runs {number} times")


@cli.command()
@click.argument("service", type=click.Choice(INSTANCES), required=False, metavar="SERVICE")
def restart(service: str | None) -> None:
    """Replace the processes of SERVICE, or of all. No request is lost."""
    with one_at_a_time():
        stack = running()
        for name in [service] if service else INSTANCES:
            try:
                restarted = stack.restart(name)
            except Refused as refused:
                message = (
                    f"{refused.message}\n{name} was not restarted; its old processes keep serving."
                )
                raise Refused(message) from refused
            if restarted:
                click.echo(f"Restarted {name}")
            elif service:
                click.echo(f"{name} does not run")


@cli.command()
def logs() -> None:
    """Follow the logs of every part, until Ctrl-C."""
    running().logs()


@cli.command()
def migrate() -> None:
    """Apply migrations and database rights. Run it before a restart."""
    with one_at_a_time():
        running().migrate()
    click.echo("The database is at the present version. Next: make restart")


@cli.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.argument("command", nargs=-1, required=True)
def flask(service: str, command: tuple[str, ...]) -> None:
    """Run a COMMAND of SERVICE. Without a running stack, on what make run serves."""
    # Of one that is being started or restored, once that is done.
    with one_at_a_time():
        stack = find()
    (stack or embedded).flask(service, *command)


@cli.command("backup")
def make_backup() -> None:
    """Write a backup of the database into .local/backups."""
    backup.backup(running(), LOCAL / "backups")


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Restore the backup FILE."""
    with one_at_a_time():
        backup.restore(running(), file)


@cli.command()
def drop_replaced() -> None:
    """Remove the databases that restores have replaced, for good."""
    backup.drop_replaced(running())


if __name__ == "__main__":
    cli()
