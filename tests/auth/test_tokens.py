"""What is no token of ours is refused, everywhere (docs/api.md, "Authentication")."""

import base64
import hashlib
import hmac
import json
import string
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import services.sync
from shared.auth import tokens
from tests.api import Api, Device, assert_problem
from tests.clock import Clock
from tests.statements import statements

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


def encoded(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def part(value: object) -> bytes:
    return encoded(json.dumps(value).encode())


def forge(
    device: Device, key: Any, kid: object = None, *, name: str = "accessToken", **claims: Any
) -> str:
    """The device's token with other claims, signed with `key`."""
    head, body, _ = device.tokens[name].split(".")
    own = json.loads(base64.urlsafe_b64decode(body + "==")) | claims
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    header |= {} if kid is None else {"kid": kid}
    text = part(header) + b"." + part({k: v for k, v in own.items() if v is not ...})
    return (text + b"." + encoded(key.sign(text))).decode()


@pytest.fixture
def private_key(environ: dict[str, str]) -> Any:
    return load_pem_private_key(Path(environ["JWT_PRIVATE_KEY_FILE"]).read_bytes(), None)


def test_the_forger_of_these_tests_can_make_a_good_token(device: Device, private_key: Any) -> None:
    assert device.api.get("/users/me", token=forge(device, private_key)).status_code == 200


NOW = int(time.time())
ODD = [None, "", "x" * 5000, "é", "a\n", "\ud800", "\0", 7, -1, 1.5, True, [], ["x"], {}, [[[]]]]
ODD_TIMES = [
    *(odd for odd in ODD if type(odd) is not int),
    -1,
    "soon",
    str(NOW + 900),
    -(10**9),
    10**18,
    10**400,
    NOW + 900.5,
    float("inf"),
    float("nan"),
    [NOW + 900],
]
#: Claims that are missing, or of another kind than those we mint, in tokens that we have signed.
BAD_CLAIMS = [
    *({name: ...} for name in ("sub", "sid", "jti", "type", "iss", "aud", "iat", "nbf", "exp")),
    *({name: odd} for name in ("sub", "sid", "jti", "type", "aud") for odd in ODD),
    *({name: odd} for name in ("iat", "nbf", "exp") for odd in ODD_TIMES),
    *({"iss": odd} for odd in [*ODD, "another", ["watermelondb-backend"]]),
    {"aud": "another"},
    {"aud": ["watermelondb-backend"]},
    {"aud": ["watermelondb-backend", "another"]},
    {"type": "other"},
    {"sid": "unknown"},
    {"sub": "unknown"},
    {"iat": NOW + 10**9},
    {"nbf": NOW + 10**9},
    # Also in one that a clock set back makes come from the future.
    {"nbf": NOW + 3600, "aud": "another"},
    {"nbf": NOW + 3600, "sid": ...},
    {"iat": NOW + 3600, "exp": "soon"},
]


#: What a store is asked for.
ASKED_FOR = {"sub", "sid", "jti"}


# By their names: each worker must find the same tests, whatever the time.
@pytest.mark.any_backend
@pytest.mark.parametrize(
    "claims", [c for c in BAD_CLAIMS if not c.keys() & ASKED_FOR], ids="-".join
)
def test_one_odd_claim_is_401_at_every_service_before_any_store_is_asked(
    device: Device, private_key: Any, claims: dict[str, Any]
) -> None:
    with statements() as counted:
        refuse_everywhere(device, private_key, claims)
    assert not counted
    # None of them has ended the session.
    assert device.api.get("/users/me", token=device.token).status_code == 200


@pytest.mark.parametrize("claims", [c for c in BAD_CLAIMS if c.keys() & ASKED_FOR], ids="-".join)
def test_one_odd_name_is_401_at_every_service(
    device: Device, private_key: Any, claims: dict[str, Any]
) -> None:
    refuse_everywhere(device, private_key, claims)
    assert device.api.get("/users/me", token=device.token).status_code == 200


def refuse_everywhere(device: Device, private_key: Any, claims: dict[str, Any]) -> None:
    access = forge(device, private_key, **claims)
    for path in GUARDED:
        assert_problem(device.api.get(path, token=access), 401, "unauthorized")
    refresh = forge(device, private_key, name="refreshToken", **claims)
    for path in ("/auth/refresh", "/auth/logout"):
        for sent in ({"token": refresh}, {"body": {"refreshToken": refresh}}):
            answer = device.api.post(path, **sent)
            if len(refresh) > 4096 and "body" in sent:
                assert_problem(answer, 422, "invalid_request")
            elif path == "/auth/logout" and "unknown" in claims.values():
                # A token of ours, whose session has ended: as far as it can be told.
                assert answer.status_code == 204
            else:
                assert_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize("other", ["access", "refresh"])
def test_a_token_of_the_other_type_is_401(device: Device, private_key: Any, other: str) -> None:
    if other == "refresh":
        for late in ({}, {"nbf": NOW + 3600, "exp": NOW + 7200}):
            token = forge(device, private_key, type="refresh", **late)
            assert_problem(device.api.get("/users/me", token=token), 401, "unauthorized")
    else:
        token = forge(device, private_key, name="refreshToken", type="access")
        assert_problem(device.api.post("/auth/refresh", token=token), 401, "unauthorized")


@pytest.mark.parametrize(
    "header",
    [
        *({"kid": odd} for odd in [*ODD, ...]),
        {"crit": ["exp"]},
        {"crit": ["unknown"], "unknown": 1},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": ["EdDSA"]},
        {"alg": None},
        {"alg": ...},
        {"typ": [[]], "alg": {}},
    ],
    ids=lambda header: str(header)[:40],
)
def test_an_odd_header_is_401(device: Device, private_key: Any, header: dict[str, Any]) -> None:
    for name, calls in (
        ("accessToken", [("GET", path) for path in GUARDED]),
        ("refreshToken", [("POST", "/auth/refresh"), ("POST", "/auth/logout")]),
    ):
        head, body, _ = device.tokens[name].split(".")
        own = json.loads(base64.urlsafe_b64decode(head + "=="))
        changed = {k: v for k, v in (own | header).items() if v is not ...}
        text = part(changed) + b"." + body.encode()
        token = (text + b"." + encoded(private_key.sign(text))).decode()
        for method, path in calls:
            assert_problem(device.api.call(method, path, token=token), 401, "unauthorized")


@pytest.mark.parametrize("payload", [b"", b"[]", b"7", b"null", b"{", b"\xff", b"[" * 5000, b"NaN"])
def test_an_odd_payload_is_401(device: Device, private_key: Any, payload: bytes) -> None:
    text = device.token.split(".")[0].encode() + b"." + encoded(payload)
    token = (text + b"." + encoded(private_key.sign(text))).decode()
    for path in GUARDED:
        assert_problem(device.api.get(path, token=token), 401, "unauthorized")
    assert_problem(device.api.post("/auth/refresh", token=token), 401, "unauthorized")


@pytest.mark.parametrize(
    "spelling",
    [
        "Bearer  {}",
        "Bearer\t{}",
        "Bearer {}\t",
        "Bearer {}==",
        "Bearer {}=",
        "Bearer {} x",
        " {}",
        "Bearer, {}",
        "Bearer {},",
        "Bearer {}.",
        "Bearer .{}",
        'Bearer "{}"',
        "Bearer token={}",
    ],
)
def test_a_token_has_one_spelling(device: Device, spelling: str) -> None:
    for path in GUARDED:
        headers = {"Authorization": spelling.format(device.token)}
        assert_problem(device.api.get(path, headers=headers), 401, "unauthorized")


def test_a_signature_has_one_spelling(device: Device) -> None:
    # Its last character has four bits to spare, which a lenient decoder ignores.
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    assert device.api.get("/users/me", token=device.token).status_code == 200
    for last in set(alphabet) - {device.token[-1]}:
        token = device.token[:-1] + last
        assert_problem(device.api.get("/users/me", token=token), 401, "unauthorized")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(device: Device, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {device.token}"}
    assert device.api.get("/users/me", headers=headers).status_code == 200


def test_the_user_is_the_first_claim_and_the_json_compact(device: Device) -> None:
    for name in ("accessToken", "refreshToken"):
        payload = base64.urlsafe_b64decode(device.tokens[name].split(".")[1] + "==")
        assert payload.startswith(f'{{"sub":"{device.user_id}",'.encode())
        assert b" " not in payload
        claims = {"iss", "aud", "sub", "sid", "jti", "type", "iat", "nbf", "exp"}
        assert json.loads(payload).keys() == claims


def test_an_expired_token_is_told_apart(device: Device, private_key: Any) -> None:
    token = forge(device, private_key, exp=int(time.time()) - 60)
    assert_problem(device.api.get("/users/me", token=token), 401, "token_expired")


def test_a_verified_token_is_remembered_until_it_expires(device: Device, clock: Clock) -> None:
    app = services.sync.create_app()
    with app.app_context():
        assert tokens.remembered(device.token) is None
        claims = tokens.verify(device.token, ("access",))
        assert tokens.remembered(device.token) == claims
        clock.advance(seconds=app.config["ACCESS_TOKEN_SECONDS"] + tokens.LEEWAY_SECONDS + 1)
        assert tokens.remembered(device.token) is None


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
