"""Settings: documented, used, and refused all at once when they are wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import services.auth
from tests.conftest import ROOT

READ = re.compile(r'env\.\w+\(\s*"([A-Z_]+)"')
#: Read by flask-sqlalchemy's neighbors or derived, never by this name outside a config.py.
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
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in settings_read():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "the one over there")
    monkeypatch.setenv("JWT_PUBLIC_KEYS_FILE", str(tmp_path / "nothing.pem"))
    monkeypatch.setenv("REDIS_URL", "http://127.0.0.1")
    monkeypatch.setenv("REFRESH_TOKEN_SECONDS", "a week")
    monkeypatch.setenv("TRUSTED_PROXIES", "-1")
    with pytest.raises(SystemExit) as refused:
        services.auth.create_app()
    assert refused.value.code == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert set(re.findall(r"([A-Z_]+): ", said)) == {
        "DATABASE_URL",
        "JWT_PUBLIC_KEYS_FILE",
        "JWT_PRIVATE_KEY_FILE",
        "REDIS_URL",
        "REFRESH_TOKEN_SECONDS",
        "TRUSTED_PROXIES",
    }


def test_a_service_with_wrong_settings_ends_and_says_why(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "gunicorn", "--config=deploy/gunicorn.conf.py"),
            *("--bind=127.0.0.1:0", "services.sync:create_app()"),
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 3
    assert "The sync service cannot start. DATABASE_URL:" in done.stderr
    assert "Traceback" not in done.stderr
