"""The Prometheus files of deploy/monitoring, with a real Prometheus that scrapes a native stack."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prometheus_client
import pymysql
import pytest
import yaml

import shared.observability.metrics  # noqa: F401 (declares the metrics)
from bench.faults import hang
from tests.api import Device, changes, project, wire
from tests.conftest import ROOT, NewPlace, lacking
from tests.servers import processes
from tests.servers.checkout import Checkout
from tests.servers.issuer import Issuer, providers_file
from tests.servers.receiver import configuration, new_secret
from tests.stack.load import eventually

MONITORING = ROOT / "deploy/monitoring"
DASHBOARDS = sorted((MONITORING / "grafana").glob("*.json"))
ALERTS = re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text())
RULE_TESTS = ROOT / "tests/stack/alerts_test.yml"

#: The same rules in a minute's time: every window and patience divided.
FASTER = {"1m": "5s", "2m": "5s", "5m": "6s", "10m": "7s", "1h": "8s"}


class Prometheus(processes.ManagedProcess):
    """Prometheus with the configuration that the native stack wrote, in a hurry."""

    name = "prometheus"

    def __init__(self, directory: Path, configuration: Path) -> None:
        super().__init__(directory, processes.free_port())
        self.configuration = configuration

    def prepare(self) -> None:
        super().prepare()
        text = (self.configuration / "prometheus.yml").read_text().replace("5s", "1s")
        text = text.replace("targets.json", str(self.configuration / "targets.json"))
        (self.directory / "prometheus.yml").write_text(text)
        rules = (self.configuration / "alerts.yml").read_text()
        rules = re.sub(r"for: \d+m", "for: 1s", rules)
        rules = re.sub(r"\[(\d+[mh])\]", lambda found: f"[{FASTER[found[1]]}]", rules)
        (self.directory / "alerts.yml").write_text(rules)

    def command(self) -> list[str]:
        return [
            processes.program("prometheus"),
            f"--config.file={self.directory}/prometheus.yml",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def answers(self) -> None:
        self.get("status/buildinfo")

    def get(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url) as response:
            return json.load(response)["data"]

    def firing(self) -> set[str]:
        alerts = self.get("alerts")["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def values(self, query: str) -> list[float]:
        return [float(one["value"][1]) for one in self.get("query", query=query)["result"]]


@pytest.fixture(scope="module")
def prometheus(checkout: Checkout, new_place: NewPlace) -> Iterator[Prometheus]:
    if not shutil.which("prometheus", path=processes.PATH):
        lacking("prometheus")
    prometheus = Prometheus(new_place(), checkout.local / "native")
    prometheus.start()
    eventually(lambda: prometheus.values("min(up)") == [1])
    yield prometheus
    prometheus.stop()


@pytest.fixture
def device(checkout: Checkout) -> Device:
    return checkout.api.register()


def everything(checkout: Checkout) -> None:
    """A little of all that is counted."""
    device = checkout.api.register()
    other = device.another()
    p = project()
    device.push(projects={"created": [p, project(name=7)]})
    for one in (other, other, device):
        one.pull()
    other.push(projects={"updated": [p | {"name": "Mine"}]})
    device.push(projects={"updated": [p | {"name": "Yours"}]})
    device.pull_raw(0, limit=1)
    device.api.get("/users/me", token=device.token)
    device.api.get("/nothing")
    device.api.post("/auth/login", {"email": device.email, "password": "wrong one"})
    device.tokens |= device.api.post("/auth/refresh", token=device.tokens["refreshToken"]).json


def keep(doing: Callable[[], Any], until: Callable[[], Any], seconds: float = 60) -> None:
    """Do something ten times a second, or as often as it can be done, until something is true."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "it never came true"
        doing()
        time.sleep(0.1)


