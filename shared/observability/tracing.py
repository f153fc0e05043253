"""Traces and error reports for those who collect them; without their settings, none of it is loaded.

Any collector that takes OTLP gets the traces (New Relic, Datadog and Grafana do), continued from the
`traceparent` that came in. Neither traces nor reports hold bodies, headers, values or addresses.
"""

from typing import Any

from flask import Flask
from sqlalchemy import Engine, event


def init_app(app: Flask) -> None:
    """Start what is configured; what it needs is in requirements-stack.txt."""
    if app.config["TRACES_URL"]:
        trace(app, app.config["TRACES_URL"])
    if app.config["SENTRY_DSN"]:
        report_errors(app, app.config["SENTRY_DSN"])


def trace(app: Flask, url: str) -> None:
    """Send a span for each request, statement and Redis command to the OTLP/HTTP endpoint `url`."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": app.name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url)))
    app.extensions["traces"] = provider
    FlaskInstrumentor().instrument_app(
        app, tracer_provider=provider, excluded_urls="healthz,readyz,metrics"
    )
    with app.app_context():
        for engine in app.extensions["sqlalchemy"].engines.values():
            trace_statements(engine, provider)
    redis = RedisInstrumentor()
    if not redis.is_instrumented_by_opentelemetry:
        redis.instrument(tracer_provider=provider)


def trace_statements(engine: Engine, provider: Any) -> None:
    """Trace each statement, without its values. (OpenTelemetry's own needs asyncio's packages.)"""
    from opentelemetry.trace import SpanKind

    tracer = provider.get_tracer("shared.database")

    @event.listens_for(engine, "before_cursor_execute")
    def before(_connection: Any, _cursor: Any, text: str, _p: Any, context: Any, _m: Any) -> None:
        said = {"db.system.name": engine.dialect.name, "db.query.text": text}
        context.span = tracer.start_span(text.split()[0], kind=SpanKind.CLIENT, attributes=said)

    @event.listens_for(engine, "after_cursor_execute")
    def after(_connection: Any, _cursor: Any, _text: str, _p: Any, context: Any, _m: Any) -> None:
        context.span.end()

    @event.listens_for(engine, "handle_error")
    def failed(error: Any) -> None:
        span = getattr(error.execution_context, "span", None)
        if span:
            span.end()


def report_errors(app: Flask, dsn: str) -> None:
    """Report what is logged as an error, bugs with their traceback, to Sentry or its like at `dsn`."""
    import sentry_sdk
    from sentry_sdk.integrations.argv import ArgvIntegration
    from sentry_sdk.integrations.flask import FlaskIntegration

    sentry_sdk.init(
        dsn=dsn,
        integrations=[FlaskIntegration()],
        disabled_integrations=[ArgvIntegration()],
        send_default_pii=False,
        # A frame's variables hold passwords and records.
        include_local_variables=False,
        max_request_body_size="never",
        before_send=scrub,
        before_breadcrumb=lambda _crumb, _hint: None,
    )


def scrub(event: Any, _hint: Any) -> Any:
    """Take out what a request carried: only its method and route's path stay."""
    request = event.get("request", {})
    event["request"] = {key: request[key] for key in ("method", "url") if key in request}
    event.pop("user", None)
    event.pop("server_name", None)
    return event
