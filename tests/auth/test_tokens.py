"""What is no token of ours is refused, everywhere (docs/api.md, "Authentication")."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.api import Api, Device, assert_problem
from tests.clock import Clock

GUARDED = ("/users/me", "/sync", "/sync/pull")


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer \x7f", "ok"],
)
def test_a_missing_or_malformed_token_is_401(api: Api, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    assert_problem(api.get(path, headers=headers), 401, "unauthorized")


@pytest.mark.parametrize("path", GUARDED)
def test_a_refresh_token_opens_nothing(device: Device, path: str) -> None:
    refused = device.api.get(path, token=device.tokens["refreshToken"])
    assert_problem(refused, 401, "unauthorized")


def test_an_access_token_refreshes_nothing(device: Device) -> None:
    assert_problem(device.api.post("/auth/refresh", token=device.token), 401, "unauthorized")


def forge(device: Device, key: Any, kid: object = None, **claims: Any) -> str:
    """The device's access token with other claims, signed with `key`."""
    own = jwt.decode(device.token, options={"verify_signature": False}) | claims
    header = jwt.get_unverified_header(device.token)
    return jwt.encode(
        {name: value for name, value in own.items() if value is not ...},
        key,
        algorithm="EdDSA",
        headers={"kid": header["kid"] if kid is None else kid},
    )


@pytest.fixture
def private_key(environ: dict[str, str]) -> Any:
    return load_pem_private_key(Path(environ["JWT_PRIVATE_KEY_FILE"]).read_bytes(), None)


def test_the_forger_of_these_tests_can_make_a_good_token(device: Device, private_key: Any) -> None:
    assert device.api.get("/users/me", token=forge(device, private_key)).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "another"},
        {"iss": ...},
        {"aud": "another"},
        {"aud": ...},
        {"type": "refresh"},
        {"type": "other"},
        {"sid": ...},
        {"sid": 7},
        {"sid": "unknown"},
        {"sub": "unknown"},
        {"sub": ...},
        {"exp": "soon"},
        # Also in one that a clock set back makes come from the future.
        {"nbf": int(time.time()) + 3600, "aud": "another"},
        {"nbf": int(time.time()) + 3600, "type": "refresh"},
        {"nbf": int(time.time()) + 3600, "sid": ...},
    ],
    ids=str,
)
def test_one_wrong_claim_is_401(device: Device, private_key: Any, claims: dict[str, Any]) -> None:
    token = forge(device, private_key, **claims)
    assert_problem(device.api.get("/users/me", token=token), 401, "unauthorized")


def test_an_expired_token_is_told_apart(device: Device, private_key: Any) -> None:
    token = forge(device, private_key, exp=int(time.time()) - 60)
    assert_problem(device.api.get("/users/me", token=token), 401, "token_expired")


def test_another_key_is_401_under_any_kid(device: Device) -> None:
    foreign = Ed25519PrivateKey.generate()
    for kid in (None, "unknown"):
        token = forge(device, foreign, kid)
        assert_problem(device.api.get("/users/me", token=token), 401, "unauthorized")


def test_no_signature_and_a_signature_by_the_public_key_are_401(
    device: Device, environ: dict[str, str]
) -> None:
    claims = jwt.decode(device.token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(device.token)["kid"]
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": kid})
    assert_problem(device.api.get("/users/me", token=unsigned), 401, "unauthorized")

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    public = Path(environ["JWT_PUBLIC_KEYS_FILE"]).read_bytes()
    body = part({"alg": "HS256", "typ": "JWT", "kid": kid}) + b"." + part(claims)
    signature = base64.urlsafe_b64encode(hmac.new(public, body, hashlib.sha256).digest())
    confused = (body + b"." + signature.rstrip(b"=")).decode()
    assert_problem(device.api.get("/users/me", token=confused), 401, "unauthorized")


def test_a_clock_that_is_set_back_logs_nobody_out(api: Api, clock: Clock) -> None:
    clock.advance(seconds=3600)
    device = api.register()
    clock.reset()
    for path in ("/users/me", "/sync", "/auth/sessions"):
        assert api.get(path, token=device.token).status_code == 200
    answer = api.post("/auth/refresh", token=device.tokens["refreshToken"])
    assert answer.status_code == 200
    assert api.get("/sync", token=answer.json["accessToken"]).status_code == 200
    head, payload, signature = device.token.split(".")
    for forged in (f"{head}.{payload}.{signature[::-1]}", f"{head}.{payload}."):
        assert_problem(api.get("/sync", token=forged), 401, "unauthorized")
