"""The manifests of deploy/kubernetes: built, valid, and as careful as the compose file."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.local.cli import LIVE_CONNECTIONS
from tests.conftest import ROOT, lacking

SERVICES = ("auth-service", "users-service", "sync-service", "live-service")
pytestmark = pytest.mark.stack

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def kustomize() -> str:
    unpacked = ROOT / ".local/kustomize/usr/bin/kustomize"
    if found := shutil.which("kustomize"):
        return found
    if not unpacked.exists():
        script = ROOT / ".ci/unstable.sh"
        done = subprocess.run([script, ROOT / ".local/kustomize", "kustomize"], capture_output=True)
        if done.returncode:
            lacking("kustomize")
    return str(unpacked)


@pytest.fixture(params=["staging", "production"])
def manifests(request: pytest.FixtureRequest, kustomize: str) -> list[Manifest]:
    directory = ROOT / "deploy/kubernetes" / request.param
    built = subprocess.run([kustomize, "build", directory], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    found = list(yaml.safe_load_all(built.stdout))
    assert {manifest["metadata"]["namespace"] for manifest in found} == {request.param}
    return found


@pytest.fixture
def with_webhooks(kustomize: str, tmp_path: Path) -> list[Manifest]:
    """What an overlay is built to that tells other servers what changes."""
    for folder in ("deploy/kubernetes", "gateway"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    copy = tmp_path / "deploy/kubernetes"
    overlay = copy / "staging/kustomization.yaml"
    overlay.write_text(overlay.read_text() + "components: [../webhooks]\n")
    command = [kustomize, "build", copy / "staging"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod of each workload, by its name."""
    found = {}
    for manifest in manifests:
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if manifest["kind"] in ("Deployment", "Job", "CronJob"):
            found[manifest["metadata"]["name"]] = spec["template"]["spec"]
    return found


