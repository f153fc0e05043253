"""CORS for `make run`, which has no gateway: pages that this machine serves may call the API, as Expo's.

The headers are those of gateway/snippets/headers.conf.
"""

import re
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

LOCAL_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
#: Calls that no page may make: a service key in a browser is a leak.
FOR_SERVERS = re.compile(r"/v1/service(/|$)")
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-ID, traceparent, "
    "tracestate, baggage, sentry-trace",
    "Access-Control-Max-Age": "7200",
}
EXPOSED = {
    "Access-Control-Expose-Headers": "X-Request-ID, Retry-After, WWW-Authenticate, Content-Disposition"
}


def allow_local_origins(application: "WSGIApplication") -> "WSGIApplication":
    """Return `application` with CORS for pages of this machine, whatever their port."""

    @Request.application
    def wrapped(request: Request) -> "WSGIApplication":
        origin = request.headers.get("Origin", "")
        path = request.environ["PATH_INFO"]
        if not (path.startswith("/v1/") and LOCAL_ORIGIN.fullmatch(origin)):
            return application
        is_preflight = (
            request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        )
        if FOR_SERVERS.match(path):
            return Response(status=204, headers={"Vary": "Origin"}) if is_preflight else application
        allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if is_preflight:
            return Response(status=204, headers=allowed | PREFLIGHT)
        response = Response.from_app(application, request.environ)
        response.headers.extend(allowed | EXPOSED)
        return response

    return wrapped
