"""The keys that OpenID providers sign with: found by discovery, kept, and asked for again.

PyJWT's own client would hold a lock while it waits for the provider, reads answers of any length and has
no limit on the whole; so asking is done here, and PyJWT reads what came.
"""

import logging
import time
import urllib.request
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from http.client import HTTPResponse
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.parse import urlsplit

import orjson
from jwt import PyJWK, PyJWKSet

from shared.observability import metrics
from shared.providers import is_safe
from shared.web.errors import Unavailable

log = logging.getLogger(__name__)

#: Keys that are not known make us ask an issuer so often at most.
PAUSE_S = 10
#: How long asking takes at most, and one step of it.
DEADLINE_S, STEP_S = 6, 3
#: Keys that an issuer has withdrawn are forgotten after so long.
MAX_AGE_S = 60 * 60
#: For so long whoever needs the answer waits for it; an issuer that is well is faster.
PATIENCE_S = 1
#: Requests of a process that wait longer. It has eight threads for everybody.
MAX_WAITING = 2
MAX_ANSWER_BYTES = 256 * 1024


class ProviderUnavailable(Unavailable):
    """A key of the provider is not known, and the provider does not answer."""

    detail = "The sign-in provider does not answer. Try again later."
    sends: ClassVar[dict[str, str]] = {"Retry-After": str(PAUSE_S)}


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an error: keys come from where the configuration leads, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""


class Issuer:
    """The keys of one issuer. No lock is held while it is asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, PyJWK] = {}
        self.fetched_at = 0.0
        self.lock = Lock()
        self.places = BoundedSemaphore(MAX_WAITING)
        #: The newest asking, when it began and from when on there may be another.
        self.asking: Future[None] | None = None
        self.began = self.next_at = 0.0

    def find_key(self, kid: str) -> PyJWK | None:
        """Return a key, None when the issuer does not have it. Raises `ProviderUnavailable`."""
        known = self.keys.get(kid)
        if known is None:
            return self._find_new(kid)
        if time.monotonic() - self.fetched_at > MAX_AGE_S:
            # Nobody waits for it.
            self._ask()
        return known

    def _find_new(self, kid: str) -> PyJWK | None:
        is_first = not self.keys
        asking, began = self._ask(kid)
        try:
            self._wait(asking, began)
        except Exception as error:
            raise ProviderUnavailable from error
        found = self.keys.get(kid)
        if is_first and found:
            # That was no unknown key: the next one may be asked for at once.
            self.next_at = began
        return found

    def _wait(self, asking: "Future[None]", began: float) -> None:
        """Return once keys have come. Raises what keeps them from coming, or `TimeoutError`."""
        with suppress(TimeoutError):
            asking.result(max(began + PATIENCE_S - time.monotonic(), 0))
            return
        if not self.places.acquire(blocking=False):
            raise TimeoutError
        try:
            asking.result(max(began + DEADLINE_S - time.monotonic(), 0))
        finally:
            self.places.release()

    def _ask(self, kid: str | None = None) -> tuple["Future[None]", float]:
        """Return the newest asking, which is begun when there is none and the last is long enough ago.

        None is begun for a `kid` that has come since it was looked for.
        """
        with self.lock:
            now = time.monotonic()
            if self.asking is None or (
                self.asking.done() and now >= self.next_at and kid not in self.keys
            ):
                self.asking, self.began, self.next_at = Future(), now, now + PAUSE_S
                Thread(target=self._fetch, args=(self.asking, now), daemon=True).start()
            return self.asking, self.began

    def _fetch(self, asking: "Future[None]", began: float) -> None:
        try:
            self.keys = fetch_keys(self.url, began + DEADLINE_S)
        except Exception as error:
            # Whatever it was: what was known before stays known.
            metrics.KEY_FETCHES.labels("failed").inc()
            fields = {"issuer": self.url, "cause": type(error).__name__}
            log.warning("issuer_unavailable", extra=fields)
            asking.set_exception(error)
        else:
            self.fetched_at = began
            metrics.KEY_FETCHES.labels("succeeded").inc()
            asking.set_result(None)


@cache
def issuer_of(url: str) -> Issuer:
    """Return the one of this process: several services in it ask once."""
    return Issuer(url)


def fetch_keys(issuer: str, deadline: float) -> dict[str, PyJWK]:
    """Return the keys that an issuer publishes, by `kid`. Raises whatever may go wrong."""
    found = _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", issuer, deadline)
    if found["issuer"] != issuer:
        raise ValueError("The description is another issuer's.")
    published = PyJWKSet.from_dict(_get(found["jwks_uri"], issuer, deadline))
    return {
        key.key_id: key
        for key in published.keys
        if key.key_id and key.public_key_use in ("sig", None)
    }


def _get(url: str, issuer: str, deadline: float) -> dict[str, Any]:
    # An issuer of this machine may have its keys here, others may not.
    is_local = urlsplit(issuer).scheme == "http"
    if not is_safe(url) or (urlsplit(url).scheme == "http" and not is_local):
        raise ValueError("Keys are published at an https:// URL.")
    handlers = [NoRedirects(), *([urllib.request.ProxyHandler({})] if is_local else [])]
    opener = urllib.request.build_opener(*handlers)
    response: HTTPResponse
    try:
        with opener.open(url, timeout=STEP_S) as response:
            body = b""
            while piece := response.read1(MAX_ANSWER_BYTES):
                body += piece
                if len(body) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                    raise ValueError("The answer is too long, or takes too long.")
    except HTTPError as error:
        # It is the answer itself, and keeps the connection open for as long as somebody has it.
        error.close()
        raise
    answer = orjson.loads(body)
    if not isinstance(answer, dict):
        raise TypeError("The answer is no JSON object.")
    return answer
