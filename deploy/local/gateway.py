"""nginx's configuration for the native stack, rendered as the official image does from the same files.

`python -m deploy.local.gateway` checks it (`make lint`).
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from deploy.local.machine import LOCAL, PARTS, ROOT, Refused, program, settings_file

DEFAULTS = settings_file(ROOT / "gateway/gateway.env")


def own_settings() -> dict[str, str]:
    """Return what differs from gateway.env: `.local/gateway.env`, or else the environment."""
    given = {name: os.environ[name] for name in DEFAULTS if name in os.environ}
    return given | settings_file(LOCAL / "gateway.env")


def render(
    directory: Path, ports: Mapping[str, Sequence[str]], settings: Mapping[str, str]
) -> None:
    """Write `nginx.conf` and what it includes into `directory`, for services on these ports.

    Raises `Refused`, and leaves the one that was there, when nginx rejects it.
    """
    (directory / "snippets").mkdir(exist_ok=True)
    for snippet in (ROOT / "gateway/snippets").iterdir():
        shutil.copyfile(snippet, directory / "snippets" / snippet.name)
    values = {**DEFAULTS, **settings}
    for service, some in ports.items():
        servers = [f"server 127.0.0.1:{port} fail_timeout=1s;" for port in some]
        values[f"{service.upper()}_SERVERS"] = " ".join(servers)
    new = directory / "new.conf"
    # What it does not know are nginx's own variables.
    template = Template((ROOT / "gateway/nginx.conf.template").read_text())
    new.write_text(template.safe_substitute(values))
    check = [program("nginx"), "-t", "-q", "-p", "./", "-c", new.name, "-e", "stderr"]
    checked = subprocess.run(check, cwd=directory, capture_output=True, text=True)
    if checked.returncode:
        raise Refused(f"nginx rejects this configuration: {checked.stderr.strip()}")
    new.rename(directory / "nginx.conf")


def name_targets(directory: Path, ports: Mapping[str, Sequence[str]], status: str) -> None:
    """Tell a Prometheus that runs with `prometheus.yml` in `directory` where all is; `status`: nginx."""
    targets = [
        {"targets": [f"127.0.0.1:{port}" for port in some], "labels": {"service": service}}
        for service, some in ports.items()
    ]
    (directory / "targets.json").write_text(json.dumps(targets))
    text = (ROOT / "deploy/monitoring/prometheus.yml").read_text()
    text = re.sub("dns_sd_configs: .*", "file_sd_configs: [{files: [targets.json]}]", text)
    text = re.sub(r"\n    relabel_configs: .*", "", text).replace("gateway:8081", status)
    (directory / "prometheus.yml").write_text(text)
    shutil.copyfile(ROOT / "deploy/monitoring/alerts.yml", directory / "alerts.yml")


def lint() -> None:
    """End with what nginx says of the default settings; without nginx skip the check, except in CI."""
    if program("nginx") == "nginx" and os.environ.get("CI") != "true":
        print("Skipped, since nginx is missing: nginx -t on the gateway's configuration")
        return
    with TemporaryDirectory() as directory:
        (Path(directory) / "run").mkdir()
        settings = {"GATEWAY_RUN": f"{directory}/run", "GATEWAY_SITE": directory}
        try:
            render(Path(directory), {name: ["8000"] for name in PARTS}, settings)
        except (Refused, OSError) as error:
            sys.exit(f"The gateway's configuration cannot be checked: {error}")
    print("nginx accepts the gateway's configuration")


if __name__ == "__main__":
    lint()
