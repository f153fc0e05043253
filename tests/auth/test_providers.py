"""Signing in with an ID token of an OpenID provider (docs/api.md, "Sign-in by provider")."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_encode

from shared.accounts.issuers import DEADLINE_S, issuer_of
from tests.api import PASSWORD, Api, Device, assert_problem, new_email
from tests.auth.providers import sign_in, signed_in, trusting
from tests.mails import forgot, mails, verify
from tests.servers.issuer import CLIENT_ID, DISCOVERY, KEYS, Issuer, answer

NEW = "a new " + PASSWORD


@pytest.fixture(scope="module")
def trusted() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def api(
    application: Any, trusted: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    with trusting(tmp_path_factory.mktemp("providers"), one=trusted) as api:
        yield api


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """One that nobody has asked for keys yet."""
    # Its port may have been that of an earlier one, whose keys are still known.
    issuer_of.cache_clear()
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def own(application: Any, issuer: Issuer, trusted: Issuer, tmp_path: Path) -> Iterator[Api]:
    with trusting(tmp_path, one=issuer, two=trusted) as api:
        yield api


# Accounts


def test_a_new_subject_gets_an_account_and_afterwards_is_known(api: Api, trusted: Issuer) -> None:
    email = new_email()
    first = sign_in(api, trusted.token("ann", email=email.upper()), name="Ann", deviceName="Phone")
    assert first.status_code == 201
    user = first.json["user"]
    assert (user["email"], user["name"], user["emailVerified"]) == (email, "Ann", True)
    assert user["hasPassword"] is False
    token = first.json["accessToken"]
    assert api.get("/users/me", token=token).json == user
    [session] = api.get("/auth/sessions", token=token).json["sessions"]
    assert session["deviceName"] == "Phone"
    # Their address may be another by now.
    again = sign_in(api, trusted.token("ann", email=new_email()), name="Other")
    assert again.status_code == 200
    assert again.json["user"] == user
    assert (
        api.post("/auth/refresh", {"refreshToken": again.json["refreshToken"]}).status_code == 200
    )


def test_the_same_token_twice_is_the_same_account(api: Api, trusted: Issuer) -> None:
    token = trusted.token(email=new_email())
    first, again = sign_in(api, token), sign_in(api, token)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json["user"] == again.json["user"]


def test_two_first_sign_ins_at_once_make_one_account(api: Api, trusted: Issuer) -> None:
    for _ in range(3):
        token = trusted.token(email=new_email())
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _, token=token: sign_in(api, token), range(4)))
        assert sorted(one.status_code for one in answers) == [200, 200, 200, 201]
        assert len({one.json["user"]["id"] for one in answers}) == 1


def test_a_verified_address_joins_the_account_that_has_verified_it(
    api: Api, trusted: Issuer
) -> None:
    device = api.register()
    verify(device)
    joined = sign_in(api, trusted.token("bea", email=device.email))
    assert joined.status_code == 200
    assert joined.json["user"]["id"] == device.user_id
    assert joined.json["user"]["hasPassword"] is True
    assert len(mails(device.email, "new way to sign in")) == 1
    api.login(device.email)
    listed = api.get("/users/me/identities", token=device.token).json["identities"]
    assert [(one["provider"], one["email"]) for one in listed] == [("one", device.email)]


@pytest.mark.parametrize("is_verified_by", ["nobody", "us", "provider"])
def test_whoever_registered_somebody_elses_address_first_does_not_get_their_data(
    api: Api, trusted: Issuer, is_verified_by: str
) -> None:
    device = api.register()
    if is_verified_by == "us":
        verify(device)
    token = trusted.token(email=device.email, email_verified=is_verified_by == "provider")
    assert_problem(sign_in(api, token), 409, "account_exists")
    assert api.get("/users/me/identities", token=device.token).json == {"identities": []}


def test_an_address_that_waits_to_be_somebodys_keeps_nobody_out(api: Api, trusted: Issuer) -> None:
    device, email = api.register(), new_email()
    body = {"email": email, "currentPassword": PASSWORD}
    assert api.patch("/users/me", body, token=device.token).status_code == 200
    assert sign_in(api, trusted.token(email=email)).status_code == 201


def test_a_reset_of_an_unverified_account_locks_out_who_opened_it(
    api: Api, trusted: Issuer
) -> None:
    victim = new_email()
    attack = trusted.token(email=victim, email_verified=False)
    assert sign_in(api, attack).status_code == 201
    code = forgot(api, victim)
    body = {"email": victim, "code": code, "newPassword": NEW}
    assert api.post("/auth/password/reset", body).status_code == 204
    assert_problem(sign_in(api, attack), 409, "account_exists")


def test_of_sign_ins_beside_such_a_reset_none_stays_in(api: Api, trusted: Issuer) -> None:
    for _ in range(3):
        victim = new_email()
        attack = trusted.token(email=victim, email_verified=False)
        assert sign_in(api, attack).status_code == 201
        body = {"email": victim, "code": forgot(api, victim), "newPassword": NEW}
        with ThreadPoolExecutor(7) as pool:
            before = [pool.submit(sign_in, api, attack) for _ in range(3)]
            done = pool.submit(api.post, "/auth/password/reset", body)
            beside = [pool.submit(sign_in, api, attack) for _ in range(3)]
        assert done.result().status_code == 204
        for one in (one.result() for one in before + beside):
            if one.status_code == 200:
                answer = api.get("/users/me", token=one.json["accessToken"])
                assert_problem(answer, 401, "unauthorized")
            else:
                assert_problem(one, 409, "account_exists")


def test_a_reset_gives_an_account_its_first_password_and_leaves_its_providers(
    api: Api, trusted: Issuer
) -> None:
    email = new_email()
    token = trusted.token(email=email)
    device = signed_in(api, token, email)
    login = {"email": email, "password": PASSWORD}
    assert_problem(api.post("/auth/login", login), 401, "invalid_credentials")
    body = {"email": email, "code": forgot(api, email), "newPassword": NEW}
    assert api.post("/auth/password/reset", body).status_code == 204
    assert_problem(api.get("/users/me", token=device.token), 401, "unauthorized")
    assert api.login(email, NEW).tokens["user"]["hasPassword"] is True
    assert signed_in(api, token).user_id == device.user_id


def test_a_disabled_account_stays_closed(api: Api, trusted: Issuer, admin: Device) -> None:
    known = trusted.token(email=new_email())
    device = signed_in(api, known)
    other = api.register()
    verify(other)
    for user_id in (device.user_id, other.user_id):
        path = f"/users/{user_id}"
        assert api.patch(path, {"isActive": False}, token=admin.token).status_code == 200
    assert_problem(sign_in(api, known), 403, "account_disabled")
    assert_problem(sign_in(api, trusted.token(email=other.email)), 403, "account_disabled")
    listed = api.get(f"/users/{other.user_id}/identities", token=admin.token)
    assert listed.json == {"identities": []}


def test_an_unverified_address_gets_a_code_and_is_let_in_once_verified_where_that_is_required(
    application: Any, trusted: Issuer, tmp_path: Path
) -> None:
    with trusting(tmp_path, {"REQUIRE_VERIFIED_EMAIL": "true"}, one=trusted) as api:
        email = new_email()
        token = trusted.token("carl", email=email, email_verified=False)
        device = signed_in(api, token, email)
        assert device.tokens["user"]["emailVerified"] is False
        assert_problem(sign_in(api, token), 403, "email_not_verified")
        # It vouches for another address.
        other = trusted.token("carl", email=new_email())
        assert_problem(sign_in(api, other), 403, "email_not_verified")
        vouched = sign_in(api, trusted.token("carl", email=email))
        assert vouched.status_code == 200
        assert vouched.json["user"]["emailVerified"] is True
        assert sign_in(api, token).status_code == 200
        dora = new_email()
        token = trusted.token(email=dora, email_verified=False)
        verify(signed_in(api, token, dora))
        assert sign_in(api, token).status_code == 200


@pytest.mark.parametrize("verified", [True, "true", False, "false", None, 1, "1", ["true"]])
def test_email_verified_is_true_or_the_text_true(api: Api, trusted: Issuer, verified: Any) -> None:
    user = signed_in(api, trusted.token(email=new_email(), email_verified=verified)).tokens["user"]
    assert user["emailVerified"] is (verified is True or verified == "true")


@pytest.mark.parametrize("given", ["ri\u212ae@example.org", "rike@\u212an.example.org"])
def test_an_address_that_only_looks_like_an_accounts_in_lower_case_is_none(
    api: Api, trusted: Issuer, given: str
) -> None:
    name = new_email().partition("@")[0]
    given = name + given
    device = api.register(given.lower())
    verify(device)
    refused = sign_in(api, trusted.token(email=given))
    assert assert_problem(refused, 422, "invalid_request")["errorCodes"] == {
        "idToken": ["no_email"]
    }
    assert api.get("/users/me/identities", token=device.token).json == {"identities": []}


@pytest.mark.parametrize("email", [None, "", "no address", 7, "a" * 250 + "@example.org"])
def test_a_new_subject_without_an_address_is_422(api: Api, trusted: Issuer, email: Any) -> None:
    refused = sign_in(api, trusted.token(email=email))
    assert assert_problem(refused, 422, "invalid_request")["errors"].keys() == {"idToken"}


def test_a_known_subject_needs_no_address(api: Api, trusted: Issuer) -> None:
    device = signed_in(api, trusted.token("dan", email=new_email()))
    assert signed_in(api, trusted.token("dan")).user_id == device.user_id


# Tokens


def test_a_token_of_another_is_refused(api: Api, trusted: Issuer, issuer: Issuer) -> None:
    email, now = new_email(), int(time.time())
    kid = next(iter(trusted.keys))
    public = trusted.keys[kid].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    good = trusted.token(email=email)
    header, payload, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    other = base64url_encode(json.dumps(claims | {"sub": "x"}).encode()).decode()
    signer = {"key": rsa.generate_private_key(65537, 2048), "algorithm": "RS256"}
    tokens = {
        "another app": trusted.token(email=email, aud="another.app"),
        "no app": trusted.token(email=email, aud=None),
        "another issuer": trusted.token(email=email, iss=issuer.url),
        "no issuer": trusted.token(email=email, iss=None),
        "expired": trusted.token(email=email, iat=now - 7200, exp=now - 61),
        "never expires": trusted.token(email=email, exp=None),
        "from the future": trusted.token(email=email, iat=now + 90),
        "no time": trusted.token(email=email, iat=None),
        "not yet": trusted.token(email=email, nbf=now + 90),
        "odd time": trusted.token(email=email, exp=float("inf")),
        "long ago": trusted.token(email=email, iat=-(10**400)),
        "no subject": trusted.token(email=email, sub=""),
        "long subject": trusted.token("s" * 256, email=email),
        "half a character": trusted.token("\ud800", email=email),
        "half a nonce": trusted.token(email=email, nonce="\ud800"),
        "a number": trusted.token(email=email, sub=7),
        "no signature": jwt.encode(claims, None, "none", headers={"kid": kid}),
        "cut": f"{header}.{payload}.",
        "changed": f"{header}.{other}.{signature}",
        "shared secret": forged(claims, pem, kid),
        "shared secret in DER": forged(claims, der, kid),
        "unknown key": trusted.token(email=email, headers={"kid": "unknown"}, **signer),
        "key of a stranger": trusted.token(email=email, headers={"kid": kid}, **signer),
        "no key named": trusted.token(email=email, headers={"kid": None}),
        "key of another issuer": issuer.token(email=email, iss=trusted.url),
        "unknown extension": trusted.token(email=email, headers={"crit": ["exp2"], "exp2": 1}),
        "no token": "x",
        "deep": base64url_encode(b"[" * 10_000).decode() + ".e30.",
        "three dots": "...",
    }
    for what, token in tokens.items():
        refused = sign_in(api, token)
        assert refused.status_code == 401, what
        assert_problem(refused, 401, "invalid_id_token")
    assert trusted.asked.count(KEYS) <= 3
    assert sign_in(api, good).status_code == 201


def forged(claims: dict[str, Any], secret: bytes, kid: str, algorithm: str = "HS256") -> str:
    """A token whose shared secret is the issuer's public key. PyJWT would not sign that."""
    parts = ({"alg": algorithm, "typ": "JWT", "kid": kid}, claims)
    signed = ".".join(base64url_encode(json.dumps(part).encode()).decode() for part in parts)
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url_encode(mac).decode()}"


