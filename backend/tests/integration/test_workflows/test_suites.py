"""The end-to-end suites against the real application: they pass, they leave no trace, and each fault makes them fail.

Between suites and application stands a proxy that breaks what it is told to: the proof that each check can fail.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import psycopg
import pytest

from app.settings import ROOT
from backend.tests.vendors.vendor_server import Answer, Cut, Reply, VendorRequest, VendorServer, answer_json
from fairlead._polling import wait_until
from fairlead.verification import Order, Outcome, discover, run_suites
from fairlead.verification.running import make_command, make_variables

REPOSITORY = ROOT.parent
PASSWORD = "password-of-the-suites"
ME = "/api/business/me"
SUITES = discover(REPOSITORY / "backend" / "tests" / "e2e")
SLOTS = itertools.count()

Spoil = Callable[[VendorRequest, "Backend"], Reply | None]


class Backend:
    """The real application, and what to do with the requests to it."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self.spoil: Spoil | None = None

    def handle(self, request: VendorRequest) -> Reply:
        spoilt = self.spoil(request, self) if self.spoil is not None else None
        return spoilt if spoilt is not None else self.forward(request)

    def forward(self, request: VendorRequest) -> Answer:
        left_out = {"host", "content-length", "connection", "accept-encoding"}
        headers = {name: value for name, value in request.headers.items() if name not in left_out}
        response = self.client.request(
            request.method, request.path, params=dict(request.query), content=request.body, headers=headers
        )
        kept = {"content-type", "location", "cache-control", "retry-after"}
        return Answer(
            response.status_code,
            response.content,
            {name: value for name, value in response.headers.items() if name in kept},
        )


@pytest.fixture(scope="module")
def url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of the application on this worker's database."""
    log = tmp_path_factory.mktemp("suites") / "server.log"
    variables = {"DATABASE_URL": database_url, "LOGIN_FAILURE_LIMIT": "1000", "RATE_LIMIT_LOGIN": "100000/minute"}
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=output, stderr=output)
    try:

        def find(_remaining: float) -> str | None:
            text = log.read_text("utf-8")
            assert process.poll() is None, text
            return text.split("Uvicorn running on ")[1].split()[0] if "Uvicorn running on" in text else None

        yield wait_until(find, timeout=60, what="the application", interval=0.05)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def email(database_url: str) -> str:
    address = f"verify-{uuid.uuid4().hex}@maya.test"
    command = [sys.executable, "-m", "app.create_user", "--email", address, "--business", "Verification"]
    variables = {"DATABASE_URL": database_url, "MAYA_PASSWORD": PASSWORD}
    subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=True, capture_output=True, timeout=60)
    return address


@pytest.fixture(scope="module")
def proxy(url: str) -> Iterator[tuple[VendorServer, Backend]]:
    backend = Backend(url)
    with VendorServer(backend.handle) as server, backend.client:
        yield server, backend


@pytest.fixture
def order(proxy: tuple[VendorServer, Backend], email: str, tmp_path: Path) -> Order:
    return Order(
        url=proxy[0].url,
        root=REPOSITORY,
        folder=tmp_path / "logs",
        login_path="/api/auth/login",
        timeout=60.0,
        environ=os.environ,
        account={"VERIFY_EMAIL": email, "VERIFY_PASSWORD": PASSWORD},
        without=("stripe", "google"),
    )