def promtool(*command: str | Path) -> None:
    if not shutil.which("promtool", path=processes.PATH):
        lacking("promtool")
    done = subprocess.run([processes.program("promtool"), *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_are_valid(tmp_path: Path) -> None:
    promtool("check", "config", "--syntax-only", MONITORING / "prometheus.yml")
    promtool("check", "rules", MONITORING / "alerts.yml")
    # Debian's Prometheus is built without the discovery of pods, and knows the rest.
    text = (MONITORING / "kubernetes.yml").read_text()
    rest, number = re.subn(r" kubernetes_sd_configs: .*", " static_configs: []", text)
    assert number == 6
    (tmp_path / "kubernetes.yml").write_text(rest)
    promtool("check", "config", "--syntax-only", tmp_path / "kubernetes.yml")


def test_each_way_to_run_scrapes_the_same_jobs_and_labels() -> None:
    """Alerts and dashboards go by them."""
    compose, kubernetes = (
        yaml.safe_load((MONITORING / f"{name}.yml").read_text())["scrape_configs"]
        for name in ("prometheus", "kubernetes")
    )
    assert [job["job_name"] for job in compose] == ["services", "gateway", "routes"]
    relabeled = {
        rule["target_label"]: rule.get("replacement")
        for job in kubernetes
        for rule in job["relabel_configs"]
        if "target_label" in rule
    }
    assert [job["job_name"].split("-")[0] for job in kubernetes] == [
        "services", "gateway", *["routes"] * 4
    ]  # fmt: skip
    assert relabeled["job"] == "routes"
    assert "service" in relabeled


def test_every_alert_fires_when_it_should_and_is_quiet_when_not() -> None:
    promtool("test", "rules", RULE_TESTS)
    expected = [
        (test["alertname"], bool(test["exp_alerts"]))
        for group in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        for test in group["alert_rule_test"]
    ]
    for alert in ALERTS:
        assert {(alert, True), (alert, False)} <= set(expected), alert


def queries() -> list[str]:
    """What every panel of every dashboard asks."""
    return [
        target["expr"]
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def test_every_metric_that_is_asked_for_is_counted_somewhere() -> None:
    counted = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in prometheus_client.REGISTRY.collect()
    }
    gateway = (ROOT / "gateway/snippets/status.conf").read_text()
    counted |= set(re.findall(r"# TYPE (\w+)", gateway))
    [group] = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for query in [*queries(), *(rule["expr"] for rule in group["rules"])]:
        # Names that are left without texts, labels and functions, but for `up`, Prometheus's own.
        bare = re.sub(r'"[^"]*"|\{[^}]*\}|\b(by|on) \([^)]*\)', "", query)
        names = re.findall(r"\b[a-z]+_[a-z_]+\b(?! *\()", bare)
        assert {re.sub("_(bucket|sum|count)$", "", name) for name in names} <= counted, query
        assert names or "up" in query, query


def test_every_alert_has_its_page_in_the_runbook() -> None:
    runbook = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^### (\w+)$", runbook, re.MULTILINE) == ALERTS


def test_every_query_of_every_dashboard_shows_something(
    checkout: Checkout, prometheus: Prometheus
) -> None:
    assert len(queries()) > 20

    def silent() -> list[str]:
        return [
            query
            for query in queries()
            if not [value for value in prometheus.values(query) if value == value]
        ]

    try:
        keep(lambda: everything(checkout), lambda: not silent())
    except AssertionError:
        assert silent() == []


def test_counts_of_all_processes_come_together_and_outlive_them(
    checkout: Checkout, prometheus: Prometheus, device: Device
) -> None:
    def pulls() -> float:
        return sum(prometheus.values('sum(sync_pulls_total{service="sync"})'))

    for _ in range(20):
        device.pull_raw(1)
    done = time.time()
    eventually(lambda: prometheus.values('min(timestamp(up{service="sync"}))')[0] > done)
    before = pulls()
    assert before >= 20
    for pid in processes.children(checkout.pid("sync")):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: device.pull_raw(1).status_code == 200)
    for _ in range(20):
        device.pull_raw(1)
    eventually(lambda: pulls() >= before + 20)


def test_a_new_instance_is_scraped(checkout: Checkout, prometheus: Prometheus) -> None:
    checkout.run("scale", "sync", "2")
    eventually(lambda: prometheus.values('count(up{job="services", service="sync"} == 1)') == [2])
    checkout.run("scale", "sync", "1")
    eventually(lambda: prometheus.values('count(up{job="services", service="sync"})') == [1])


def provoke_instance_down(checkout: Checkout, prometheus: Prometheus, _device: Device) -> None:
    checkout.native.pause()
    try:
        eventually(lambda: {"InstanceDown", "ServiceDown"} <= prometheus.firing())
    finally:
        checkout.native.resume()


def provoke_gateway_down(checkout: Checkout, prometheus: Prometheus, _device: Device) -> None:
    gateway = checkout.pid("gateway")
    workers = processes.children(gateway)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: "GatewayDown" in prometheus.firing())
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def provoke_gateway_cannot_reach(
    checkout: Checkout, prometheus: Prometheus, _device: Device
) -> None:
    configuration = checkout.local / "native/gateway/nginx.conf"
    right = configuration.read_text()
    nowhere = f"upstream sync  {{ server 127.0.0.1:{processes.free_port()}; }} #"
    configuration.write_text(right.replace("upstream sync ", nowhere))
    try:
        os.kill(checkout.pid("gateway"), signal.SIGHUP)
        eventually(lambda: "GatewayCannotReachService" in prometheus.firing())
    finally:
        configuration.write_text(right)
        os.kill(checkout.pid("gateway"), signal.SIGHUP)