def test_clocks_may_differ_by_a_minute(api: Api, trusted: Issuer) -> None:
    now, email = int(time.time()), new_email()
    for times in ({"iat": now + 45, "nbf": now + 45}, {"iat": now - 3600, "exp": now - 45}):
        assert sign_in(api, trusted.token("eva", email=email, **times)).status_code < 300


def test_a_token_may_be_for_several_apps(api: Api, trusted: Issuer) -> None:
    token = trusted.token(email=new_email(), aud=["another.app", CLIENT_ID])
    assert sign_in(api, token).status_code == 201


@pytest.mark.parametrize(
    ("claimed", "sent", "fits"),
    [
        (None, None, True),
        ("n-0S6", "n-0S6", True),
        (hashlib.sha256(b"n-0S6").hexdigest(), "n-0S6", True),
        ("n-0S6", hashlib.sha256(b"n-0S6").hexdigest(), False),
        ("n-0S6", "another", False),
        ("n-0S6", None, False),
        (None, "n-0S6", False),
        ("", None, False),
        (None, "", False),
        (7, "7", False),
    ],
)
def test_a_nonce_is_in_both_as_sent_or_hashed_or_in_neither(
    api: Api, trusted: Issuer, claimed: Any, sent: str | None, fits: bool
) -> None:
    answered = sign_in(api, trusted.token(email=new_email(), nonce=claimed), nonce=sent)
    if fits:
        assert answered.status_code == 201
    else:
        assert_problem(answered, 401, "invalid_id_token")


