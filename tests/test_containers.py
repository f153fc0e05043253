"""What the compose file, the images and the manifests have to keep in step with the services."""

import os
import re
import runpy
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy.engine import make_url

from deploy.local import cli
from deploy.local import compose as module
from deploy.local.cli import LIVE_CONNECTIONS
from deploy.local.machine import Refused
from services.sync.live.sockets import THREADS
from shared.database.engines import engine_options, look_up_options
from tests.conftest import ROOT

SERVICES = ("auth", "users", "sync")
#: What `make scale` allows for each service.
MAX_INSTANCES = 16


@pytest.fixture(scope="module")
def compose() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
        "services"
    ]
    return services


@pytest.fixture(scope="module")
def gunicorn() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", "none")
        return runpy.run_path(str(ROOT / "deploy/gunicorn.conf.py"))


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def megabytes(size: str) -> int:
    return int(size[:-1]) * {"m": 1, "g": 1024}[size[-1]]


def connections_of_a_process() -> int:
    """As many as the pools of a process may open."""
    url = make_url("mysql+pymysql://sync@host/app")
    return sum(
        options["pool_size"] + options["max_overflow"]
        for options in (engine_options(url), look_up_options(url))
    )


def test_the_database_has_a_connection_for_whatever_may_be_scaled(
    compose: dict[str, dict[str, Any]],
) -> None:
    options = dict(option.split("=") for option in compose["mysql"]["command"])
    allowed = int(options["--max-connections"])
    processes = [
        MAX_INSTANCES * compose[name]["environment"]["WEB_CONCURRENCY"] for name in SERVICES
    ]
    # Old processes of a service end while its new ones begin.
    needed = (sum(processes) + max(processes)) * connections_of_a_process()
    needed += MAX_INSTANCES * LIVE_CONNECTIONS
    # The purge, migrations, backups, health checks and people need some too.
    assert needed + 20 <= allowed


def test_an_instance_of_live_has_a_connection_for_each_of_its_threads() -> None:
    assert LIVE_CONNECTIONS == THREADS + 1


def test_the_documented_number_of_connections_is_true() -> None:
    [said] = re.findall(
        r"(\d+) connections for each process", (ROOT / "docs/scaling.md").read_text()
    )
    assert int(said) == connections_of_a_process()


def test_nothing_is_killed_before_it_has_finished(
    compose: dict[str, dict[str, Any]], gunicorn: dict[str, Any]
) -> None:
    for name in (*SERVICES, "live", "webhooks"):
        assert seconds(compose[name]["stop_grace_period"]) > gunicorn["graceful_timeout"], name
    [waits] = re.findall(
        r"proxy_read_timeout +(\d+)s", (ROOT / "gateway/snippets/proxy.conf").read_text()
    )
    assert seconds(compose["gateway"]["stop_grace_period"]) > int(waits)
    assert compose["gateway"]["stop_signal"] == "SIGQUIT"
    assert seconds(compose["mysql"]["stop_grace_period"]) > 10


def test_every_container_has_a_limit_of_memory(compose: dict[str, dict[str, Any]]) -> None:
    assert all(megabytes(service["mem_limit"]) for service in compose.values())
    # What it keeps in memory of bodies must not be what ends it.
    [size] = re.findall(r"size=(\w+)", str(compose["gateway"]["tmpfs"]))
    assert megabytes(size) < megabytes(compose["gateway"]["mem_limit"])
    [size] = re.findall(r"--maxmemory (\w+)b", compose["redis"]["command"][2])
    assert megabytes(size) < megabytes(compose["redis"]["mem_limit"])


def test_no_container_but_the_databases_has_rights_or_writes_to_its_image(
    compose: dict[str, dict[str, Any]],
) -> None:
    for name, service in compose.items():
        if name == "mysql":
            # Its image begins as root, gives its data to its user and becomes that.
            continue
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # Grafana keeps a database of its own in its image.
        assert service.get("read_only") or name == "grafana", name


def test_only_the_gateway_is_published_to_others(compose: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in compose.items() if "ports" in service}
    assert published.keys() == {"gateway", "mail", "prometheus", "grafana"}
    for name in ("mail", "prometheus", "grafana"):
        assert all(port.startswith("127.0.0.1:") for port in published[name])
    [port] = published["gateway"]
    assert port["host_ip"] == "${ADDRESS:-127.0.0.1}"
    assert port["target"] == 8080