def provoke_database_unavailable(
    checkout: Checkout, prometheus: Prometheus, device: Device
) -> None:
    def kill_and_ask() -> None:
        before = checkout.pid("database")
        os.kill(before, signal.SIGKILL)
        for _ in range(20):
            device.pull_raw(1)
        eventually(lambda: checkout.answers_anew("database", before))

    keep(kill_and_ask, lambda: "DatabaseUnavailable" in prometheus.firing())


def provoke_bugs(checkout: Checkout, prometheus: Prometheus, device: Device) -> None:
    device.pull()
    device.push(projects={"created": [project()]})
    with checkout.root() as root, root.cursor() as cursor:
        cursor.execute("RENAME TABLE restores TO elsewhere")
        try:
            keep(
                lambda: device.pull_raw(device.last_pulled_at),
                lambda: {"Bugs", "ServerErrors"} <= prometheus.firing(),
            )
        finally:
            cursor.execute("RENAME TABLE elsewhere TO restores")


def provoke_slow_requests(checkout: Checkout, prometheus: Prometheus, device: Device) -> None:
    def slow() -> None:
        with checkout.root() as root, root.cursor() as cursor:
            cursor.execute("LOCK TABLES projects WRITE")
            thread = threading.Thread(target=device.pull_raw)
            thread.start()
            time.sleep(1.5)
            cursor.execute("UNLOCK TABLES")
            thread.join()

    keep(slow, lambda: "SlowRequests" in prometheus.firing())


def provoke_cache_down(checkout: Checkout, prometheus: Prometheus, device: Device) -> None:
    def hang_redis() -> None:
        thread = threading.Thread(target=hang("redis", 3), args=[checkout])
        thread.start()
        while thread.is_alive():
            device.api.get("/users/me", token=device.token)
        thread.join()

    keep(hang_redis, lambda: "CacheDown" in prometheus.firing())


def provoke_transactions_collide(
    checkout: Checkout, prometheus: Prometheus, device: Device
) -> None:
    done = threading.Event()

    def push() -> None:
        while not done.is_set():
            device.push_raw(changes(projects={"created": [wire(project())]}))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()

    def lose_connections() -> None:
        with checkout.root() as root, root.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE user = 'sync' AND info LIKE"
                " 'UPDATE users%'"
            )
            for (id_,) in cursor.fetchall():
                try:
                    cursor.execute(f"KILL {id_}")
                except pymysql.err.OperationalError:
                    # It has ended by itself.
                    continue

    try:
        keep(lose_connections, lambda: "TransactionsCollide" in prometheus.firing())
    finally:
        done.set()
        for thread in threads:
            thread.join()


def provoke_password_guessing(_checkout: Checkout, prometheus: Prometheus, device: Device) -> None:
    wrong = {"email": device.email, "password": "not the right one"}
    keep(
        lambda: device.api.post("/auth/login", wrong),
        lambda: "PasswordGuessing" in prometheus.firing(),
    )


def provoke_refresh_tokens_reused(
    checkout: Checkout, prometheus: Prometheus, device: Device
) -> None:
    def reuse() -> None:
        stolen = device.another().tokens["refreshToken"]
        newest = device.api.post("/auth/refresh", token=stolen).json["refreshToken"]
        device.api.post("/auth/refresh", token=newest)
        with checkout.root() as root, root.cursor() as cursor:
            # As if the time in which a repeat is answered were over.
            cursor.execute("UPDATE sessions SET earlier = NULL")
        assert device.api.post("/auth/refresh", token=stolen).json["code"] == "token_reused"

    keep(reuse, lambda: "RefreshTokensReused" in prometheus.firing())


@contextmanager
def auth_with(checkout: Checkout, **others: str) -> Iterator[None]:
    """The auth service with other settings."""
    settings = checkout.directory / "deploy/development.env"
    before = settings.read_text()
    lines = [f"{name}='{value}'\n" for name, value in others.items()]
    settings.write_text("".join([before, "\n", *lines]))
    try:
        checkout.run("restart", "auth")
        yield
    finally:
        settings.write_text(before)
        checkout.run("restart", "auth")