def test_what_is_too_long_or_unknown_is_422_before_anything_is_done(
    api: Api, trusted: Issuer
) -> None:
    token, asked = trusted.token(email=new_email()), len(trusted.asked)
    for body, path, word in (
        ({"provider": "nobody"}, "provider", "unknown_provider"),
        ({"provider": "x" * 33}, "provider", "too_long"),
        ({"idToken": "x" * 16_385}, "idToken", "too_long"),
        ({"idToken": None}, "idToken", "invalid"),
        ({"nonce": "x" * 256}, "nonce", "too_long"),
    ):
        refused = api.post("/auth/oidc", {"provider": "one", "idToken": token, **body})
        assert assert_problem(refused, 422, "invalid_request")["errorCodes"] == {path: [word]}
    for missing in ("provider", "idToken"):
        body = {"provider": "one", "idToken": token}
        del body[missing]
        refused = api.post("/auth/oidc", body)
        assert assert_problem(refused, 422, "invalid_request")["errorCodes"] == {
            missing: ["required"]
        }
    assert len(trusted.asked) == asked


def test_the_methods_name_the_providers(own: Api, issuer: Issuer, trusted: Issuer) -> None:
    assert own.get("/auth/methods").json == {
        "password": True,
        "mail": True,
        "providers": [
            {"name": name, "issuer": one.url, "clientIds": [CLIENT_ID, "other.app"]}
            for name, one in (("one", issuer), ("two", trusted))
        ],
    }


