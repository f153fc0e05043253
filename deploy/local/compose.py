"""The whole stack in Docker: what `make up` starts, by the compose file and `.local/secrets.env`."""

import os
import subprocess
import sys

from deploy.local.machine import (
    APPS,
    CODE,
    LOCAL,
    PARTS,
    ROOT,
    USERS,
    WEBHOOKS_FILE,
    Refused,
    check_start,
    run,
    settings_file,
)

#: The password stays inside the container.
WITH_PASSWORD = ("sh", "-c", 'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec "$0" "$@"')


class Compose:
    """The compose stack of this checkout."""

    command = (str(ROOT / "deploy/docker-compose.sh"),)
    #: `WEB_CONCURRENCY` in docker-compose.yml.
    processes = 2

    def call(self, *arguments: str, **environ: str) -> None:
        """Run docker compose in the foreground; end as it does when it fails."""
        run(*self.command, *arguments, **environ)

    def instances(self, *services: str) -> list[str]:
        """Return the ids of the containers of services, of all without a name."""
        command = [*self.command, "ps", "--quiet", *services]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split()

    def is_up(self) -> bool:
        """Return whether any container runs."""
        return bool((LOCAL / "secrets.env").exists() and self.instances())

    def scale(self, service: str, number: int) -> None:
        """Run a service so many times."""
        # Named, since `up` sets every other service that it starts back to one instance.
        scale = ("--scale", f"{service}={number}", service)
        self.call("up", "--detach", "--no-recreate", "--no-deps", "--wait", *scale)

    def restart(self, service: str) -> bool:
        """Replace a service's processes, if it has any and new ones can start. Its image stays the same."""
        containers = self.instances(service)
        if containers and service in CODE:
            # One process: clients of live are told, and come back.
            self.call("restart", service)
            return True
        for container in containers:
            check_start(service, "docker", "exec", container, "python")
            # Not `docker kill`: whatever its signal, Docker then takes the container for stopped by
            # hand, and does not start it again after a crash.
            run("docker", "exec", container, "sh", "-c", "kill -HUP 1")
        return bool(containers)

    def pause(self) -> None:
        """Stop the services, so that nobody writes."""
        self.call("stop", *PARTS, "purge", *["webhooks"] * WEBHOOKS_FILE.exists())

    def resume(self) -> None:
        """Forget what Redis knew, and start the services again."""
        self.call("restart", "redis")
        self.call("up", "--detach", "--wait", "--no-recreate")

    def migrate(self, database: str = "app") -> None:
        """Bring the tables and the rights of a database to the present version."""
        # By its name alone: everybody on the machine can read arguments.
        command = ("run", "--rm", "--build", "--env", "DATABASE_URL", "migrate")
        self.call(*command, DATABASE_URL=self.url(database))

    def url(self, database: str = "app") -> str:
        """Return the URL of a database for who migrates."""
        password = settings_file(LOCAL / "secrets.env")["MIGRATE_PASSWORD"]
        return f"mysql+pymysql://migrate:{password}@mysql/{database}"

    def client(self, kind: str) -> list[str]:
        """Return the database's `client` or `dump` program, as its administrator."""
        name = {"client": ["mysql"], "dump": ["mysqldump", "--set-gtid-purged=OFF"]}[kind]
        # By themselves they give up at rows of 16 MiB.
        inside = [*name[:1], "--user=root", "--max-allowed-packet=1G", *name[1:]]
        return [*self.command, "exec", "-T", "mysql", *WITH_PASSWORD, *inside]

    def flask(self, service: str, *command: str) -> None:
        """Run a command of a service."""
        if command[0] == "jobs":
            # Built again, as the code may have changed: of what is the same it takes a moment.
            self.call("run", "--rm", "--build", *command)
            return
        if command[0] == "copy":
            # The map is the caller's, and so is the file beside it that says how far the copy came.
            paths = [one.partition("=")[2] for one in command if one.startswith("--map=")]
            folder = os.path.dirname(paths[0]) if paths else str(ROOT)
            mine = ("--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{folder}:{folder}")
            self.call("run", "--rm", "--build", *mine, "copy", *command)
            return
        app = APPS.get(command[0], f"services.{service}")
        flask = ("flask", "--app", app, *command)
        user = USERS.get(command[0], service)
        if user != "migrate":
            # What comes from a file or a pipe is no terminal.
            options = [] if sys.stdin.isatty() else ["-T"]
            self.call("exec", *options, user, *flask)
            return
        containers = self.instances("purge")
        if not containers:
            raise Refused("The purge does not run, in whose container this command is run: make up")
        # In one that serves nobody, and not by `run`: what that prints is logged.
        command = ("docker", "exec", "--env", "DATABASE_URL", containers[0], *flask)
        run(*command, DATABASE_URL=self.url())

    def logs(self) -> None:
        """Follow the logs of all parts, until Ctrl-C."""
        self.call("logs", "--follow", "--tail", "20")
