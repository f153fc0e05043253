"""The stack that runs, native or compose, and what its database can carry."""

import subprocess
import sys

from sqlalchemy.engine import make_url

from deploy.local.compose import Compose
from deploy.local.machine import SERVICES, Refused
from deploy.local.native import Native
from shared.database.engines import engine_options, look_up_options

Running = Native | Compose

#: The name of the one database.
DATABASE = "app"

#: Nobody needs more on one machine, and a slip of the finger must not fill it with processes.
MAX_INSTANCES = 16
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
    raise Refused("No stack is running: make up-native or make up")


def sql(stack: Running, statements: str) -> str:
    """Run statements as the administrator; return what they print. Ends the process when one fails."""
    command = [*stack.client("client"), "--batch", "--skip-column-names", "-e", statements]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("The database refused; it says why above.")
    return done.stdout.strip()


def connections(counts: dict[str, int], processes: int) -> int:
    """Return how many connections are open at most, also while a service is replaced."""
    url = make_url("mysql+pymysql://")
    pools = (engine_options(url), look_up_options(url))
    each = sum(pool["pool_size"] + pool["max_overflow"] for pool in pools)
    return (sum(counts.values()) + max(counts.values())) * processes * each + SPARE_CONNECTIONS


def scale(service: str, number: int) -> None:
    """Run a service so many times. Raises `Refused` when the database could not carry that."""
    stack = running()
    needed = connections(stack.counts() | {service: number}, stack.processes)
    allowed = int(sql(stack, "SELECT @@max_connections"))
    if number > stack.counts()[service] and needed > allowed:
        raise Refused(
            f"{service} {number} times may take {needed} connections in all, and the database allows"
            f" {allowed} (max_connections). Nothing was changed."
        )
    stack.scale(service, number)


def up_native() -> None:
    """Start the native stack with a database that carries every number of instances."""
    native = Native()
    native.up(connections(dict.fromkeys(SERVICES, MAX_INSTANCES), native.processes))