# Keys


def test_keys_are_asked_for_once_and_a_new_key_is_found(own: Api, issuer: Issuer) -> None:
    for _ in range(3):
        assert sign_in(own, issuer.token(email=new_email())).status_code == 201
    assert issuer.asked == [DISCOVERY, KEYS]
    old = issuer.token(email=new_email())
    issuer.rotate()
    assert sign_in(own, issuer.token(email=new_email())).status_code == 201
    assert sign_in(own, old).status_code == 201
    assert issuer.asked == [DISCOVERY, KEYS] * 2


def test_unknown_keys_make_us_ask_once_in_ten_seconds(own: Api, issuer: Issuer) -> None:
    sign_in(own, issuer.token(email=new_email()))
    for kid in ("a", "b", "c"):
        refused = sign_in(own, issuer.token(email=new_email(), headers={"kid": kid}))
        assert_problem(refused, 401, "invalid_id_token")
    assert issuer.asked == [DISCOVERY, KEYS] * 2
    issuer.rotate()
    token = issuer.token(email=new_email())
    assert_problem(sign_in(own, token), 401, "invalid_id_token")
    elapse(issuer)
    assert sign_in(own, token).status_code == 201


def elapse(issuer: Issuer) -> None:
    """Let the pause end that follows an asking."""
    issuer_of(issuer.url).next_at = 0


