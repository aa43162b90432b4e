"""A small service that keeps one note, and that can be broken in the ways in which services are; for suites to find."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

EMAIL, PASSWORD, TOKEN = "owner@notes.test", "password-of-the-notes", "token-of-the-owner-0123456789"
CREDENTIALS = {"VERIFY_EMAIL": EMAIL, "VERIFY_PASSWORD": PASSWORD}

#: A suite of the service as somebody would write it: it restores what it changes.
SUITE = """
import pytest

SUITE_ORDER = {order}

@pytest.mark.smoke
def test_a_note_is_kept(account, phase):
    with phase("fetch"):
        before = account.get("/api/note").object()["text"]
    try:
        with phase("update"):
            account.put("/api/note", {{"text": "changed"}}).object()
        with phase("persistence"):
            assert account.get("/api/note").object()["text"] == "changed"
    finally:
        account.put("/api/note", {{"text": before}})

def test_nobody_reads_without_a_token(api, phase):
    with phase("authentication"):
        api.get("/api/note").problem(401)
"""
#: A check of what the service does not have.
LEDGER = """
def test_the_ledger_balances(account, phase, not_checked):
    with phase("integration"):
        reply = account.get("/api/ledger")
        problem = reply.problem(503)
    not_checked(problem["detail"], integration="ledger")
"""


class Notes(ThreadingHTTPServer):
    """The service; `fault` breaks it from the next request on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.note = "as it was"
        self.written: list[str] = []
        self.fault = ""
        self.digest = "sha256:the-notes"
        self.hanging = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that was broken off has gone.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def hang(self) -> None:
        self.hanging.set()
        self.released.wait(30)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Notes

    def do_GET(self) -> None:
        if self.path in {"/api/health", "/api/v1/version"}:
            self._send(200, {"status": "pass", "digest": self.server.digest})
        elif self.path == "/api/ledger":
            self._problem(503, "ledger_not_configured", "There is no ledger here.")
        elif self._is_let_in():
            if self.server.fault == "garbage":
                self._send_raw(200, b"\x00\xffgarbage", "application/json")
            elif self.server.fault == "list":
                self._send(200, ["not", "an", "object"])
            else:
                self._send(200, {"text": self.server.note})

    def do_PUT(self) -> None:
        text = self._read()["text"]
        if not self._is_let_in():
            return
        if self.server.fault == "html":
            self._send_raw(500, b"<html>Internal Server Error</html>", "text/html")
        elif self.server.fault == "hang" and text == "changed":
            self.server.hang()
        else:
            if self.server.fault != "loses":
                self.server.note = text
            self.server.written.append(text)
            if self.server.fault == "replaced":
                self.server.digest = "sha256:another-release"
            if self.server.fault == "hang after":
                self.server.fault = ""
                self.server.hang()
            self._send(200, {"text": text})

    def do_POST(self) -> None:
        given = self._read()
        if given != {"email": EMAIL, "password": PASSWORD} or self.server.fault == "locked out":
            self._problem(401, "wrong_credentials", f"The password {given['password']} is wrong.")
        else:
            self._send(200, {"access_token": TOKEN, "token_type": "bearer"})

    def _is_let_in(self) -> bool:
        if self.server.fault == "open" or self.headers["Authorization"] == f"Bearer {TOKEN}":
            return True
        self._problem(401, "not_authenticated", "This needs a token.")
        return False

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def _problem(self, status: int, code: str, detail: str) -> None:
        self._send(status, {"status": status, "error": code, "detail": detail})

    def _send(self, status: int, content: Any) -> None:
        self._send_raw(status, json.dumps(content).encode(), "application/json")

    def _send_raw(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving_notes() -> Iterator[Notes]:
    """Serve on a free port of loopback."""
    with Notes() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join(30)


def write_suite(folder: Path, name: str, *, order: object = None, text: str = SUITE) -> Path:
    """Write a suite into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"test_{name}.py"
    if text == SUITE:
        text = SUITE.format(order=order) if order is not None else SUITE.format(order=0).replace("SUITE_ORDER = 0", "")
    file.write_text(text, "utf-8")
    return file
