"""What runs before Python does: scripts and the Makefile, on systems unlike this one."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = [
    path
    for folder in ("client", "deploy")
    for path in sorted((ROOT / folder).rglob("*.sh"))
    # That one is for Debian.
    if path.name != "packages.sh"
]
#: What macOS has not: bash 4 and later, GNU's own options.
UNKNOWN_ON_A_MAC = re.compile(
    r"mapfile|readarray|declare -A|\[\[|&>>|\|&|wait -n|\$\{\w+(,,|\^\^)"
    r"|readlink -f|realpath|sed -i|grep -P|date -d|stat -c|xargs -r|base64 -w|sort -V|\btac\b"
)
#: What make 3.81 has not.
UNKNOWN_TO_AN_OLD_MAKE = re.compile(
    r"^\.ONESHELL|^\w+ *!=|\$\(file |^undefine|&:|::+=", re.MULTILINE
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_for_every_posix_shell_and_its_tools(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert not UNKNOWN_ON_A_MAC.search(text)
    subprocess.run(["sh", "-n", script], check=True)


def test_the_makefile_is_for_make_3_81() -> None:
    text = (ROOT / "Makefile").read_text()
    assert not UNKNOWN_TO_AN_OLD_MAKE.search(text)
    assert not UNKNOWN_ON_A_MAC.search(text)


def test_a_checkout_on_windows_has_the_same_line_ends(tmp_path: Path) -> None:
    clone = ["git", "clone", "--quiet", "-c", "core.autocrlf=true", ROOT, tmp_path / "clone"]
    subprocess.run(clone, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--eol"], cwd=tmp_path / "clone", capture_output=True, text=True
    ).stdout.splitlines()
    assert len(listed) > 100
    assert [line for line in listed if "w/crlf" in line or "w/mixed" in line] == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("admin", "EMAIL=… is missing"),
        ("help-user DO=unlock", "EMAIL=… is missing"),
        ("create-users", "FILE=… is missing"),
        ("copy-from", "MAP=… is missing"),
        ("service-key NAME=shop", "SCOPES=… is missing"),
        ("revoke-service-key", "NAME=… is missing"),
        ("scale SERVICE=sync", "N=… is missing"),
        ("restore", "FILE=… is missing"),
        ("load TABLE=articles", "FILE=… is missing"),
        ("webhook-replay", "NAME=… is missing"),
        ("clean ALL=no", "say ALL=yes"),
    ],
)
def test_make_says_in_one_line_what_is_missing(call: str, said: str) -> None:
    # Nothing is run, nor installed.
    make = ["make", "--just-print", "--assume-old=.local/venv/.runtime", *call.split()]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert (len(done.stderr.splitlines()), said in done.stderr) == (1, True), done.stderr
