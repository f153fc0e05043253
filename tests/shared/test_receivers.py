"""`WEBHOOKS_FILE`: who is told what changes (docs/webhooks.md)."""

import base64
from pathlib import Path

import pytest
from environs import ValidationError

from shared.config import read_by
from shared.receivers import read_receivers
from tests.servers.receiver import new_secret

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
GOOD = f"""
[webhooks.backoffice]
url = "https://hooks.example.com/app?x=1"
secrets = ["{SECRET}", "{new_secret()}"]
"""


def test_a_file_names_receivers_their_urls_and_what_signs(tmp_path: Path) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text(GOOD)
    read_by(read_receivers)(str(file))
    [(name, receiver)] = read_receivers(str(file)).items()
    assert (name, receiver.name) == ("backoffice", "backoffice")
    assert receiver.url == "https://hooks.example.com/app?x=1"
    assert len(receiver.keys) == 2
    assert receiver.keys[0] == b"k" * 32
    assert "kkk" not in repr(receiver)
    assert read_receivers("") == {}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3000/hook", "http://localhost/", "http://[::1]:3000/hook"]
)
def test_a_receiver_of_this_machine_needs_no_tls(tmp_path: Path, url: str) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text(GOOD.replace("https://hooks.example.com/app?x=1", url))
    assert read_receivers(str(file))["backoffice"].url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "webhooks = 1",
        "webhooks = {backoffice = 1}",
        GOOD.replace("[webhooks.", "[hooks."),
        GOOD + "\n[other]\n",
        GOOD.replace("backoffice]", '"back office"]'),
        GOOD.replace("backoffice]", "Backoffice]"),
        GOOD.replace("backoffice]", "back_office]"),
        GOOD.replace("backoffice]", f"{'b' * 33}]"),
        GOOD.replace("https:", "http:"),
        GOOD.replace("https:", "file:"),
        GOOD.replace("https://", "https://user:password@"),
        GOOD.replace("?x=1", "#x"),
        GOOD.replace("?x=1", " "),
        GOOD.replace("?x=1", "é"),
        GOOD.replace('"https://hooks.example.com/app?x=1"', "7"),
        GOOD.replace(SECRET, SECRET.removeprefix("whsec_")),
        GOOD.replace(SECRET, "whsec_short"),
        GOOD.replace(SECRET, "whsec_" + base64.b64encode(b"k" * 23).decode()),
        GOOD.replace(SECRET, "whsec_" + base64.b64encode(b"k" * 65).decode()),
        GOOD.replace(SECRET, SECRET[:-1]),
        GOOD.replace(SECRET, SECRET.replace("=", "!")),
        GOOD[: GOOD.index("secrets")] + "secrets = []",
        GOOD[: GOOD.index("secrets")] + f'secrets = "{SECRET}"',
        GOOD[: GOOD.index("secrets")] + "secrets = [7]",
        GOOD[: GOOD.index("secrets")],
        GOOD + 'events = ["x"]',
        GOOD.replace("[webhooks", "webhooks"),
        "".join(GOOD.replace("backoffice", f"r{at}") for at in range(9)),
    ],
)
def test_a_file_that_says_something_else_keeps_the_service_from_starting(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    with pytest.raises(ValidationError) as refused:
        read_by(read_receivers)(str(file))
    # No secret is repeated, not even one that is none.
    assert SECRET.removeprefix("whsec_")[:10] not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        read_by(read_receivers)(str(tmp_path / "nowhere"))
