"""Signing keys: replaced with nobody logged out, and held by the auth service alone."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask_jwt_extended import JWTManager

import services.auth
import services.sync
import services.users
from deploy.keys import PRIVATE_KEY, PUBLIC_KEYS
from services import embedded
from tests.api import Api, assert_problem
from tests.conftest import ROOT


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    rotate(tmp_path)
    return tmp_path


def rotate(directory: Path) -> None:
    command = [sys.executable, "-m", "deploy.keys", directory]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


def start(keys: Path) -> Api:
    settings = {
        "JWT_PRIVATE_KEY_FILE": keys / PRIVATE_KEY,
        "JWT_PUBLIC_KEYS_FILE": keys / PUBLIC_KEYS,
    }
    return Api(embedded.create_app(**settings))


def kid(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


def test_a_new_key_signs_and_the_old_one_verifies_until_it_is_removed(
    application: object, keys: Path
) -> None:
    before = start(keys)
    device = before.register()
    old_public = (keys / PUBLIC_KEYS).read_text()

    rotate(keys)
    after = start(keys)
    assert len(after.get("/auth/jwks.json").json["keys"]) == 2
    newcomer = after.login(device.email)
    assert kid(newcomer.token) != kid(device.token)
    for running in (before, after):
        # The instances that were not restarted read the new key by themselves.
        for token in (device.token, newcomer.token):
            assert running.get("/users/me", token=token).status_code == 200
    assert after.post("/auth/refresh", token=device.tokens["refreshToken"]).status_code == 200

    both = (keys / PUBLIC_KEYS).read_text()
    (keys / PUBLIC_KEYS).write_text(both.replace(old_public, ""))
    for running in (before, after):
        assert_problem(running.get("/users/me", token=device.token), 401, "unauthorized")
        assert running.get("/users/me", token=newcomer.token).status_code == 200


def test_a_repeat_across_a_rotation_gets_a_token_that_works(
    application: object, keys: Path
) -> None:
    before = start(keys)
    device = before.register()
    before.post("/auth/refresh", token=device.tokens["refreshToken"])
    rotate(keys)
    after = start(keys)
    again = after.post("/auth/refresh", token=device.tokens["refreshToken"]).json
    assert after.post("/auth/refresh", token=again["refreshToken"]).status_code == 200


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_removed_keys_tokens_do_not_come_back_by_a_race(
    application: object, keys: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    running = start(keys)
    device = running.register()
    verify = JWTManager._decode_jwt_from_config

    def overtaken(*arguments: Any) -> Any:
        """Replace the file, and let another request read it, while this one verifies."""
        monkeypatch.undo()
        claims = verify(*arguments) if moment == "before" else None
        rotate(keys / "other")
        (keys / "other" / PUBLIC_KEYS).replace(keys / PUBLIC_KEYS)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(running.get, "/users/me", token=device.token).result()
        assert_problem(other, 401, "unauthorized")
        return claims or verify(*arguments)

    monkeypatch.setattr(JWTManager, "_decode_jwt_from_config", overtaken)
    running.get("/users/me", token=device.token)
    for path in ("/users/me", "/auth/sessions", "/sync"):
        assert_problem(running.get(path, token=device.token), 401, "unauthorized")


def test_users_and_sync_run_without_the_private_key(
    application: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JWT_PRIVATE_KEY_FILE")
    for service in (services.users, services.sync):
        app = service.create_app()
        assert "JWT_PRIVATE_KEY_FILE" not in app.config
        assert "PrivateKey" not in repr(app.extensions)


def test_a_pair_that_does_not_fit_stops_the_service_at_start(
    application: object, keys: Path, tmp_path: Path
) -> None:
    rotate(tmp_path / "other")
    with pytest.raises(ValueError, match="lacks the public key"):
        services.auth.create_app(
            JWT_PRIVATE_KEY_FILE=keys / PRIVATE_KEY,
            JWT_PUBLIC_KEYS_FILE=tmp_path / "other" / PUBLIC_KEYS,
        )


def test_a_public_keys_file_that_is_half_written_keeps_the_known_keys(
    application: object, keys: Path
) -> None:
    running = start(keys)
    device = running.register()
    (keys / PUBLIC_KEYS).write_text("-----BEGIN PUBLIC KEY-----\nMCow")
    assert running.get("/users/me", token=device.token).status_code == 200