def test_every_manifest_is_valid(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_each_service_scales_alone_and_is_never_wholly_evicted(manifests: list[Manifest]) -> None:
    names = {
        kind: {m["metadata"]["name"] for m in manifests if m["kind"] == kind}
        for kind in ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")
    }
    for kind, found in names.items():
        assert found == {*SERVICES, "gateway"}, kind
    for manifest in manifests:
        if manifest["kind"] == "PodDisruptionBudget":
            app = manifest["spec"]["selector"]["matchLabels"]["app"]
            assert manifest["metadata"]["name"].startswith(app)
        if manifest["kind"] == "HorizontalPodAutoscaler":
            assert manifest["spec"]["scaleTargetRef"]["name"] == manifest["metadata"]["name"]


def test_no_pod_has_more_rights_than_it_needs(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def labels(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    """The labels of each workload's pods, by its name."""
    found = {}
    for manifest in manifests:
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if manifest["kind"] in ("Deployment", "Job", "CronJob"):
            found[manifest["metadata"]["name"]] = spec["template"]["metadata"]["labels"]
    return found


def selects(selector: Manifest, pod: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    return all(
        pod.get(key) == value for key, value in selector.get("matchLabels", {}).items()
    ) and (
        all(one["operator"] == "In" and pod.get(one["key"]) in one["values"] for one in expressions)
    )


#: Whoever is not one of our pods.
OUTSIDE = {"namespace": "ingress"}
PROMETHEUS = {"namespace": "monitoring"}


def allowed(
    manifests: list[Manifest],
    direction: str,
    pod: dict[str, str],
    peer: dict[str, str],
    port: int,
) -> bool:
    """Whether the policies let `pod` have this traffic with `peer`."""
    policies = [
        manifest["spec"]
        for manifest in manifests
        if manifest["kind"] == "NetworkPolicy"
        and direction in manifest["spec"]["policyTypes"]
        and selects(manifest["spec"]["podSelector"], pod)
    ]
    assert policies, f"nothing is denied to {pod}"
    side = {"Ingress": "from", "Egress": "to"}[direction]

    def is_peer(one: Manifest) -> bool:
        if "podSelector" in one:
            return "app" in peer and selects(one["podSelector"], peer)
        name = one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        return peer.get("namespace") == name

    return any(
        port in [allowed_port["port"] for allowed_port in rule["ports"]]
        and (side not in rule or any(is_peer(one) for one in rule[side]))
        for policy in policies
        for rule in policy.get(direction.lower(), [])
    )


def test_a_pod_talks_to_whom_it_must_and_to_nobody_else(manifests: list[Manifest]) -> None:
    found = labels(manifests)
    gateway = found.pop("gateway")
    for name, pod in found.items():
        is_service = name in SERVICES
        assert allowed(manifests, "Egress", pod, OUTSIDE, 3306), name
        assert allowed(manifests, "Egress", pod, OUTSIDE, 6379) is is_service, name
        assert allowed(manifests, "Egress", pod, OUTSIDE, 53), name
        assert allowed(manifests, "Egress", pod, OUTSIDE, 587) is (name == "auth-service"), name
        assert allowed(manifests, "Ingress", pod, gateway, 8000) is is_service, name
        assert allowed(manifests, "Ingress", pod, PROMETHEUS, 8000) is is_service, name
        assert allowed(manifests, "Egress", gateway, pod, 8000) is is_service, name
        assert not allowed(manifests, "Ingress", pod, OUTSIDE, 8000), name
        asks_providers = name in ("auth-service", "users-service")
        assert allowed(manifests, "Egress", pod, OUTSIDE, 443) is asks_providers, name
        for other in found.values():
            assert not allowed(manifests, "Ingress", pod, other, 8000), name
    assert allowed(manifests, "Ingress", gateway, OUTSIDE, 8080)
    assert allowed(manifests, "Ingress", gateway, PROMETHEUS, 8081)
    assert not allowed(manifests, "Ingress", gateway, OUTSIDE, 8081)
    assert not allowed(manifests, "Egress", gateway, OUTSIDE, 3306)


def test_the_documented_connections_are_enough_for_every_replica(
    manifests: list[Manifest],
) -> None:
    pools = 18  # tests/test_containers.py holds this against the pools.
    needed = 20
    for manifest in manifests:
        if (
            manifest["kind"] == "HorizontalPodAutoscaler"
            and manifest["metadata"]["name"] in SERVICES
        ):
            if manifest["metadata"]["name"] == "live-service":
                needed += (manifest["spec"]["maxReplicas"] + 1) * LIVE_CONNECTIONS
                continue
            # One more of each while a release replaces them.
            needed += (manifest["spec"]["maxReplicas"] + 1) * 2 * pools
    overlay = manifests[0]["metadata"]["namespace"]
    [row] = re.findall(
        rf"kubernetes/{overlay}` \|.*\| ([\d,]+) \|", (ROOT / "docs/scaling.md").read_text()
    )
    assert needed <= int(row.replace(",", "")) < needed * 1.1


def test_requests_finish_before_a_pod_is_killed(manifests: list[Manifest]) -> None:
    graceful = 30
    for name, pod in pods(manifests).items():
        if name in SERVICES:
            command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            assert pod["terminationGracePeriodSeconds"] > int(command[-1]) + graceful
    gateway = pods(manifests)["gateway"]
    script = gateway["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert "-s quit" in script
    assert gateway["terminationGracePeriodSeconds"] > sum(
        map(int, re.findall(r"sleep (\d+)", script))
    )


def test_the_gateway_is_probed_in_plain_http_and_takes_a_certificate(
    manifests: list[Manifest],
) -> None:
    gateway = pods(manifests)["gateway"]
    [container] = gateway["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("readinessProbe", "livenessProbe"):
        assert ports[container[probe]["httpGet"]["port"]] == 8081
    [service] = [
        m for m in manifests if (m["kind"], m["metadata"]["name"]) == ("Service", "gateway")
    ]
    assert [ports[port["targetPort"]] for port in service["spec"]["ports"]] == [8080]
    [tls] = [volume["secret"] for volume in gateway["volumes"] if volume["name"] == "tls"]
    assert tls["optional"] is True


def test_secrets_are_named_and_never_written_down(manifests: list[Manifest]) -> None:
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    for pod in pods(manifests).values():
        for container in pod["containers"]:
            for variable in container.get("env", []):
                if re.search("URL|PASSWORD", variable["name"]):
                    assert variable["valueFrom"]["secretKeyRef"]
    holders = [
        name
        for name, pod in pods(manifests).items()
        for volume in pod["volumes"]
        if volume.get("secret", {}).get("secretName") == "private-key"
    ]
    assert holders == ["auth-service"]


def test_each_service_uses_its_own_database_user(manifests: list[Manifest]) -> None:
    used = {
        name: variable["valueFrom"]["secretKeyRef"]["key"]
        for name, pod in pods(manifests).items()
        for variable in pod["containers"][0].get("env", [])
        if variable["name"] == "DATABASE_URL"
    }
    assert used == {
        "auth-service": "auth",
        "users-service": "users",
        "sync-service": "sync",
        "live-service": "sync",
        "migrate": "migrate",
        "purge": "purge",
        "operate": "migrate",
    }


def test_every_setting_is_one_that_is_read(manifests: list[Manifest]) -> None:
    known = set(
        re.findall(
            r"^([A-Z_]+)=",
            (ROOT / ".env.example").read_text() + (ROOT / "gateway/gateway.env").read_text(),
            re.MULTILINE,
        )
    )
    others = {"WEB_CONCURRENCY", "NGINX_ENTRYPOINT_LOCAL_RESOLVERS", "NGINX_ENVSUBST_OUTPUT_DIR"}
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap" and "settings" in manifest["metadata"]["name"]:
            assert manifest["data"].keys() <= known
    for pod in pods(manifests).values():
        for container in pod["containers"]:
            names = {variable["name"] for variable in container.get("env", [])}
            assert names <= known | others


def test_requests_and_audit_events_are_logged(manifests: list[Manifest]) -> None:
    [settings] = [
        manifest["data"]
        for manifest in manifests
        if manifest["kind"] == "ConfigMap" and re.match("settings-", manifest["metadata"]["name"])
    ]
    assert settings["LOG_LEVEL"] == "INFO"


def test_the_gateway_listens_by_ipv6_and_ipv4(manifests: list[Manifest]) -> None:
    [settings] = [
        manifest["data"]
        for manifest in manifests
        if manifest["kind"] == "ConfigMap" and "gateway-settings" in manifest["metadata"]["name"]
    ]
    assert settings["GATEWAY_LISTEN"] == "[::]:8080 ipv6only=off"
    assert settings["GATEWAY_STATUS"] == "[::]:8081 ipv6only=off"


def test_the_gateway_gets_every_snippet_and_setting(manifests: list[Manifest]) -> None:
    data = {
        manifest["metadata"]["name"].rsplit("-", 1)[0]: manifest["data"]
        for manifest in manifests
        if manifest["kind"] == "ConfigMap"
    }
    assert data["gateway-snippets"].keys() == {
        p.name for p in (ROOT / "gateway/snippets").iterdir()
    }
    template = (ROOT / "gateway/nginx.conf.template").read_text()
    assert set(re.findall(r"\$\{([A-Z_]+)\}", template)) == data["gateway-settings"].keys()


def test_an_overlay_may_deliver_webhooks(with_webhooks: list[Manifest]) -> None:
    test_every_manifest_is_valid(with_webhooks)
    test_no_pod_has_more_rights_than_it_needs(with_webhooks)
    found = pods(with_webhooks)
    told = "/webhooks/webhooks.toml"
    for name, pod in found.items():
        [container] = pod["containers"]
        settings = {one["name"]: one.get("value") for one in container.get("env", [])}
        knows = name in ("sync-service", "users-service", "webhooks-service")
        assert (settings.get("WEBHOOKS_FILE") == told) is knows, name
        mounts = [one["mountPath"] for one in container["volumeMounts"]]
        assert ("/webhooks" in mounts) is knows, name
    [container] = found["webhooks-service"]["containers"]
    assert container["image"].startswith("registry.example/watermelondb-backend-sync:")
    assert container["command"] == ["python", "-m", "services.sync.webhooks"]
    user = [one for one in container["env"] if one["name"] == "DATABASE_URL"]
    assert user[0]["valueFrom"]["secretKeyRef"] == {"name": "database", "key": "webhooks"}
    kinds = {m["kind"] for m in with_webhooks if m["metadata"]["name"].startswith("webhooks")}
    assert kinds == {"Deployment", "PodDisruptionBudget", "NetworkPolicy"}
    own = labels(with_webhooks)
    pod, gateway = own["webhooks-service"], own["gateway"]
    for port in (53, 3306, 443):
        assert allowed(with_webhooks, "Egress", pod, OUTSIDE, port)
    assert not allowed(with_webhooks, "Egress", pod, OUTSIDE, 6379)
    assert allowed(with_webhooks, "Ingress", pod, PROMETHEUS, 8000)
    assert not allowed(with_webhooks, "Ingress", pod, gateway, 8000)