def test_a_withdrawn_key_is_refused_when_keys_were_asked_for_again(
    own: Api, issuer: Issuer
) -> None:
    old = issuer.token(email=new_email())
    assert sign_in(own, old).status_code == 201
    issuer.rotate(keep=False)
    assert sign_in(own, issuer.token(email=new_email())).status_code == 201
    assert_problem(sign_in(own, old), 401, "invalid_id_token")


def test_many_first_sign_ins_at_once_wait_for_one_asking(own: Api, issuer: Issuer) -> None:
    token = issuer.token(email=new_email())
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: sign_in(own, token).status_code, range(10)))
    assert sorted(answers) == [200] * 9 + [201]
    assert issuer.asked == [DISCOVERY, KEYS]


def test_keys_of_an_hour_ago_are_asked_for_behind_the_back_of_a_request(
    own: Api, issuer: Issuer
) -> None:
    token = issuer.token(email=new_email())
    assert sign_in(own, token).status_code == 201
    elapse(issuer)
    known = issuer_of(issuer.url)
    known.fetched_at -= 3601
    issuer.rotate(keep=False)
    assert sign_in(own, token).status_code == 200
    assert known.asking is not None
    known.asking.result(10)
    assert_problem(sign_in(own, token), 401, "invalid_id_token")


def refuse(request: BaseHTTPRequestHandler) -> None:
    answer(request, b"{}", 500)


