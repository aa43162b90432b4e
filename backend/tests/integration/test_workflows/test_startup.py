"""The real server process: how it starts, and what a newcomer sees when it cannot."""

import json
import socket
import threading

import httpx
import pytest
from sqlalchemy.engine import make_url


def test_a_server_starts_serves_and_stops(serve, database_url, tmp_path):
    build = tmp_path / "build-info.json"
    digest = "sha256:" + "cd" * 32
    build.write_text(json.dumps({"version": "3.1.4", "digest": digest}))

    server = serve(DATABASE_URL=database_url, BUILD_INFO=str(build))
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/api/health").json()["version"] == "3.1.4"
        assert client.get("/api/v1/version").json()["digest"] == digest
        assert client.get("/nope", headers={"X-Request-ID": "trace-7"}).headers["x-request-id"] == "trace-7"
    server.stop()

    entries = server.entries
    assert {entry["level"] for entry in entries} <= {"info", "debug"}
    assert [entry["message"] for entry in entries][-1].startswith("Finished server process")
    logged = [entry for entry in entries if entry.get("request_id") == "trace-7"]
    assert [(entry["method"], entry["path"], entry["status"]) for entry in logged] == [("GET", "/nope", 404)]
    assert make_url(database_url).password not in server.log.read_text()


def test_invalid_configuration_stops_with_one_message_naming_every_variable(run_backend, uvicorn_command):
    done = run_backend(uvicorn_command, ENVIRONMENT="prod", JWT_SECRET_KEY="hunter22", HEALTH_TIMEOUT="soon")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("The backend cannot start") == 1
    for variable in ("ENVIRONMENT", "DATABASE_URL", "JWT_SECRET_KEY", "ENCRYPTION_KEY", "HEALTH_TIMEOUT"):
        assert f"  {variable} " in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter22" not in done.stderr


def test_malformed_build_information_stops_with_one_message(run_backend, uvicorn_command, database_url, tmp_path):
    path = tmp_path / "build-info.json"
    path.write_text("[]")

    done = run_backend(uvicorn_command, DATABASE_URL=database_url, BUILD_INFO=str(path))

    assert done.returncode == 1
    assert f"{path} does not describe a build" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def closed_port():
    """A port that stays taken without listening, so that connecting to it is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_without_a_database_the_server_retries_says_why_and_exits(run_backend, uvicorn_command, closed_port):
    done = run_backend(
        uvicorn_command,
        DATABASE_URL=f"postgresql://maya:hunter22@127.0.0.1:{closed_port}/maya",
        DATABASE_STARTUP_TIMEOUT="1",
    )

    assert done.returncode != 0
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    retries = [entry for entry in entries if entry["level"] == "warning"]
    assert len(retries) >= 2
    assert "refused" in retries[0]["reason"]
    final = [entry["message"] for entry in entries if "The backend cannot start" in entry["message"]]
    assert len(final) == 1
    assert f"maya@127.0.0.1:{closed_port}/maya did not answer within 1 s" in final[0]
    assert "DATABASE_URL" in final[0]
    assert "Traceback" not in done.stderr
    assert "hunter22" not in done.stderr + done.stdout


def test_a_wrong_password_is_told_without_printing_it(run_backend, uvicorn_command, database_url):
    wrong = make_url(database_url).set(password="hunter22-wrong").render_as_string(hide_password=False)

    done = run_backend(uvicorn_command, DATABASE_URL=wrong, DATABASE_STARTUP_TIMEOUT="0")

    assert done.returncode != 0
    assert "password authentication failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter22" not in done.stderr


def test_a_database_that_comes_late_is_waited_for(serve, database_url):
    url = make_url(database_url)
    with socket.socket() as gate:
        gate.bind(("127.0.0.1", 0))
        late = url.set(host="127.0.0.1", port=gate.getsockname()[1]).render_as_string(hide_password=False)
        closing = threading.Event()
        forwarding = threading.Thread(target=forward, args=(gate, (url.host, url.port or 5432), closing))

        def open_after_the_first_failure(log):
            if "does not answer yet" in log and not forwarding.is_alive():
                gate.listen()
                forwarding.start()

        server = serve(DATABASE_URL=late, DATABASE_STARTUP_TIMEOUT="60", meanwhile=open_after_the_first_failure)
        assert httpx.get(f"{server.url}/api/health").status_code == 200
        server.stop()
        closing.set()
        forwarding.join(timeout=30)

    assert any("does not answer yet" in entry["message"] for entry in server.entries)


def forward(gate, target, closing):
    """Let every connection of a listening socket through to `target`, until `closing` is set."""
    gate.settimeout(0.1)
    while not closing.is_set():
        try:
            inbound, _ = gate.accept()
        except TimeoutError:
            continue
        inbound.settimeout(None)
        outbound = socket.create_connection(target)
        for source, sink in ((inbound, outbound), (outbound, inbound)):
            threading.Thread(target=copy, args=(source, sink), daemon=True).start()


def copy(source, sink):
    with source:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
