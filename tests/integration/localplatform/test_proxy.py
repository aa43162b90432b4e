"""The public port: everything passes through it unchanged, in both directions, as it comes."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from fairlead import localplatform
from fairlead.localplatform import Endpoint
from tests.integration.localplatform.tiny import APPLICATION, PATIENCE, Project, make_bundle, make_digest, wait_for

ECHO = """
        elif path == "/echo":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            while data := self.rfile.read1(65536):
                self.wfile.write(data)
            self.close_connection = True
        elif path == "/pid":
"""


@pytest.fixture
def client(serving: tuple[Project, Endpoint]) -> Iterator[httpx.Client]:
    _, endpoint = serving
    with httpx.Client(base_url=endpoint.public_url, timeout=PATIENCE, trust_env=False) as made:
        yield made


def test_answer_passes_as_it_comes(serving: tuple[Project, Endpoint], client: httpx.Client) -> None:
    gates = serving[0].gates
    with client.stream("GET", "/drip") as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"part 0\n"
        (gates / "0").touch()
        assert next(parts) == b"part 1\n"
        (gates / "1").touch()
        assert b"".join(parts) == b"part 2\n"


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "chunked"])
def test_large_request_body_passes(client: httpx.Client, *, chunked: bool) -> None:
    body = bytes(range(256)) * 8192
    content = (body[at : at + 10_000] for at in range(0, len(body), 10_000)) if chunked else body
    answer = client.post("/", content=content)
    assert answer.status_code == 201
    assert answer.json() == {"size": len(body), "sum": sum(body) % 65521}


def test_path_and_query_pass_unchanged(serving: tuple[Project, Endpoint]) -> None:
    _, endpoint = serving
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /target?a=%2F&b=c%20d/../e&&x HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.endswith(b'"/target?a=%2F&b=c%20d/../e&&x"')


def test_forwarding_headers_are_the_proxys_own_and_hop_by_hop_ones_end_here(client: httpx.Client) -> None:
    sent = {
        "X-Forwarded-For": "6.6.6.6",
        "Connection": "keep-alive, X-Mine",
        "X-Mine": "dropped",
        "Proxy-Authorization": "dropped",
        "X-Kept": "kept",
    }
    received = {name.lower(): value for name, value in client.get("/headers", headers=sent).json()}
    assert received["x-forwarded-for"] == "127.0.0.1"
    assert received["x-forwarded-proto"] == "http"
    assert received["x-forwarded-host"] == received["host"] == client.base_url.netloc.decode()
    assert received["x-kept"] == "kept"
    assert "dropped" not in received.values()


def test_client_that_goes_away_ends_the_request_to_the_release(serving: tuple[Project, Endpoint]) -> None:
    project, endpoint = serving
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /stuck HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(10)
        wait_for((project.gates / "begun").exists)
    wait_for((project.gates / "noticed").exists)


def test_release_that_breaks_off_gives_502_with_a_problem(client: httpx.Client) -> None:
    answer = client.get("/cut")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/pid").status_code == 200


def test_platform_without_a_release_answers_503_with_a_problem(project: Project) -> None:
    endpoint = project.start()
    answer = httpx.get(f"{endpoint.public_url}/api/health", timeout=PATIENCE)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["action"] == "deploy one: invoke deploy --env local"


def test_no_request_fails_while_a_release_is_replaced(project: Project) -> None:
    endpoint = project.start()
    project.deploy(make_bundle("one"), endpoint=endpoint)
    seen: list[str] = []
    with httpx.Client(base_url=endpoint.public_url, timeout=PATIENCE) as client:
        deployment_id = ""
        while not seen or seen[-1] != make_digest("two"):
            answer = client.get("/api/v1/version")
            assert answer.status_code == 200
            seen.append(answer.json()["digest"])
            deployment_id = deployment_id or project.upload(make_bundle("two"), endpoint)
    assert seen[0] == make_digest("one")
    assert project.follow(deployment_id, endpoint)["status"] == "SUCCESS"


def test_websocket_passes_and_ends_with_the_platform(project: Project) -> None:
    before = '\n        elif path == "/pid":\n'
    assert before in APPLICATION
    application = APPLICATION.replace(before, ECHO).format(fault="")
    endpoint = project.start()
    project.deploy(make_bundle("one", files={"app.py": application}), endpoint=endpoint)
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"GET /echo HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with connection.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.1 101 ")
            while answer.readline() != b"\r\n":
                pass
            connection.sendall(b"\x81\x80abcd\x82\x81abcdx")
            assert answer.read(13) == b"\x81\x80abcd\x82\x81abcdx"
            localplatform.stop(project.config)
            assert answer.read() in {b"", b"\x88\x02\x03\xe9"}  # whichever ends first, the release or its proxy
