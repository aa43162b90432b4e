import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.build_info import BuildInfo
from app.logs import trace_id
from app.observation.tracing import Tracing, TracingMiddleware, make_tracing

pytestmark = pytest.mark.anyio

TRACE = "ab" * 16


async def answer(request):
    return PlainTextResponse(trace_id.get(), status_code=int(request.path_params["status"]))


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def app(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    inner = Starlette(routes=[Route("/answers/{status:int}", answer)])

    async def noting_route(scope, receive, send):
        # Starlette tells its route to nobody; FastAPI does.
        scope["route"] = inner.routes[0]
        await inner(scope, receive, send)

    return TracingMiddleware(noting_route, provider)


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (503, True)])
async def test_each_request_is_a_span_below_the_one_of_its_client(app, spans, status, failed):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://maya.test") as client:
        headers = {"traceparent": f"00-{TRACE}-{'cd' * 8}-01"}
        response = await client.get(f"/answers/{status}?code=secret", headers=headers)

    assert response.text == TRACE
    (span,) = spans.get_finished_spans()
    assert span.name == "GET /answers/{status}"
    assert f"{span.parent.span_id:x}" == "cd" * 8
    assert span.status.is_ok is not failed
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.route": "/answers/{status}",
        "http.response.status_code": status,
        "url.scheme": "http",
    }
    assert trace_id.get() is None


async def test_what_is_not_a_request_passes(spans):
    seen = []

    async def inner(scope, _receive, _send):
        seen.append(scope["type"])

    await TracingMiddleware(inner, TracerProvider())({"type": "lifespan"}, None, None)

    assert seen == ["lifespan"]
    assert not spans.get_finished_spans()


async def test_there_are_traces_only_where_an_address_is_configured(make_settings):
    assert make_tracing(make_settings(), BuildInfo()) is None
    tracing = make_tracing(make_settings(otel_exporter_otlp_endpoint="http://127.0.0.1:1"), BuildInfo(version="1"))
    assert isinstance(tracing, Tracing)
    assert isinstance(tracing.wrap(Starlette()), TracingMiddleware)
    tracing.stop()
