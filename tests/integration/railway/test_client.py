"""The client against real sockets: the local platform's API under uvicorn, and servers that fail in every way."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fairlead.exceptions import AuthenticationError, DeadlineError, PlatformError, RateLimitError, ResponseError
from fairlead.localplatform.api import make_api
from fairlead.localplatform.records import LogLine
from fairlead.railway import DeploymentStatus, RailwayClient
from tests.platform_double import ENVIRONMENT, PROJECT, SERVICE, TOKEN, PlatformDouble, deployment

PLACE: dict[str, Any] = {"project_id": PROJECT, "environment_id": ENVIRONMENT, "service_id": SERVICE}
UP = f"/project/{PROJECT}/environment/{ENVIRONMENT}/up"
GENEROUS = 20.0

Behaviour = Callable[[socket.socket, int, threading.Event], None]
Serve = Callable[[Behaviour], str]


@pytest.fixture
def platform(tmp_path: Path) -> PlatformDouble:
    return PlatformDouble(tmp_path / "incoming", deployment(1, "REMOVED"), deployment(2, "SUCCESS", message="second"))


@pytest.fixture
def platform_url(platform: PlatformDouble) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    api = make_api(platform, largest_upload=12_000_000)
    server = uvicorn.Server(uvicorn.Config(api, lifespan="off", ws="none", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(GENEROUS)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve connections by a behaviour that gets the socket, the connection's number, and an event set at the end."""
    over = threading.Event()
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(behaviour: Behaviour) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.05)
        listeners.append(listener)

        def accept() -> None:
            number = 0
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    number += 1
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(GENEROUS)
                        behaviour(connection, number, over)

        thread = threading.Thread(target=accept)
        threads.append(thread)
        thread.start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    over.set()
    for thread in threads:
        thread.join(GENEROUS)
        assert not thread.is_alive()
    for listener in listeners:
        listener.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(b"\x1f\x8b" + bytes(range(256)) * 32_768)
    return path


