"""The real server process and what watches it: errors for Sentry, traces for OpenTelemetry, on loopback."""

import gzip
import json
import secrets
import socket
import sys
import time
import uuid

import httpx
import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy.engine import make_url

from app.security import Tokens
from backend.tests.integration.quick import insert_owner
from backend.tests.vendors.anthropic_server import API_KEY, AnthropicServer
from backend.tests.vendors.vendor_server import Answer, VendorServer

PATIENCE = 60
#: What none of those who watch may learn.
CANARY = "canary" + secrets.token_hex(16)
KEY = CANARY + "-signing-key-0123456789"


@pytest.fixture
def identity(migrated_database_url):
    return insert_owner(migrated_database_url, "Observed")


@pytest.fixture
def token(identity):
    return Tokens([KEY], lifetime=600).issue(identity)


@pytest.fixture
def watching():
    with VendorServer(lambda _: Answer(200)) as server:
        yield server


@pytest.fixture
def anthropic():
    with AnthropicServer() as server:
        yield server


def ask(server, token, **headers):
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        return client.get(
            f"/api/business/me?code={CANARY}&state={CANARY}",
            headers={"Authorization": f"Bearer {token}", "Cookie": f"session={CANARY}", **headers},
        )


def unpacked(request):
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body


def test_an_error_reaches_sentry_without_secrets(serve, migrated_database_url, identity, token, watching, tmp_path):
    build = tmp_path / "build.json"
    build.write_text(json.dumps({"version": "4.5.6", "revision": "abc123"}))
    server = serve(
        DATABASE_URL=migrated_database_url,
        JWT_SECRET_KEY=KEY,
        BUILD_INFO=str(build),
        SENTRY_DSN=f"http://{uuid.uuid4().hex}@127.0.0.1:{watching.port}/7",
    )
    # A bug: the release does not fit the database.
    with psycopg.connect(migrated_database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE tenants RENAME COLUMN name TO label")
    response = ask(server, token, **{"X-Request-ID": "trace-9"})
    assert response.status_code == 500
    server.stop()

    envelopes = [unpacked(request) for request in watching.requests]
    assert {request.path for request in watching.requests} == {"/api/7/envelope/"}
    events = [json.loads(line) for envelope in envelopes for line in envelope.splitlines() if b'"exception"' in line]
    assert len(events) == 1
    event = events[0]
    assert (event["release"], event["environment"]) == ("maya-backend@4.5.6+abc123", "development")
    assert event["user"] == {"id": str(identity.user_id)}
    assert event["tags"] == {"tenant_id": str(identity.tenant_id), "request_id": "trace-9"}
    assert "UndefinedColumn" in {value["type"] for value in event["exception"]["values"]}
    everything = b"".join(envelopes).decode()
    for secret in (CANARY, token, make_url(migrated_database_url).password):
        assert secret not in everything
        assert secret not in server.log.read_text()


def test_a_request_reaches_the_collector_as_spans_without_what_was_asked(
    serve, migrated_database_url, token, watching, anthropic
):
    server = serve(
        DATABASE_URL=migrated_database_url,
        JWT_SECRET_KEY=KEY,
        OTEL_EXPORTER_OTLP_ENDPOINT=watching.url + "/",
        OTEL_SERVICE_NAME="maya-of-the-test",
        ANTHROPIC_API_KEY=API_KEY,
        ANTHROPIC_BASE_URL=anthropic.url,
        ASSISTANT_TIMEOUT="60",
    )
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    assert ask(server, token, traceparent=f"00-{trace}-{parent}-01").status_code == 200
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        authorized = {"Authorization": f"Bearer {token}"}
        client.put("/api/business/me", json={"greeting": CANARY}, headers=authorized)
        assert client.post("/api/assistant/reply", json={"message": CANARY}, headers=authorized).status_code == 200
        client.get(f"/{CANARY}")
    server.stop()

    assert {request.path for request in watching.requests} == {"/v1/traces"}
    spans = []
    for request in watching.requests:
        for resource in ExportTraceServiceRequest.FromString(unpacked(request)).resource_spans:
            facts = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
            assert (facts["service.name"], facts["deployment.environment.name"]) == ("maya-of-the-test", "development")
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    named = {span.name: span for span in spans}

    def below(name):
        return [span.name.partition(" ")[0] for span in spans if span.parent_span_id == named[name].span_id]

    asked = named["GET /api/business/me"]
    assert (asked.trace_id.hex(), asked.parent_span_id.hex()) == (trace, parent)
    assert "SELECT" in below("GET /api/business/me")
    assert "UPDATE" in below("PUT /api/business/me")
    assert "POST" in below("POST /api/assistant/reply")
    assert "GET none" in named
    assert all(CANARY.encode() not in unpacked(request) for request in watching.requests)
    logged = [entry for entry in server.entries if entry.get("trace_id") == trace]
    assert [(entry["path"], entry["status"]) for entry in logged] == [("/api/business/me", 200)]


def test_a_collector_that_is_gone_neither_breaks_requests_nor_holds_up_the_end(serve, migrated_database_url, token):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = taken.getsockname()[1]
        server = serve(
            DATABASE_URL=migrated_database_url,
            JWT_SECRET_KEY=KEY,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{gone}",
            SENTRY_DSN=f"http://{uuid.uuid4().hex}@127.0.0.1:{gone}/7",
        )
        assert [ask(server, token).status_code for _ in range(5)] == [200] * 5
        stopping = time.monotonic()
        server.stop()

    assert time.monotonic() - stopping < PATIENCE / 2
    assert not [entry for entry in server.entries if "exception" in entry]


def test_what_is_not_configured_is_not_loaded(run_backend):
    loaded = "import app.main, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"

    done = run_backend([sys.executable, "-c", loaded], DATABASE_URL="postgresql://u:p@127.0.0.1:1/db")

    assert done.returncode == 0, done.stderr
    for library in ("sentry_sdk", "stripe", "twilio", "anthropic", "redis"):
        assert f"'{library}'" not in done.stdout
