"""The whole stack without Docker: private MariaDB and Redis, the services and nginx under supervisord.

All that it keeps is in `.local/native`, its output in `.local/log`. An instance of a service is the
program `SERVICE-PORT` of supervisord.
"""

import hashlib
import http.client
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from string import Template
from typing import Any
from xml.parsers.expat import ExpatError

import click

from deploy.local import gateway
from deploy.local.machine import (
    APPS,
    INSTANCES,
    PARTS,
    PATH,
    ROOT,
    USERS,
    Refused,
    answers,
    check_start,
    children,
    free_address,
    free_port,
    program,
    run,
    settings_file,
    wait_until,
    webhooks_file,
)

HERE = Path(__file__).parent
#: Runs a command with the settings of a user of the database.
AS = str(HERE / "as.sh")
#: For the database's client and dump program, which by themselves give up at rows of 16 MiB.
LONG_ROWS = "--max-allowed-packet=1G"
#: A machine that does many other things boots a service this slowly.
BOOT_S = 180
#: Longer than any request takes that has arrived (proxy_read_timeout).
DRAIN_S = 125


class Native:
    """The native stack of a checkout, whether it runs or not."""

    def __init__(self, root: Path = ROOT) -> None:
        self.local = root / ".local"
        self.directory = self.local / "native"

    @property
    def ports(self) -> dict[str, str]:
        """Return where the parts listen, by name."""
        return settings_file(self.directory / "ports.env")

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of supervisord's own interface (XML-RPC)."""
        password = settings_file(self.local / "secrets.env").get("SUPERVISOR_PASSWORD", "")
        where = f"127.0.0.1:{self.ports.get('SUPERVISOR_PORT', 0)}"
        with xmlrpc.client.ServerProxy(f"http://supervisor:{password}@{where}/RPC2") as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    @property
    def processes(self) -> int:
        """Return how many processes an instance of a service has."""
        settings = settings_file(ROOT / "deploy/development.env")
        return int(os.environ.get("WEB_CONCURRENCY", settings["WEB_CONCURRENCY"]))

    def is_up(self) -> bool:
        """Return whether supervisord runs."""
        try:
            return bool(self.ports and self.ask("getState"))
        except (OSError, xmlrpc.client.Error, http.client.HTTPException, ExpatError):
            return False

    def parts(self) -> dict[str, dict[str, Any]]:
        """Return what supervisord knows of every part, by its name."""
        return {one["name"]: one for one in self.ask("getAllProcessInfo")}

    def instances(self, *services: str) -> list[str]:
        """Return the names of the instances of services, of all without a name."""
        return [name for name in self.parts() if name.split("-")[0] in (services or INSTANCES)]

    def up(self, max_connections: int) -> None:
        """Start everything in the background; return when it answers. Raises `Refused`."""
        if self.is_up():
            click.echo(f"Already running: {self.ports['URL']}/v1")
            return
        address, url = free_address("make up-native")
        ports = {"URL": url, "ADDRESS": address}
        for name in ("SUPERVISOR", "DATABASE", "REDIS", "STATUS"):
            ports[f"{name}_PORT"] = str(free_port())
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "ports.env").write_text("".join(f"{n}={v}\n" for n, v in ports.items()))
        run(str(HERE / "prepare.sh"), sys.executable, SERVER_USER=self.server_user())
        self.start_supervisor(max_connections)
        try:
            self.start_parts()
        except BaseException:
            self.down()
            raise
        click.echo(
            f"\nReady: {url}/v1. Logs are in {self.local / 'log'}.\n"
            "Next: make admin EMAIL=you@example.com, make scale SERVICE=sync N=3; make down-native stops it."
        )

    def server_user(self) -> str:
        """Return who runs the servers when we are root: nobody, if the checkout is open to others."""
        is_open = all(path.stat().st_mode & 0o001 for path in self.local.resolve().parents)
        return "nobody" if os.geteuid() == 0 and is_open else "root"

    def start_supervisor(self, max_connections: int) -> None:
        """Start supervisord in the background, and with it the database and Redis."""
        user = self.server_user()
        # No part outlives a supervisord that is killed, or it would hold its files and ports.
        server = tied = "setpriv --pdeathsig TERM" if shutil.which("setpriv") else "env"
        if user == "nobody" and tied != "env":
            nobody = pwd.getpwnam(user)
            server += f" --reuid {nobody.pw_uid} --regid {nobody.pw_gid} --clear-groups"
        password = settings_file(self.local / "secrets.env")["SUPERVISOR_PASSWORD"]
        environ = {
            "PATH": PATH,
            "TIED": tied,
            "SERVER": server,
            "SERVER_USER": user,
            "PYTHON": shlex.quote(sys.executable),
            "SUPERVISOR_SHA": hashlib.sha1(password.encode()).hexdigest(),
            "MAX_CONNECTIONS": str(max_connections),
        }
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        command = [sys.executable, "-m", "supervisor.supervisord", *as_root]
        run(*command, f"-c{HERE / 'supervisord.conf'}", **self.ports, **environ)

    def start_parts(self) -> None:
        """Wait for the database, and start what needs it. Raises `Refused`."""
        click.echo("Starting the database and Redis")
        self.wait_for("database", self.database_answers)
        self.wait_for("redis", lambda: self.parts()["redis"]["statename"] == "RUNNING")
        click.echo("Applying migrations")
        self.migrate()
        click.echo("Starting the services and the gateway")
        for service in (*PARTS, *["webhooks"] * bool(webhooks_file())):
            self.add(f"{service}-{free_port()}")
        self.route()
        self.ask("startProcess", "gateway", False)
        status = f"127.0.0.1:{self.ports['STATUS_PORT']}"
        self.wait_for("gateway", partial(answers, status, "/healthz"))

    def database_answers(self) -> bool:
        """Return whether the database does, and has made its users."""
        ping = [*self.client("client"), "-e", "SELECT 1"]
        return not subprocess.run(ping, capture_output=True).returncode

    def wait_for(self, part: str, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Return when `holds` is true of a part. Raises `Refused` with what it said."""
        if not wait_until(holds, seconds):
            raise Refused(f"{part} does not start: {self.said(part)}")

    def said(self, part: str, since: int = 0) -> str:
        """Return the end of what a part wrote to its log."""
        path = self.local / "log" / f"{part}.log"
        written = path.read_bytes()[since:].decode(errors="replace") if path.exists() else ""
        return "\n".join([*written.strip().splitlines()[-3:], f"(the whole log: {path})"])

    def down(self) -> None:
        """Stop everything, the gateway first; return when it is gone."""
        if not self.is_up():
            click.echo("No native stack is running")
            return
        # The sockets of live nudges would keep the gateway.
        self.stop(["gateway", *self.instances("live")])
        # All services at once: supervisord by itself stops one part after the other, a second for each.
        with suppress(xmlrpc.client.Fault):
            self.remove(self.instances())
        self.ask("shutdown")
        if not wait_until(lambda: not (self.directory / "supervisord.pid").exists(), 240):
            raise Refused(f"The stack does not stop: {self.said('supervisor')}")
        click.echo("Stopped. The data stays in .local/native.")

    def scale(self, service: str, number: int) -> None:
        """Run a service so many times. No request is lost."""
        there = self.instances(service)
        self.replace(service, there[number:], number - len(there))

    def restart(self, service: str) -> bool:
        """Replace a service's instances, if it has any; they go on serving when new ones cannot start."""
        there = self.instances(service)
        number = bool(webhooks_file()) if service == "webhooks" else len(there)
        if there or number:
            self.replace(service, there, number)
        return bool(there or number)

    def replace(self, service: str, old: list[str], number: int) -> None:
        """Start so many new instances, then stop old ones. Raises `Refused` with all as before."""
        if any(self.parts()[name]["statename"] == "STOPPED" for name in self.instances()):
            raise Refused(
                "The services are stopped: a restore is running or did not finish. Run the restore again."
            )
        new: list[str] = []
        try:
            for _ in range(number):
                new.append(f"{service}-{free_port()}")
                self.add(new[-1])
            self.route(without=old)
        except BaseException:
            self.remove(set(new) & set(self.parts()))
            raise
        self.reload_gateway()
        self.remove(old)

    def add(self, name: str) -> None:
        """Start an instance; return when it is ready. Raises `Refused` with the reason."""
        service, port = name.split("-")
        log = self.local / "log" / f"{service}.log"
        before = log.stat().st_size if log.exists() else 0
        text = Template((HERE / "service.conf").read_text()).substitute(SERVICE=service, PORT=port)
        (self.directory / "programs" / f"{name}.conf").write_text(text)
        self.ask("reloadConfig")
        self.ask("addProcessGroup", name)
        settled = wait_until(lambda: self.has_ended(name) or serves(name), BOOT_S)
        if self.has_ended(name) or not settled:
            # Says why, where code or settings are to blame: in the log, gunicorn has the last word.
            user = "sync" if service == "live" else service
            check_start(service, AS, user, sys.executable)
            raise Refused(f"{service} does not start: {self.said(service, before)}")

    def has_ended(self, name: str) -> bool:
        """Return whether an instance has ever ended: supervisord may have started it again since."""
        return bool(self.ask("getProcessInfo", name)["stop"])

    def remove(self, names: Iterable[str]) -> None:
        """Let instances finish what they are doing, and forget them."""
        self.stop(names)
        for name in names:
            self.ask("removeProcessGroup", name)
            for path in (self.directory / "programs").glob(f"{name}.*"):
                path.unlink()

    def stop(self, names: Iterable[str]) -> None:
        """Stop instances; return when they have finished what they were doing."""
        for name in names:
            with suppress(xmlrpc.client.Fault):
                self.ask("stopProcess", name, False)
        wait_until(lambda: not any(self.parts()[name]["pid"] for name in names), 60)

    def route(self, without: Iterable[str] = ()) -> None:
        """Write nginx's configuration for all instances but some.

        Raises `Refused`, and changes nothing, when nginx rejects it.
        """
        ports: dict[str, list[str]] = {}
        for name in set(self.instances()) - set(without):
            service, port = name.split("-")
            ports.setdefault(service, []).append(port)
        address = self.ports["ADDRESS"]
        own = {
            # HOST=:: is every address of the machine, as everywhere else; nginx takes IPv6 alone.
            "GATEWAY_LISTEN": address + " ipv6only=off" * address.startswith("[::]"),
            "GATEWAY_STATUS": f"127.0.0.1:{self.ports['STATUS_PORT']}",
            "GATEWAY_RUN": "run",
            "GATEWAY_SITE": "site",
        }
        gateway.render(self.directory / "gateway", ports, own | gateway.own_settings())
        gateway.name_targets(self.directory, ports, own["GATEWAY_STATUS"])

    def reload_gateway(self) -> None:
        """Let nginx take its configuration, and send no more requests by the one before."""
        master = self.ask("getProcessInfo", "gateway")["pid"]
        old = children(master) if master else set()
        with suppress(xmlrpc.client.Fault):
            # One that does not run reads it when it is started again.
            self.ask("signalProcess", "gateway", "HUP")
        # It gives new workers a tenth of a second, and then takes no more from the old ones.
        wait_until(lambda: bool(children(master) - old), 10)
        time.sleep(0.5)
        # They would wait for their sockets of live nudges, which this closes; clients come back.
        for name in self.instances("live"):
            with suppress(xmlrpc.client.Fault):
                self.ask("signalProcess", name, "HUP")
        # Old workers end when they have answered what they were asked, by the old instances alone.
        wait_until(lambda: not old & children(master), DRAIN_S)

    def pause(self) -> None:
        """Stop the services, so that nobody writes."""
        self.stop(self.instances())

    def resume(self) -> None:
        """Forget what Redis knew, and start the services again."""
        self.ask("stopProcess", "redis")
        self.ask("startProcess", "redis")
        for name in self.instances():
            self.ask("startProcess", name, False)
        for name in self.instances():
            self.wait_for(name.split("-")[0], partial(serves, name), BOOT_S)

    def migrate(self, database: str = "app") -> None:
        """Bring the tables and the rights of a database to the present version."""
        for command in (("alembic", "upgrade", "head"), ("deploy.grants",)):
            run(AS, "migrate", sys.executable, "-m", *command, DATABASE_NAME=database)

    def flask(self, service: str, *command: str) -> None:
        """Run a command of a service."""
        user = USERS.get(command[0], service)
        app = ("flask", "--app", APPS.get(command[0], f"services.{service}"))
        run(AS, user, sys.executable, "-m", *app, *command, LOG_SQL="false")

    def client(self, kind: str) -> list[str]:
        """Return the database's `client` or `dump` program, as its administrator."""
        name = program({"client": "mariadb", "dump": "mariadb-dump"}[kind])
        return [name, f"--defaults-file={self.directory / 'client.cnf'}", LONG_ROWS]

    def logs(self) -> None:
        """Follow the logs of all parts, until Ctrl-C."""
        run("tail", "-n5", "-F", *map(str, (self.local / "log").glob("*.log")))


def serves(instance: str) -> bool:
    """Return whether an instance is ready for requests."""
    return answers(f"127.0.0.1:{instance.split('-')[1]}")
