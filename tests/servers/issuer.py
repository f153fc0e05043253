"""A small OpenID provider of the tests' own, whose keys rotate."""

import itertools
import json
import time
import uuid
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.servers.serving import Serving

CLIENT_ID = "org.example.app"
DISCOVERY, KEYS, LOGIN = "/.well-known/openid-configuration", "/keys", "/login"

Answer = Callable[[BaseHTTPRequestHandler], None]

TURNS = itertools.count()


@cache
def rsa_key(_number: int) -> rsa.RSAPrivateKey:
    """A key, which takes a tenth of a second to make."""
    return rsa.generate_private_key(65537, 2048)


class Issuer(Serving):
    """Publishes keys, and makes tokens with the newest."""

    def __init__(self, port: int = 0) -> None:
        self.keys: dict[str, Any] = {}
        #: The paths that were asked for.
        self.asked: list[str] = []
        #: What a path is answered instead, set by a test.
        self.instead: dict[str, Answer] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self.handler())
        # A request that hangs is not waited for.
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.described: dict[str, Any] = {
            "issuer": self.url,
            "jwks_uri": self.url + KEYS,
            "authorization_endpoint": self.url + LOGIN,
        }
        #: Who signs in in a browser: claims of their tokens.
        self.person: dict[str, Any] = {}
        self.rotate()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if self.path.startswith(LOGIN):
                    answer(self, b"", 302, Location=issuer.lead_back(self.path))
                elif self.path in issuer.instead:
                    issuer.instead[self.path](self)
                elif self.path == DISCOVERY:
                    answer(self, json.dumps(issuer.described).encode())
                else:
                    answer(self, json.dumps({"keys": issuer.published()}).encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def rotate(self, *, keep: bool = True) -> str:
        """Sign with a new key from now on; with `keep` the old ones are still published."""
        if not keep:
            self.keys.clear()
        kid = uuid.uuid4().hex
        # By turns, as providers differ.
        if len(self.keys) % 2:
            self.keys[kid] = ec.generate_private_key(ec.SECP256R1())
        else:
            # Of a few, no issuer has the same again soon.
            self.keys[kid] = rsa_key(next(TURNS) % 6)
        return kid

    def lead_back(self, path: str) -> str:
        """Where a browser goes with the token that it asked for, by OpenID's implicit flow."""
        asked = dict(parse_qsl(urlsplit(path).query))
        assert (asked["response_type"], asked["client_id"]) == ("id_token", CLIENT_ID)
        token = self.token(nonce=asked["nonce"], **self.person)
        return f"{asked['redirect_uri']}#{urlencode({'id_token': token, 'state': asked['state']})}"

    def published(self) -> list[dict[str, Any]]:
        keys = []
        for kid, key in self.keys.items():
            kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            public = kind.to_jwk(key.public_key(), as_dict=True)
            keys.append(public | {"kid": kid, "use": "sig"})
        return keys

    def token(
        self,
        subject: str | None = None,
        *,
        headers: dict[str, Any] | None = None,
        key: Any = None,
        algorithm: str | None = None,
        **claims: Any,
    ) -> str:
        """A token of somebody; a claim or header that is None is left out."""
        kid, newest = list(self.keys.items())[-1]
        own = "RS256" if isinstance(newest, rsa.RSAPrivateKey) else "ES256"
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": subject or uuid.uuid4().hex,
            "iat": now,
            "exp": now + 3600,
            "email_verified": True,
        } | claims
        said = {name: value for name, value in said.items() if value is not None}
        named = {"kid": kid} | (headers or {})
        named = {name: value for name, value in named.items() if value is not None}
        return jwt.encode(said, key or newest, algorithm or own, headers=named)


def answer(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    # Apps in browsers read the description as well.
    usual = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}
    for name, value in (usual | headers).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def providers_file(**issuers: Issuer) -> str:
    """The settings that trust these."""
    return "\n".join(
        f'[providers.{name}]\nissuer = "{issuer.url}"\nclient_ids = ["{CLIENT_ID}", "other.app"]\n'
        for name, issuer in issuers.items()
    )
