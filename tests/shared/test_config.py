"""Settings: documented, used, and refused all at once when they are wrong."""

import re
from pathlib import Path

import pytest
from environs import EnvValidationError

import services.auth
from tests.conftest import ROOT

READ = re.compile(r'env\.\w+\(\s*"([A-Z_]+)"')
#: Read by flask-sqlalchemy's neighbours or derived, never by this name outside a config.py.
SOURCES = [*ROOT.glob("shared/**/*.py"), *ROOT.glob("services/**/*.py")]


def settings_read() -> list[str]:
    return [
        name
        for path in SOURCES
        if path.name == "config.py"
        for name in READ.findall(path.read_text())
    ]


def test_each_setting_is_read_in_one_place_and_documented_with_its_default() -> None:
    documented = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(settings_read()) == sorted(documented)


def test_each_setting_is_used() -> None:
    code = "".join(path.read_text() for path in SOURCES if path.name != "config.py")
    assert [name for name in settings_read() if f'config["{name}"]' not in code] == []


def test_one_message_names_every_missing_or_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in settings_read():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REFRESH_TOKEN_SECONDS", "a week")
    monkeypatch.setenv("TRUSTED_PROXIES", "-1")
    with pytest.raises(EnvValidationError) as refused:
        services.auth.create_app()
    assert refused.value.error_messages.keys() == {
        "DATABASE_URL",
        "JWT_PUBLIC_KEYS_FILE",
        "JWT_PRIVATE_KEY_FILE",
        "REFRESH_TOKEN_SECONDS",
        "TRUSTED_PROXIES",
    }