def test_every_image_is_built_by_way_of_the_proxy_that_is_set(
    compose: dict[str, dict[str, Any]],
) -> None:
    for name, service in compose.items():
        if "build" in service:
            arguments = service["build"]["args"]
            assert {"http_proxy", "https_proxy", "no_proxy"} <= arguments.keys(), name
            assert not any(arguments[key] for key in ("http_proxy", "https_proxy", "no_proxy"))


def test_files_of_an_image_are_readable_whatever_the_umask_of_the_checkout() -> None:
    copies = re.findall(r"^COPY (.*)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    # From the context itself only what is opened to everybody, and what root alone reads.
    assert [copy for copy in copies if not copy.startswith("--from=")] == [
        "requirements-stack.txt .",
        ". /source",
    ]


def test_mails_are_never_shown_by_a_stack_that_others_may_reach(
    compose: dict[str, dict[str, Any]],
) -> None:
    for name in ("auth", "users"):
        assert compose[name]["environment"]["MAIL_URL"] == "${MAIL_URL:-}"


def test_what_does_not_run_is_not_said_to_be_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "one_at_a_time", nullcontext)
    monkeypatch.setattr(cli, "running", module.Compose)
    monkeypatch.setattr(
        module.Compose, "instances", lambda _self, *names: ["id"] if names == ("live",) else []
    )
    monkeypatch.setattr(module.Compose, "call", lambda *_: None)
    runner = CliRunner()
    assert runner.invoke(cli.cli, ["restart"]).output == "Restarted live\n"
    assert runner.invoke(cli.cli, ["restart", "webhooks"]).output == "webhooks does not run\n"


@pytest.mark.parametrize("command", ["service-key", "service-keys", "revoke-service-key"])
def test_keys_are_made_in_a_container_that_serves_nobody_and_no_password_is_an_argument(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[tuple[str, ...], dict[str, str]]] = []
    monkeypatch.setattr(module, "run", lambda *words, **environ: ran.append((words, environ)))
    monkeypatch.setattr(module, "settings_file", lambda _path: {"MIGRATE_PASSWORD": "secret"})
    monkeypatch.setattr(module.Compose, "instances", lambda _self, *names: [f"id-of-{names[0]}"])
    module.Compose().flask("sync", command, "backoffice")
    [(words, environ)] = ran
    assert words == (
        *("docker", "exec", "--env", "DATABASE_URL", "id-of-purge"),
        *("flask", "--app", "services.sync", command, "backoffice"),
    )
    assert environ == {"DATABASE_URL": "mysql+pymysql://migrate:secret@mysql/app"}
    monkeypatch.setattr(module.Compose, "instances", lambda *_: [])
    with pytest.raises(Refused):
        module.Compose().flask("sync", command)


def test_every_command_finds_the_providers_and_receivers_that_the_stack_was_started_with(
    tmp_path: Path,
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\necho "$OIDC_PROVIDERS_FILE" "$WEBHOOKS_FILE" "$COMPOSE_PROFILES"\n'
    )
    docker.chmod(0o700)

    def settings() -> list[str]:
        environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        [script] = module.Compose.command
        return subprocess.check_output([script, "ps"], cwd=tmp_path, env=environ, text=True).split()

    assert settings() == []
    for name in ("providers", "webhooks"):
        (tmp_path / ".local" / name).mkdir(parents=True)
        (tmp_path / ".local" / name / f"{name}.toml").touch()
    assert settings() == ["/providers/providers.toml", "/webhooks/webhooks.toml", "webhooks"]


def test_a_copy_runs_where_the_map_and_the_other_database_are_reached(
    compose: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(module.Compose, "call", lambda _self, *words: ran.append(words))
    module.Compose().flask("sync", "copy", "--map=/home/me/my maps/shop.toml", "--only=")
    [words] = ran
    assert words[:2] == ("run", "--rm") and "/home/me/my maps:/home/me/my maps" in words
    assert words[-4:] == ("copy", "copy", "--map=/home/me/my maps/shop.toml", "--only=")
    service = compose["copy"]
    assert service["entrypoint"] == ["flask", "--app", "services.sync"]
    # Never a part of the stack that make up starts; its URL is no argument, which everybody could read.
    assert service["profiles"] == ["copy"] and "outside" in service["networks"]
    assert service["environment"]["SOURCE_URL"] == "${SOURCE_URL:-}"
