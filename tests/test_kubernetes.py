"""The manifests of deploy/kubernetes: built, valid, and as careful as the compose file."""

import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.conftest import ROOT, lacking

SERVICES = ("auth-service", "users-service", "sync-service")
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
        "migrate": "migrate",
        "purge": "purge",
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
