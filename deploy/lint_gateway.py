"""Refuse a gateway configuration that nginx cannot have: `python -m deploy.lint_gateway`."""

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.gateway import render
from deploy.local.machine import PATH, SERVICES, Refused


def main() -> None:
    """End with what is wrong; where nginx is missing, skip the check, except in CI."""
    if not shutil.which("nginx", path=PATH):
        if os.environ.get("CI") == "true":
            sys.exit("nginx is missing: the gateway's configuration cannot be checked")
        print("Skipped, since nginx is missing: nginx -t on the gateway's configuration")
        return
    with TemporaryDirectory() as name:
        (Path(name) / "run").mkdir()
        settings = {"GATEWAY_RUN": f"{name}/run", "GATEWAY_SITE": name}
        try:
            render(Path(name), {service: ["8000"] for service in SERVICES}, settings)
        except Refused as error:
            sys.exit(str(error))
    print("nginx takes the gateway's configuration.")


if __name__ == "__main__":
    main()