def eventually(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(0.01)


def connect(
    url: str, *, token: str = TOKEN, timeout: float = GENEROUS, slept: list[float] | None = None
) -> RailwayClient:
    return RailwayClient(token, url=url, timeout=timeout, sleep=([] if slept is None else slept).append)


def read_request(connection: socket.socket) -> bytes:
    """Read one request with a short body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    return body


def response(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


NODE = {"id": "d1", "status": "SUCCESS", "createdAt": "2026-01-01T10:00:00Z", "deploymentStopped": False}
FOUND = json.dumps({"data": {"deployment": {**NODE, "canRollback": False}}}).encode()


def test_whole_way_of_a_deploy(platform: PlatformDouble, platform_url: str, archive: Path) -> None:
    seen: list[tuple[int, int]] = []
    with connect(platform_url) as railway:
        token = railway.fetch_project_token()
        place: dict[str, Any] = {
            "project_id": token.project_id,
            "environment_id": token.environment_id,
            "service_id": token.services[0].id,
        }
        before = railway.fetch_deployments(**place)
        taken = railway.upload(
            archive, **place, message="digest ✓", on_progress=lambda sent, size: seen.append((sent, size))
        )
        begun = railway.fetch_deployment(taken.deployment_id)
        platform.become(taken.deployment_id, "SUCCESS")
        platform.lines = [LogLine("2026-01-01T00:00:00.000001Z", "started", "info", "deploy")]
        ended = railway.fetch_deployments(**place, limit=1)
        logs = railway.fetch_deployment_logs(taken.deployment_id)
        later = railway.fetch_deployment_logs(taken.deployment_id, since=logs[-1].timestamp)
    assert [each.id for each in before] == ["deployment-2", "deployment-1"]
    assert before[0].message == "second"
    assert platform.received == [(archive.read_bytes(), "digest ✓")]
    assert seen[-1] == (archive.stat().st_size, archive.stat().st_size)
    assert (begun.status, begun.message) == (DeploymentStatus.INITIALIZING, "digest ✓")
    assert [(each.id, each.status.is_success) for each in ended] == [(taken.deployment_id, True)]
    assert ([line.message for line in logs], later) == (["started"], ())
    assert list(platform.incoming.iterdir()) == []


def test_wrong_token_is_told_for_queries_and_uploads(
    platform: PlatformDouble, platform_url: str, archive: Path
) -> None:
    with connect(platform_url, token="wrong-canary-token") as railway:
        with pytest.raises(AuthenticationError) as query:
            railway.fetch_project_token()
        with pytest.raises(AuthenticationError) as upload:
            railway.upload(archive, **PLACE, message=None)
    for caught in (query, upload):
        assert "wrong-canary-token" not in f"{caught.value.message}{caught.value.hint}"
    assert platform.received == []


@pytest.mark.parametrize("name", ["project", "environment", "service"])
def test_unknown_ids_are_told(platform_url: str, archive: Path, name: str) -> None:
    place = {**PLACE, f"{name}_id": "other"}
    with connect(platform_url) as railway:
        with pytest.raises(ResponseError, match=f"{name.capitalize()} not found"):
            railway.fetch_deployments(**place)
        with pytest.raises(ResponseError, match=f"no such {name}"):
            railway.upload(archive, **place, message=None)


@pytest.mark.parametrize(
    ("content", "said"), [(b"PK\x03\x04" * 500_000, "no gzip archive"), (b"\x1f\x8b" + bytes(12_000_000), "12 MB")]
)
def test_refused_archive_says_why(
    platform: PlatformDouble, platform_url: str, archive: Path, content: bytes, said: str
) -> None:
    archive.write_bytes(content)
    with connect(platform_url) as railway, pytest.raises(ResponseError, match=said):
        railway.upload(archive, **PLACE, message=None)
    assert platform.received == []


def test_client_cut_in_the_middle_of_an_upload_leaves_nothing(platform: PlatformDouble, platform_url: str) -> None:
    port = int(platform_url.rpartition(":")[2])
    head = f"POST {UP} HTTP/1.1\r\nHost: 127.0.0.1\r\nProject-Access-Token: {TOKEN}\r\nContent-Length: 5000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + b"\x1f\x8b" + bytes(100_000))
        eventually(lambda: platform.incoming.exists() and list(platform.incoming.iterdir()))
        reset(connection)
    eventually(lambda: not list(platform.incoming.iterdir()))
    assert platform.received == []


def test_connection_refused_says_what_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    slept: list[float] = []
    with (
        connect(f"http://127.0.0.1:{port}", slept=slept) as railway,
        pytest.raises(PlatformError, match="refused") as caught,
    ):
        railway.fetch_project_token()
    assert len(slept) == 3
    assert "invoke platform.up" in str(caught.value.hint)


def hang(connection: socket.socket, _number: int, over: threading.Event) -> None:
    read_request(connection)
    over.wait(GENEROUS)


def drip(connection: socket.socket, piece: bytes, over: threading.Event) -> None:
    end = time.monotonic() + GENEROUS / 2
    while time.monotonic() < end and not over.wait(0.02):
        connection.sendall(piece)


def drip_headers(connection: socket.socket, _number: int, over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(connection, b"x", over)


def drip_headers_later(connection: socket.socket, number: int, over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(response(FOUND))
    drip_headers(connection, number, over)


def drip_body(connection: socket.socket, _number: int, over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    drip(connection, b" ", over)


@pytest.mark.parametrize("behaviour", [hang, drip_headers, drip_body])
def test_slow_answers_meet_a_total_deadline(serve: Serve, behaviour: Behaviour) -> None:
    began = time.monotonic()
    with connect(serve(behaviour), timeout=0.4) as railway, pytest.raises(DeadlineError, match=r"within 0\.4 s"):
        railway.fetch_project_token()
    assert 0.3 < time.monotonic() - began < GENEROUS / 2


def test_deadline_holds_on_a_connection_used_before(serve: Serve) -> None:
    with connect(serve(drip_headers_later), timeout=0.8) as railway:
        assert railway.fetch_deployment("d1").id == "d1"
        with pytest.raises(DeadlineError):
            railway.fetch_deployment("d1")


def close_at_once(connection: socket.socket, _number: int, _over: threading.Event) -> None:
    read_request(connection)


def reset_at_once(connection: socket.socket, _number: int, _over: threading.Event) -> None:
    read_request(connection)
    reset(connection)


def cut_body(connection: socket.socket, _number: int, _over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(response(FOUND)[:-5])


def garbage(connection: socket.socket, _number: int, _over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(b"\x00\x01 no HTTP at all\r\n\r\n")


@pytest.mark.parametrize("behaviour", [close_at_once, reset_at_once, cut_body, garbage])
def test_broken_connections_are_tried_again_and_then_told(serve: Serve, behaviour: Behaviour) -> None:
    slept: list[float] = []
    with connect(serve(behaviour), slept=slept) as railway, pytest.raises(PlatformError, match="broke: "):
        railway.fetch_project_token()
    assert slept == [0.2, 0.4, 0.8]


@pytest.mark.parametrize("behaviour", [close_at_once, reset_at_once, cut_body])
def test_connection_that_breaks_once_does_no_harm(serve: Serve, behaviour: Behaviour) -> None:
    def once(connection: socket.socket, number: int, over: threading.Event) -> None:
        if number == 1:
            behaviour(connection, number, over)
        else:
            read_request(connection)
            connection.sendall(response(FOUND))

    slept: list[float] = []
    with connect(serve(once), slept=slept) as railway:
        assert railway.fetch_deployment("d1").status.is_success
    assert slept == [0.2]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (response(b'{"data": null, "errors": [{"message": "Not Authorized"}]}'), AuthenticationError, "RAILWAY_TOKEN"),
        (response(b'{"data": null, "errors": [{"message": "Problem"}]}'), ResponseError, "Problem"),
        (response(b"", status="500 Internal Server Error"), ResponseError, "500"),
        (response(b"<html>", status="200 OK"), ResponseError, "not JSON"),
        (response(b"", status="429 Too Many", headers="Retry-After: 60\r\n"), RateLimitError, "too often"),
        (response(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n"), ResponseError, "302"),
    ],
)
def test_unwelcome_answers_are_told(serve: Serve, answer: bytes, kind: type[PlatformError], said: str) -> None:
    def behaviour(connection: socket.socket, _number: int, _over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer)

    slept: list[float] = []
    with connect(serve(behaviour), slept=slept) as railway, pytest.raises(kind, match=said):
        railway.fetch_deployment("d1")
    assert slept == []


def test_rate_limit_is_waited_out(serve: Serve) -> None:
    def behaviour(connection: socket.socket, _number: int, _over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(response(b"", status="429 Too Many Requests", headers="Retry-After: 2\r\n"))
        read_request(connection)
        connection.sendall(response(FOUND))

    slept: list[float] = []
    with connect(serve(behaviour), slept=slept) as railway:
        assert railway.fetch_deployment("d1").id == "d1"
    assert slept == [2.0]


def test_oversized_answer_is_cut(serve: Serve) -> None:
    sent: list[int] = []

    def flood(connection: socket.socket, _number: int, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not over.is_set():
            sent.append(connection.send(bytes(1_000_000)))

    with connect(serve(flood)) as railway, pytest.raises(ResponseError, match="larger than any should be"):
        railway.fetch_deployment("d1")
    assert sum(sent) < 100_000_000


def test_upload_to_a_server_that_breaks_is_not_repeated(serve: Serve, archive: Path) -> None:
    numbers: list[int] = []

    def cut(connection: socket.socket, number: int, _over: threading.Event) -> None:
        numbers.append(number)
        connection.recv(100_000)
        reset(connection)

    with connect(serve(cut)) as railway, pytest.raises(PlatformError, match="broke: ") as caught:
        railway.upload(archive, **PLACE, message=None)
    assert numbers == [1]
    assert "invoke releases" in str(caught.value.hint)


def test_upload_to_a_server_that_stops_reading_meets_its_deadline(serve: Serve, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes() * 4)

    def stall(connection: socket.socket, _number: int, over: threading.Event) -> None:
        connection.recv(1000)
        over.wait(GENEROUS)

    began = time.monotonic()
    with connect(serve(stall)) as railway, pytest.raises(DeadlineError):
        railway.upload(archive, **PLACE, message=None, timeout=0.5)
    assert time.monotonic() - began < GENEROUS / 2


def test_upload_that_is_taken_slowly_meets_its_deadline(serve: Serve, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes() * 4)

    def sip(connection: socket.socket, _number: int, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while not over.wait(0.02):
            connection.recv(20_000)

    began = time.monotonic()
    with connect(serve(sip)) as railway, pytest.raises(DeadlineError):
        railway.upload(archive, **PLACE, message=None, timeout=0.5)
    assert time.monotonic() - began < GENEROUS / 2


def test_refusal_before_the_end_of_an_upload_is_read(serve: Serve, archive: Path) -> None:
    def refuse(connection: socket.socket, _number: int, over: threading.Event) -> None:
        connection.recv(1000)
        connection.sendall(
            response(b'{"message": "too much"}', status="413 Too Large", headers="Connection: close\r\n")
        )
        connection.shutdown(socket.SHUT_WR)
        while not over.is_set() and connection.recv(65536):
            pass

    with connect(serve(refuse)) as railway, pytest.raises(ResponseError, match="too much"):
        railway.upload(archive, **PLACE, message=None)
