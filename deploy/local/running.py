"""What can be done with a running stack, native or compose: `python -m deploy.local.running COMMAND …`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from deploy.local import stack
from deploy.local.servers import ROOT, program, settings_file

LOCAL = ROOT / ".local"
SERVICES = stack.SERVICES


class Running(Protocol):
    """A stack that runs."""

    def client(self, kind: str) -> list[str]:
        """The database's own `client` or `dump` program, as its administrator."""

    def flask(self, service: str, *command: str) -> None:
        """Run a command of a service."""

    def scale(self, service: str, number: str) -> None:
        """Run a service so many times."""

    def restart(self, *services: str) -> None:
        """Replace the processes of services, of all without a name."""

    def logs(self) -> None:
        """Show what the parts say, until Ctrl-C."""

    def pause(self) -> None:
        """Stop the services."""

    def migrate(self, database: str = stack.DATABASE) -> None:
        """Apply the migrations to a database."""

    def resume(self) -> None:
        """Start the services, with an empty cache."""


class Native:
    """What `make up-native` started."""

    def client(self, kind: str) -> list[str]:
        database = stack.ask(LOCAL, "describe")["database"]
        name = {"client": "mariadb", "dump": "mariadb-dump"}[kind]
        user, socket = database["user"], database["socket"]
        return [program(name), "--no-defaults", f"--socket={socket}", f"--user={user}"]

    def flask(self, service: str, *command: str) -> None:
        user = "purge" if command[0] == "purge" else service
        environ = {**os.environ, **stack.ask(LOCAL, "describe")["environ"][user], "LOG_SQL": "0"}
        flask = Path(sys.executable).parent / "flask"
        run(str(flask), "--app", f"services.{service}", *command, environ=environ)

    def scale(self, service: str, number: str) -> None:
        print(stack.ask(LOCAL, "scale", service, int(number) if number.isdigit() else 0))

    def restart(self, *services: str) -> None:
        print(stack.ask(LOCAL, "restart", *services))

    def logs(self) -> None:
        run("tail", "-n5", "-F", *map(str, (LOCAL / "log").glob("*.log")))

    def pause(self) -> None:
        stack.ask(LOCAL, "pause")

    def migrate(self, database: str = stack.DATABASE) -> None:
        stack.ask(LOCAL, "migrate", database)

    def resume(self) -> None:
        stack.ask(LOCAL, "resume")


class Compose:
    """What `make up` started."""

    command = ("docker", "compose", "--env-file", ".local/secrets.env")
    #: The password stays inside the container.
    with_password = ("sh", "-c", 'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec "$0" "$@"')

    def client(self, kind: str) -> list[str]:
        inside = [*self.command, "exec", "-T", "mysql", *self.with_password]
        if kind == "dump":
            return [*inside, "mysqldump", "--user=root", "--set-gtid-purged=OFF"]
        return [*inside, "mysql", "--user=root"]

    def flask(self, service: str, *command: str) -> None:
        container = "purge" if command[0] == "purge" else service
        run(*self.command, "exec", container, "flask", "--app", f"services.{service}", *command)

    def scale(self, service: str, number: str) -> None:
        stack.known(service)
        # Named, since `up` sets every other service that it starts back to one instance.
        scale = ("--scale", f"{service}={number}", service)
        run(*self.command, "up", "-d", "--no-recreate", "--no-deps", "--wait", *scale)

    def restart(self, *services: str) -> None:
        for service in services or SERVICES:
            stack.known(service)
            listed = subprocess.run(
                [*self.command, "ps", "--quiet", service],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for container in listed.stdout.split():
                # Not `docker kill`: whatever its signal, Docker then takes the container for stopped
                # by hand, and does not start it again after a crash.
                run("docker", "exec", container, "sh", "-c", "kill -HUP 1")

    def logs(self) -> None:
        run(*self.command, "logs", "--follow", "--tail", "20")

    def pause(self) -> None:
        run(*self.command, "stop", *SERVICES, "purge")

    def migrate(self, database: str = stack.DATABASE) -> None:
        password = settings_file(LOCAL / "secrets.env")["MIGRATE_PASSWORD"]
        url = f"mysql+pymysql://migrate:{password}@mysql/{database}"
        # By its name alone: everybody on the machine can read arguments.
        environ = {**os.environ, "DATABASE_URL": url}
        run(*self.command, "run", "--rm", "--env", "DATABASE_URL", "migrate", environ=environ)

    def resume(self) -> None:
        run(*self.command, "restart", "redis")
        run(*self.command, "up", "-d", "--wait", "--no-recreate")


def run(*command: str, environ: dict[str, str] | None = None) -> None:
    """Run a command in the foreground; end as it does when it fails."""
    done = subprocess.run(command, cwd=ROOT, env=environ)
    if done.returncode:
        sys.exit(done.returncode)


def find() -> Running | None:
    """The stack that runs from this checkout, if one does."""
    if stack.is_up(LOCAL):
        return Native()
    if (LOCAL / "secrets.env").exists() and shutil.which("docker"):
        command = [*Compose.command, "ps", "--quiet"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if listed.stdout.strip():
            return Compose()
    return None


def main(command: str, *arguments: str) -> None:
    """Carry a command out."""
    running = find()
    given = [argument for argument in arguments if argument]
    if running is None and command in ("create-admin", "purge"):
        # Then what make run serves is meant.
        service = "users" if command == "create-admin" else "sync"
        flask = ("flask", "--app", f"services.{service}", command, *given)
        run(sys.executable, "-m", "deploy.local.run", *flask)
        return
    if running is None:
        sys.exit("No stack is running: make up-native or make up")
    try:
        match command, given:
            case "create-admin", [email]:
                running.flask("users", "create-admin", email)
            case "purge", []:
                running.flask("sync", "purge")
            case "scale", [service, number]:
                running.scale(service, number)
            case "restart", services:
                running.restart(*services)
            case "logs", []:
                running.logs()
            case _:
                sys.exit("Say more: make scale SERVICE=sync N=3, make admin EMAIL=…")
    except stack.Refused as refused:
        sys.exit(str(refused))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