def break_off(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def say_nonsense(request: BaseHTTPRequestHandler) -> None:
    answer(request, b"[" * 100_000)


def say_nothing_usable(request: BaseHTTPRequestHandler) -> None:
    answer(request, b'{"keys": []}')


def lead_elsewhere(request: BaseHTTPRequestHandler) -> None:
    answer(request, b"", 302, Location="/elsewhere")


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
@pytest.mark.parametrize(
    "instead",
    [refuse, break_off, say_nonsense, say_nothing_usable, lead_elsewhere],
)
def test_a_provider_that_is_down_is_503_for_new_keys_and_nothing_else(
    own: Api, issuer: Issuer, trusted: Issuer, path: str, instead: Any
) -> None:
    issuer.instead[path] = instead
    email = new_email()
    for _ in range(3):
        refused = sign_in(own, issuer.token("fay", email=email))
        assert_problem(refused, 503, "unavailable")
        assert refused.headers["Retry-After"] == "10"
    # Once in ten seconds, too.
    assert issuer.asked.count(DISCOVERY) == 1
    assert "/elsewhere" not in issuer.asked
    assert sign_in(own, trusted.token(email=new_email()), "two").status_code == 201
    issuer.instead.clear()
    elapse(issuer)
    assert sign_in(own, issuer.token("fay", email=email)).status_code == 201
    issuer.instead[path] = instead
    assert sign_in(own, issuer.token("fay", email=email)).status_code == 200
    issuer.rotate()
    refused = sign_in(own, issuer.token("fay", email=email))
    assert_problem(refused, 503, "unavailable")


@pytest.mark.parametrize("instead", [refuse, lead_elsewhere])
def test_no_connection_to_a_provider_outlives_its_answer(
    own: Api, issuer: Issuer, instead: Any
) -> None:
    issuer.instead[KEYS] = instead
    assert_problem(sign_in(own, issuer.token(email=new_email())), 503, "unavailable")
    asking = issuer_of(issuer.url).asking
    assert asking is not None
    error = asking.exception()
    assert isinstance(error, HTTPError)
    assert error.fp is None or error.fp.closed


def test_a_provider_that_hangs_holds_two_requests_for_some_seconds_and_no_others(
    own: Api, issuer: Issuer, trusted: Issuer
) -> None:
    known = issuer.token("gil", email=new_email())
    assert sign_in(own, known).status_code == 201
    over, hangs = threading.Event(), threading.Event()

    def hang(_request: BaseHTTPRequestHandler) -> None:
        hangs.set()
        over.wait(30)

    issuer.instead[KEYS] = hang
    issuer.rotate()
    token = issuer.token(email=new_email())
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        held = [pool.submit(sign_in, own, token) for _ in range(2)]
        assert hangs.wait(10)
        # What is known goes on.
        assert sign_in(own, known).status_code == 200
        while issuer_of(issuer.url).places._value:
            time.sleep(0.01)
        # Whoever comes while two wait is not held at all.
        assert_problem(sign_in(own, token), 503, "unavailable")
        assert sign_in(own, known).status_code == 200
        assert sign_in(own, trusted.token(email=new_email()), "two").status_code == 201
        assert not any(one.done() for one in held)
        for one in held:
            assert_problem(one.result(), 503, "unavailable")
    assert time.monotonic() - began < 25
    over.set()


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_an_answer_that_is_too_long_is_not_read(own: Api, issuer: Issuer, path: str) -> None:
    right = issuer.described if path == DISCOVERY else {"keys": issuer.published()}
    body = b" " * 300_000 + json.dumps(right).encode()
    issuer.instead[path] = lambda request: answer(request, body)
    assert_problem(sign_in(own, issuer.token(email=new_email())), 503, "unavailable")


def test_an_answer_that_never_ends_is_cut_off(own: Api, issuer: Issuer) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b" ")
                time.sleep(0.2)
        except OSError:
            pass

    issuer.instead[KEYS] = drip
    began = time.monotonic()
    assert_problem(sign_in(own, issuer.token(email=new_email())), 503, "unavailable")
    assert time.monotonic() - began < DEADLINE_S + 15
    asking = issuer_of(issuer.url).asking
    assert asking is not None
    assert asking.exception(10) is not None


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://issuer.example.org"},
        {"jwks_uri": "http://keys.example.org/keys"},
        {"jwks_uri": "file"},
        {"jwks_uri": 7},
    ],
)
def test_keys_come_from_where_the_issuer_says_in_safety(
    own: Api, issuer: Issuer, tmp_path: Path, described: dict[str, Any]
) -> None:
    kept = tmp_path / "keys"
    kept.write_text(json.dumps({"keys": issuer.published()}))
    issuer.described |= described
    if described.get("jwks_uri") == "file":
        issuer.described["jwks_uri"] = kept.as_uri()
    assert_problem(sign_in(own, issuer.token(email=new_email())), 503, "unavailable")
    assert issuer.asked == [DISCOVERY]


def test_a_shared_secret_among_the_keys_is_no_key(own: Api, issuer: Issuer) -> None:
    secret = b"s" * 32
    shared = {"kty": "oct", "k": base64url_encode(secret).decode(), "kid": "s", "alg": "HS256"}
    keys = [*issuer.published(), shared]
    issuer.instead[KEYS] = lambda request: answer(request, json.dumps({"keys": keys}).encode())
    claims = jwt.decode(issuer.token(email=new_email()), options={"verify_signature": False})
    assert_problem(sign_in(own, forged(claims, secret, "s")), 401, "invalid_id_token")
    disguised = forged(claims, secret, "s", algorithm="RS256")
    assert_problem(sign_in(own, disguised), 401, "invalid_id_token")