def provoke_mail_not_sent_and_provider_down(
    checkout: Checkout, prometheus: Prometheus, device: Device
) -> None:
    with Issuer() as issuer:
        sign_in = {"provider": "gone", "idToken": issuer.token()}
    file = checkout.directory / "providers.toml"
    file.write_text(providers_file(gone=issuer))

    def forget() -> None:
        body = {"email": device.api.register().email}
        assert device.api.post("/auth/password/forgot", body).status_code == 202

    def ask_provider() -> None:
        assert device.api.post("/auth/oidc", sign_in).status_code == 503

    nowhere = f"smtp://127.0.0.1:{processes.free_port()}?from=app@example.com"
    # One after the other: each by its own cause.
    with auth_with(checkout, MAIL_URL=nowhere, OIDC_PROVIDERS_FILE=str(file)):
        keep(forget, lambda: "MailNotSent" in prometheus.firing())
        assert "ProviderDown" not in prometheus.firing()
        keep(ask_provider, lambda: "ProviderDown" in prometheus.firing())


def provoke_webhook_not_delivered(
    checkout: Checkout, prometheus: Prometheus, device: Device
) -> None:
    nowhere = f"http://127.0.0.1:{processes.free_port()}"
    file = checkout.local / "webhooks/webhooks.toml"
    file.parent.mkdir()
    file.write_text(configuration([("nowhere", [new_secret()], nowhere)]))
    try:
        checkout.run("restart", "sync")
        # Nobody delivers at all.
        eventually(lambda: "WebhookNotDelivered" in prometheus.firing())
        checkout.run("restart", "webhooks")
        eventually(lambda: "WebhookNotDelivered" not in prometheus.firing())
        device.push(projects={"created": [project()]})
        with checkout.root() as root, root.cursor() as cursor:
            # As if three days were over, whether or not a batch has been made of it by now.
            cursor.execute("UPDATE webhook_outbox SET written_at = 1")
            cursor.execute("UPDATE webhook_batches SET oldest_at = 1")
            cursor.execute("UPDATE webhook_receivers SET failing_since = 1, next_at = 0")
        eventually(lambda: "WebhookNotDelivered" in prometheus.firing())
        with checkout.root() as root, root.cursor() as cursor:
            cursor.execute("DELETE FROM webhook_batches")
    finally:
        file.unlink()
        file.parent.rmdir()
        checkout.run("restart", "webhooks")
        checkout.run("restart", "sync")


def provoke_apps_newer(_checkout: Checkout, prometheus: Prometheus, device: Device) -> None:
    keep(
        lambda: device.push(projects={"created": [project(mood="new")]}),
        lambda: "AppsNewerThanServer" in prometheus.firing(),
    )


def provoke_values_repaired(_checkout: Checkout, prometheus: Prometheus, device: Device) -> None:
    keep(
        lambda: device.push(projects={"created": [project(name=None)]}),
        lambda: "ValuesRepaired" in prometheus.firing(),
    )


PROVOKE = {
    "ServiceDown InstanceDown": provoke_instance_down,
    "GatewayDown": provoke_gateway_down,
    "GatewayCannotReachService": provoke_gateway_cannot_reach,
    "ServerErrors Bugs": provoke_bugs,
    "DatabaseUnavailable": provoke_database_unavailable,
    "SlowRequests": provoke_slow_requests,
    "CacheDown": provoke_cache_down,
    "TransactionsCollide": provoke_transactions_collide,
    "PasswordGuessing": provoke_password_guessing,
    "RefreshTokensReused": provoke_refresh_tokens_reused,
    "MailNotSent ProviderDown": provoke_mail_not_sent_and_provider_down,
    "WebhookNotDelivered": provoke_webhook_not_delivered,
    "AppsNewerThanServer": provoke_apps_newer,
    "ValuesRepaired": provoke_values_repaired,
}


def test_every_alert_is_provoked() -> None:
    assert sorted(" ".join(PROVOKE).split()) == sorted(ALERTS)


@pytest.mark.parametrize("alerts", PROVOKE)
def test_every_alert_fires_for_what_it_is_about_and_ends_with_it(
    checkout: Checkout, prometheus: Prometheus, device: Device, alerts: str
) -> None:
    """Each provocation makes its alerts fire before it returns."""
    about = set(alerts.split())
    eventually(lambda: not about & prometheus.firing())
    PROVOKE[alerts](checkout, prometheus, device)
    eventually(lambda: not about & prometheus.firing())
    eventually(lambda: device.pull_raw(1).status_code == 200)
