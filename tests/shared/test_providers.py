"""`OIDC_PROVIDERS_FILE`: what is trusted to sign people in (docs/accounts.md, "Sign-in by provider")."""

import time
from pathlib import Path

import pytest
from environs import ValidationError

from shared.accounts import issuers
from shared.config import read_by
from shared.providers import Provider, is_safe, read_providers

GOOD = """
[providers.google]
issuer = "https://accounts.google.com"
client_ids = ["web", "ios"]
"""


def test_a_file_names_providers_their_issuers_and_our_apps(tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(GOOD)
    read_by(read_providers)(str(file))
    google = Provider("google", "https://accounts.google.com", ("web", "ios"))
    assert read_providers(str(file)) == {"google": google}
    assert read_providers("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "providers = 1",
        "providers = {google = 1}",
        GOOD.replace("providers", "provider"),
        GOOD + "\n[other]\n",
        GOOD.replace("google]", '"no name"]'),
        GOOD.replace("google]", f"{'g' * 33}]"),
        GOOD.replace("https:", "http:"),
        GOOD.replace("https:", "file:"),
        GOOD.replace("google.com", "google.com?x=1"),
        GOOD.replace('"https://accounts.google.com"', "7"),
        GOOD.replace('["web", "ios"]', '"web"'),
        GOOD.replace('["web", "ios"]', "[]"),
        GOOD.replace('["web", "ios"]', '[""]'),
        GOOD + 'audience = "x"',
        GOOD.replace("[providers", "providers"),
    ],
)
def test_a_file_that_says_something_else_keeps_the_service_from_starting(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(text)
    with pytest.raises(ValidationError):
        read_by(read_providers)(str(file))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        read_by(read_providers)(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://accounts.google.com", True),
        ("http://127.0.0.1:8080/realms/x", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
        ("http://accounts.google.com", False),
        ("http://localhost.example.com", False),
        ("https://user@accounts.google.com", False),
        ("https://", False),
        ("https://a:x", False),
        ("file:///etc/passwd", False),
        ("data:application/json,{}", False),
        ("", False),
    ],
)
def test_only_what_nobody_on_the_way_can_change_is_asked(url: str, safe: bool) -> None:
    assert is_safe(url) is safe


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/keys", "http://keys.example.org", "file:///x"])
def test_an_issuer_elsewhere_has_no_keys_on_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        issuers._get(url, "https://issuer.example.org", time.monotonic() + 1)
