"""Owns the traces of OpenTelemetry: one span for each request, with those of the database and of vendors below it.

The libraries are imported only where an address for traces is configured. The span of a request is made here and not by
the instrumentation of FastAPI, which notes queries, where codes and states of OAuth travel, and needs to be the
outermost of all middleware.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.build_info import NAME, BuildInfo
from app.logs import trace_id
from app.observation.metrics import find_route
from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from sqlalchemy.ext.asyncio import AsyncEngine

    from app.reads import Reads

#: Seconds that the collector may take for one message.
_EXPORT_WITHIN: Final = 5.0
#: Seconds that a stopping process gives what was not sent yet.
_FLUSH_WITHIN: Final = 3.0
_SERVER_ERROR: Final = 500
#: Said by its author whenever a collector is down, once for each message that is lost.
_NOISY: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class Tracing:
    """Sends traces to a collector, off the way of requests: what cannot be sent is dropped."""

    def __init__(self, endpoint: str, build: BuildInfo, environment: str) -> None:
        """Send to the collector at `endpoint`; the traces name the build and the environment."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        logging.getLogger(_NOISY).setLevel(logging.CRITICAL)
        facts = {"service.name": NAME, "service.version": build.version, "deployment.environment.name": environment}
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say holds; by itself the library prefers what it is given.
        resource = Resource.create(facts).merge(OTELResourceDetector().detect())
        self._provider: TracerProvider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=_EXPORT_WITHIN)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def follow(self, engine: "AsyncEngine", reads: "Reads") -> None:
        """Trace the statements of an engine, the reads beside it, and every call of a vendor by httpx or httpx2."""
        from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        # It is made for SQLAlchemy up to 2.0 and otherwise does nothing; a test says that it works with this one.
        SQLAlchemyInstrumentor().instrument(
            engine=engine.sync_engine, tracer_provider=self._provider, skip_dep_check=True
        )
        reads.surround = self._surround_read
        HTTPXClientInstrumentor().instrument(tracer_provider=self._provider)
        # Anthropic's SDK calls by this one.
        HTTPX2ClientInstrumentor().instrument(tracer_provider=self._provider)

    @contextlib.contextmanager
    def _surround_read(self, query: str) -> Iterator[None]:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        facts = {"db.system.name": "postgresql", "db.query.text": query}
        # What an error says may hold the row that it is about.
        with self._provider.get_tracer(__name__).start_as_current_span(
            "SELECT", kind=SpanKind.CLIENT, attributes=facts, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with a span around each request."""
        return TracingMiddleware(app, self._provider)

    def stop(self) -> None:
        """Send what is left, within three seconds; blocks for as long."""
        # A collector that is gone is tried again and again: the thread is left behind, and ends with the process.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(_FLUSH_WITHIN)


class TracingMiddleware:
    """Makes a span for each request, below the one that the client names in `traceparent`."""

    def __init__(self, app: ASGIApp, provider: "TracerProvider") -> None:
        """Wrap `app`; its spans go to `provider`."""
        self._app = app
        self._tracer = provider.get_tracer("app.observation.tracing")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request within a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, format_trace_id

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        with self._tracer.start_as_current_span(method, context=extract(carrier), kind=SpanKind.SERVER) as span:
            token = trace_id.set(format_trace_id(span.get_span_context().trace_id))

            async def send_noting_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _describe(span, scope, message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_noting_status)
            finally:
                trace_id.reset(token)


def _describe(span: "Span", scope: Scope, status: int) -> None:
    from opentelemetry.trace import Status, StatusCode

    route = find_route(scope)
    span.update_name(f"{scope['method']} {route}")
    span.set_attributes(
        {
            "http.request.method": scope["method"],
            "http.route": route,
            "http.response.status_code": status,
            "url.scheme": scope["scheme"],
        }
    )
    if status >= _SERVER_ERROR:
        span.set_status(Status(StatusCode.ERROR))


def make_tracing(settings: Settings, build: BuildInfo) -> Tracing | None:
    """Return what sends traces, or None where no address is configured."""
    if not settings.otel_exporter_otlp_endpoint:
        return None
    return Tracing(settings.otel_exporter_otlp_endpoint, build, settings.environment)