@pytest.fixture
def check_with(proxy: tuple[VendorServer, Backend], order: Order) -> Iterator[Callable[..., tuple[int, str]]]:
    """Give what runs checks of a suite while a fault is in the way; in this process, which is quicker.

    Those are the quick part, or `only` those of a name; the service may be said to be `without` something.
    """
    _, backend = proxy
    order.folder.mkdir()

    def run(
        name: str, spoil: Spoil | None = None, *, only: str = "", without: tuple[str, ...] = order.without
    ) -> tuple[int, str]:
        chosen = dataclasses.replace(order, smoke=not only, without=without)
        suite = next(one for one in SUITES if one.name == name)
        backend.spoil, output = spoil, io.StringIO()
        with (
            mock.patch.dict(os.environ, make_variables(chosen), clear=True),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            # Without the interpreter and its `-m pytest`.
            command = [*make_command(suite, chosen)[3:], *(["-k", only] if only else [])]
            code = pytest.main([os.fspath(part) for part in command])
        return int(code), output.getvalue()

    yield run
    backend.spoil = None


def test_they_pass_say_what_was_not_checked_and_leave_no_trace(order: Order, database_url: str, email: str) -> None:
    before = _read_settings(database_url, email)
    results = {one.suite.name: one for one in run_suites(SUITES, order)}
    told = {name: (one.outcome, one.exit_code, one.reason) for name, one in results.items()}
    assert {(one.outcome, one.exit_code) for one in results.values()} == {(Outcome.PASSED, 0)}, told
    assert {name for name, one in results.items() if one.count(Outcome.WITHOUT)} == {"calendar", "booking"}
    assert _read_settings(database_url, email) == before
    assert _count_left(database_url, email) == 0


def _count_left(database_url: str, email: str) -> int:
    """Count the bookings that still stand, and cancel them: they are no affair of the next test."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "UPDATE bookings SET status = 'cancelled', cancelled_at = now() FROM users"
            " WHERE users.tenant_id = bookings.tenant_id AND email = %s AND status <> 'cancelled'",
            [email],
        ).rowcount


def _read_settings(database_url: str, email: str) -> Any:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT tenants.name, timezone, phone_number, receptionist_enabled, greeting FROM users"
            " JOIN tenants ON tenants.id = users.tenant_id JOIN business_settings USING (tenant_id) WHERE email = %s",
            [email],
        ).fetchone()


def is_update(request: VendorRequest) -> bool:
    return (request.method, request.path) == ("PUT", ME)


def lose_updates(request: VendorRequest, backend: Backend) -> Reply | None:
    """Answer well to an update that is kept nowhere."""
    if not is_update(request) or "authorization" not in request.headers:
        return None
    allowed = {"Authorization": request.headers["authorization"]}
    before = backend.client.get(ME, headers=allowed).json()
    answer = backend.forward(request)
    names = ("name", "timezone", "phone_number", "receptionist_enabled", "greeting")
    backend.client.put(ME, headers=allowed, json={name: before[name] for name in names}).raise_for_status()
    return answer


def break_with(answer: Reply, *, method: str, path: str) -> Spoil:
    """Return what breaks an operation for those who may do it; whoever may not is refused before, as in a real one."""

    def spoil(request: VendorRequest, _: Backend) -> Reply | None:
        open_to_all = path in {"/api/auth/login", "/api/webhooks/stripe"}
        meant = (request.method, request.path) == (method, path)
        return answer if meant and (open_to_all or "authorization" in request.headers) else None

    return spoil


def forget_bookings(request: VendorRequest, _: Backend) -> Reply | None:
    known = request.method == "GET" and request.path.startswith("/api/bookings/")
    gone = {"status": 404, "error": "not_found", "detail": "There is no such booking."}
    return answer_json(gone, status=404) if known else None


def let_everybody_in(request: VendorRequest, backend: Backend) -> Reply | None:
    """Answer whoever has no token with what the last one with a token would get."""
    if "authorization" in request.headers or not request.path.startswith(ME):
        return None
    return answer_json({"id": str(uuid.uuid4()), "name": "Somebody's"})


TRACEBACK = Answer(500, b"Traceback (most recent call last)", {"Content-Type": "text/plain"})
HTML = Answer(500, b"<html><h1>500</h1></html>", {"Content-Type": "text/html"})
GARBAGE = Answer(200, b"\x00\xff{", {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        pytest.param(lose_updates, {"settings": 4, "phone": 4}, id="it loses updates"),
        pytest.param(break_with(HTML, method="PUT", path=ME), {"settings": 3, "phone": 3}, id="updates fail with HTML"),
        pytest.param(
            break_with(GARBAGE, method="GET", path=ME), {"settings": 2, "phone": 2}, id="it answers with garbage"
        ),
        pytest.param(
            break_with(HTML, method="POST", path="/api/auth/login"),
            {"settings": 1, "phone": 1, "calendar": 1, "booking": 1},
            id="nobody can log in",
        ),
        pytest.param(let_everybody_in, {"settings": 1}, id="it lets everybody in"),
        pytest.param(
            break_with(TRACEBACK, method="GET", path="/oauth/google/start"),
            {"calendar": 3},
            id="the way to Google fails without a word",
        ),
        pytest.param(forget_bookings, {"booking": 4}, id="it forgets bookings"),
        pytest.param(break_with(HTML, method="POST", path="/api/bookings"), {"booking": 3}, id="nothing can be booked"),
        pytest.param(
            break_with(answer_json({"received": True}), method="POST", path="/api/webhooks/stripe"),
            {"booking": 3},
            id="it takes webhooks that nobody signed",
        ),
    ],
)
def test_a_fault_makes_them_fail_in_its_phase(
    spoil: Spoil, codes: Mapping[str, int], check_with: Callable[..., tuple[int, str]]
) -> None:
    found = {name: check_with(name, spoil) for name in codes}
    assert {name: code for name, (code, _) in found.items()} == codes, [output for _, output in found.values()]


@pytest.mark.parametrize(("name", "lacks"), [("calendar", "Google"), ("booking", "Stripe")])
def test_quick_part_does_not_pass_a_service_that_lacks_what_nobody_declared(
    name: str, lacks: str, check_with: Callable[..., tuple[int, str]]
) -> None:
    code, output = check_with(name, without=())
    assert (code, f"the service says that {lacks} is not configured" in output) == (5, True), output


def accept_anything(request: VendorRequest, backend: Backend) -> Reply | None:
    """Take what must be refused, and keep something of it."""
    answer = backend.forward(request)
    if "authorization" not in request.headers or answer.status not in {409, 422}:
        return answer
    if is_update(request):
        kept: dict[str, Any] = {"name": "wrong", "greeting": "wrong"}
        if b"phone_number" in request.body:
            kept = {"phone_number": "+12025550199"}
    elif (request.method, request.path) == ("POST", "/api/bookings"):
        starts_at = datetime(2090, 1, 1, tzinfo=UTC) + timedelta(minutes=next(SLOTS) * 5)
        kept = {"customer_name": "wrong", "starts_at": starts_at.isoformat(), "duration_minutes": 5}
    else:
        return answer
    return backend.forward(dataclasses.replace(request, body=json.dumps(kept).encode()))


def is_booking(request: VendorRequest) -> bool:
    return (request.method, request.path) == ("POST", "/api/bookings") and "authorization" in request.headers


def lose_bookings(request: VendorRequest, backend: Backend) -> Reply | None:
    """Book, and lose the answer."""
    return Cut(backend.forward(request)) if is_booking(request) else None


def interrupt_bookings(request: VendorRequest, backend: Backend) -> Reply | None:
    """Break the suite off while it books."""
    if not is_booking(request):
        return None
    os.kill(os.getpid(), signal.SIGTERM)  # the suite runs in this process, and takes it for an interrupt
    return Cut(backend.forward(request))


def fail_to_cancel(request: VendorRequest, _: Backend) -> Reply | None:
    return HTML if request.path.endswith("/cancel") else None


@pytest.mark.parametrize(
    ("name", "only", "spoil", "code"),
    [
        pytest.param("settings", "refused", accept_anything, 3, id="it accepts settings that are none"),
        pytest.param("phone", "refused", accept_anything, 3, id="it accepts numbers that are none"),
        pytest.param("booking", "refused or twice", accept_anything, 3, id="it accepts bookings that are none"),
        pytest.param("booking", "twice", lose_bookings, 3, id="it books and loses the answer"),
        pytest.param("booking", "twice", interrupt_bookings, 5, id="it is broken off while it books"),
    ],
)
def test_what_a_faulty_service_kept_is_undone(
    name: str,
    only: str,
    spoil: Spoil,
    code: int,
    check_with: Callable[..., tuple[int, str]],
    database_url: str,
    email: str,
) -> None:
    before = _read_settings(database_url, email)
    found, output = check_with(name, spoil, only=only)
    assert (found, _read_settings(database_url, email), _count_left(database_url, email)) == (code, before, 0), output


def test_booking_that_is_left_behind_fails_a_check_that_was_left_out(
    check_with: Callable[..., tuple[int, str]], database_url: str, email: str
) -> None:
    code, output = check_with("booking", fail_to_cancel, only="payment_link_is_made_once")
    assert (code, _count_left(database_url, email)) == (4, 1), output
