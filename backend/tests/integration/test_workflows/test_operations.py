"""The real server process under what operations brings: a stop, a database that goes and comes, endless headers."""

import concurrent.futures
import contextlib
import http.client
import itertools
import signal
import socket
import threading
import time
import uuid
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.security import Tokens
from backend.tests.integration.quick import insert_owner

PATIENCE = 60
KEY = "operations-" + uuid.uuid4().hex


@pytest.fixture
def tenant(migrated_database_url):
    """A tenant with its owner, in a database of its own."""
    return insert_owner(migrated_database_url, "Operations")


@pytest.fixture
def authorized(tenant):
    return {"Authorization": f"Bearer {Tokens([KEY], lifetime=600).issue(tenant)}"}


def wait_until(holds, what):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def test_a_stop_answers_every_request_that_was_taken(serve, migrated_database_url, tenant, authorized):
    server = serve(DATABASE_URL=migrated_database_url, JWT_SECRET_KEY=KEY)
    address = urlsplit(server.url)
    number = 8

    def change(index):
        with httpx.Client(base_url=server.url, headers=authorized, timeout=PATIENCE) as client:
            return client.put("/api/business/me", json={"greeting": f"Hello {index}"})

    with (
        psycopg.connect(migrated_database_url) as holding,
        psycopg.connect(migrated_database_url, autocommit=True) as watching,
        concurrent.futures.ThreadPoolExecutor(number) as pool,
        socket.create_connection((address.hostname, address.port)),
    ):
        holding.execute("SELECT FROM business_settings WHERE tenant_id = %s FOR UPDATE", (tenant.tenant_id,))
        answers = [pool.submit(change, index) for index in range(number)]
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        wait_until(lambda: watching.execute(waiting).fetchone()[0] == number, "every request waits for the lock")

        server.process.terminate()
        wait_until(lambda: "Shutting down" in server.log.read_text(), "the server heard of its end")
        wait_until(lambda: not accepts(address), "nobody is let in any more")
        assert server.process.poll() is None
        holding.rollback()
        responses = [answer.result(timeout=PATIENCE) for answer in answers]

    assert [response.status_code for response in responses] == [200] * number
    assert {response.headers["connection"] for response in responses} == {"close"}
    # uvicorn hands the signal on once it is done.
    assert server.process.wait(timeout=PATIENCE) in {0, -signal.SIGTERM}
    assert server.entries[-1]["message"].startswith("Finished server process")
    assert not [entry for entry in server.entries if entry["level"] in {"error", "warning"}]


def test_clients_that_keep_their_connections_lose_nothing_by_a_stop(serve, database_url):
    server = serve(DATABASE_URL=database_url)
    address = urlsplit(server.url)
    outcomes = []

    def ask_on_and_on(ready):
        while True:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
            try:
                connection.connect()
            except OSError:
                # Nobody is let in any more, or what the system had let in was never taken: not a request was lost.
                return
            for number in itertools.count():
                try:
                    connection.request("GET", "/api/live")
                    response = connection.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException) as error:
                    if number:
                        outcomes.append(error)
                    break
                outcomes.append(response.status)
                ready.set()
                if response.getheader("connection") == "close":
                    outcomes.append("told")
                    break
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ready = [threading.Event() for _ in range(8)]
        clients = [pool.submit(ask_on_and_on, event) for event in ready]
        for event in ready:
            assert event.wait(PATIENCE)
        server.process.terminate()
        concurrent.futures.wait(clients, timeout=PATIENCE)

    assert set(outcomes) == {200, "told"}
    assert outcomes.count("told") >= len(ready)
    assert server.process.wait(timeout=PATIENCE) in {0, -signal.SIGTERM}


def accepts(address):
    try:
        with socket.create_connection((address.hostname, address.port), timeout=1):
            return True
    except OSError:
        return False


class Gate:
    """Lets connections through to a database, until it is closed and with it all that went through."""

    def __init__(self, target):
        self.target = target
        self.port = 0
        self.listener = None
        self.passing = []

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def close(self):
        # Whoever waits in accept() wakes by the shutdown alone.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for passing in self.passing:
            with contextlib.suppress(OSError):
                passing.shutdown(socket.SHUT_RDWR)
        self.passing.clear()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                inbound, _ = listener.accept()
                outbound = socket.create_connection(self.target)
                self.passing += [inbound, outbound]
                for source, sink in ((inbound, outbound), (outbound, inbound)):
                    threading.Thread(target=copy, args=(source, sink), daemon=True).start()


def copy(source, sink):
    with contextlib.suppress(OSError), source:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)


def test_requests_follow_the_database_down_and_up_again_without_a_restart(serve, migrated_database_url, authorized):
    url = make_url(migrated_database_url)
    gate = Gate((url.host, url.port or 5432))
    gate.open()
    through = url.set(host="127.0.0.1", port=gate.port).render_as_string(hide_password=False)
    server = serve(DATABASE_URL=through, JWT_SECRET_KEY=KEY, HEALTH_CACHE_SECONDS="0.1")
    with httpx.Client(base_url=server.url, headers=authorized, timeout=PATIENCE) as client:

        def statuses():
            change = client.put("/api/business/me", json={"greeting": "Hello"})
            return [
                client.get("/api/business/me").status_code,
                change.status_code,
                client.get("/api/health").status_code,
            ]

        assert statuses() == [200, 200, 200]
        gate.close()
        wait_until(lambda: client.get("/api/health").status_code == 503, "the health fails")
        assert statuses() == [503, 503, 503]
        refused = client.get("/api/business/me")
        assert (refused.json()["error"], refused.headers["retry-after"]) == ("database_unavailable", "5")
        assert client.get("/api/live").status_code == 200
        gate.open()
        wait_until(lambda: client.get("/api/health").status_code == 200, "the health passes again")
        assert statuses() == [200, 200, 200]
    gate.close()
    assert server.process.poll() is None
    assert not [entry for entry in server.entries if "exception" in entry]


def exchange(url, request, *, until=b"}"):
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        for piece in request:
            try:
                connection.sendall(piece)
            except OSError:
                break
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while not received.endswith(until) and (data := connection.recv(65536)):
                received += data
    return received


def test_a_head_that_does_not_end_is_refused_while_it_arrives(serve, database_url):
    server = serve(DATABASE_URL=database_url)

    endless = [b"GET /api/live HTTP/1.1\r\nHost: maya.test\r\nX-Endless: "] + [b"x" * 1024] * 1024
    received = exchange(server.url, endless)

    assert received.startswith(b"HTTP/1.1 431 ")
    assert b'"error":"headers_too_large"' in received
    # What is large but ends is refused by the application, and what follows on other connections is served.
    many = [b"GET /api/business/me HTTP/1.1\r\nHost: maya.test\r\n", b"X-One: 1\r\n" * 150, b"\r\n"]
    assert exchange(server.url, many).startswith(b"HTTP/1.1 431 ")
    body = [b"POST /api/auth/login HTTP/1.1\r\nHost: maya.test\r\nContent-Length: 65000\r\n\r\n", b"x" * 65000]
    assert exchange(server.url, body).startswith(b"HTTP/1.1 422 ")
    response = httpx.get(f"{server.url}/api/live")
    assert response.status_code == 200
    assert "server" not in response.headers
