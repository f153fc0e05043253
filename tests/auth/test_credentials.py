"""Register and login (docs/api.md, "Auth service")."""

import json
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest

from tests.api import PASSWORD, Api, assert_problem, new_email


def test_register_answers_with_tokens_and_the_user(api: Api) -> None:
    email = new_email()
    answer = api.post(
        "/auth/register",
        {"email": email.upper(), "password": PASSWORD, "name": "Ann 🍉", "deviceName": "Phone"},
    )
    assert answer.status_code == 201
    body = answer.json
    assert body.keys() == {"accessToken", "refreshToken", "tokenType", "expiresIn", "user"}
    assert (body["tokenType"], body["expiresIn"]) == ("Bearer", 900)
    user = body["user"]
    members = {"id", "email", "name", "role", "isActive", "createdAt", "updatedAt"}
    assert user.keys() == members | {"emailVerified", "pendingEmail", "hasPassword"}
    assert user["email"] == email
    assert user["name"] == "Ann 🍉"
    assert user["role"] == "user"
    assert user["isActive"] is True


def test_tokens_carry_the_claims_of_the_contract(api: Api) -> None:
    tokens = api.register().tokens
    keys = api.get("/auth/jwks.json").json["keys"]
    for name, kind, seconds in (
        ("accessToken", "access", 900),
        ("refreshToken", "refresh", 7 * 86400),
    ):
        header = jwt.get_unverified_header(tokens[name])
        key = next(k for k in keys if k["kid"] == header["kid"])
        claims = jwt.decode(
            tokens[name], jwt.PyJWK(key), algorithms=["EdDSA"], audience="watermelondb-backend"
        )
        assert claims["type"] == kind
        assert claims["sub"] == tokens["user"]["id"]
        assert claims["exp"] - claims["iat"] == seconds
        assert claims.keys() >= {"iss", "aud", "sid", "jti", "nbf"}


def test_jwks_holds_public_keys_only(api: Api) -> None:
    for key in api.get("/auth/jwks.json").json["keys"]:
        assert key.keys() == {"kty", "crv", "x", "kid", "use", "alg"}


def test_a_taken_email_is_409_whatever_its_case(api: Api) -> None:
    email = api.register().email
    again = api.post("/auth/register", {"email": email.title(), "password": PASSWORD})
    assert_problem(again, 409, "email_taken")


def test_of_many_registrations_of_one_email_at_once_one_succeeds(api: Api) -> None:
    body = {"email": new_email(), "password": PASSWORD}
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: api.post("/auth/register", body).status_code, range(20)))
    assert sorted(statuses) == [201] + [409] * 19


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"password": PASSWORD}, "email"),
        ({"email": None, "password": PASSWORD}, "email"),
        ({"email": 1, "password": PASSWORD}, "email"),
        ({"email": "nobody", "password": PASSWORD}, "email"),
        ({"email": "a" * 250 + "@example.com", "password": PASSWORD}, "email"),
        ({"email": "x\ud800@example.com", "password": PASSWORD}, "email"),
        ({"email": "a@example.com"}, "password"),
        ({"email": "a@example.com", "password": "short77"}, "password"),
        ({"email": "a@example.com", "password": "x" * 129}, "password"),
        ({"email": "a@example.com", "password": "half \ud800 pair"}, "password"),
        ({"email": "a@example.com", "password": ["list"]}, "password"),
        ({"email": "a@example.com", "password": PASSWORD, "name": "x" * 256}, "name"),
        ({"email": "a@example.com", "password": PASSWORD, "deviceName": {}}, "deviceName"),
    ],
)
def test_a_bad_registration_names_its_field(api: Api, body: object, field: str) -> None:
    problem = assert_problem(
        api.post("/auth/register", json.dumps(body).encode()), 422, "invalid_request"
    )
    assert list(problem["errors"]) == [field]


def test_fields_that_registration_does_not_take_have_no_effect(api: Api) -> None:
    given = {"role": "admin", "id": "mine", "isActive": False, "createdAt": "1999"}
    answer = api.post("/auth/register", {"email": new_email(), "password": PASSWORD, **given})
    user = answer.json["user"]
    assert user["role"] == "user"
    assert user["id"] != "mine"
    assert user["isActive"] is True


def test_login_opens_a_session_of_its_own(api: Api) -> None:
    phone = api.register()
    tablet = api.login(phone.email.upper())
    sid = [jwt.decode(d.token, options={"verify_signature": False})["sid"] for d in (phone, tablet)]
    assert sid[0] != sid[1]
    assert tablet.tokens["user"] == phone.tokens["user"]


def test_unknown_email_and_wrong_password_are_answered_alike(api: Api) -> None:
    email = api.register().email
    wrong = api.post("/auth/login", {"email": email, "password": "not the password"})
    unknown = api.post("/auth/login", {"email": new_email(), "password": "not the password"})
    first, second = (assert_problem(r, 401, "invalid_credentials") for r in (wrong, unknown))
    first.pop("requestId")
    second.pop("requestId")
    assert first == second


def test_a_password_is_any_unicode_and_the_same_in_every_normal_form(api: Api) -> None:
    email = new_email()
    assert (
        api.post("/auth/register", {"email": email, "password": "Cafe\u0301 🍉 ok"}).status_code
        == 201
    )
    assert (
        api.post("/auth/login", {"email": email, "password": "Caf\u00e9 🍉 ok"}).status_code == 200
    )
