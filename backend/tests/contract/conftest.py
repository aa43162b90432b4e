"""A server of its own on a real PostgreSQL, its vendors on loopback, and an owner's account, to try every operation."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.settings import ROOT
from backend.tests.vendors import anthropic_server
from backend.tests.vendors.anthropic_server import AnthropicServer
from backend.tests.vendors.google_server import GoogleServer
from backend.tests.vendors.stripe_server import API_KEY, WEBHOOK_SECRET, StripeServer

SEEDS = "CONTRACT_SEEDS"
_EMAIL = "owner@contract.test"
_PASSWORD = "correct-horse-battery"
_READY_WITHIN = 60
#: The request id of what is made beforehand.
_PREPARING = "made-beforehand"
#: Limits are tested by tests of their own; here they would only hide what is behind them.
_LIMITS = {
    "LOGIN_FAILURE_LIMIT": "1000",
    "LOGIN_FAILURE_WINDOW": "1",
    "RATE_LIMIT": "off",
    "RATE_LIMIT_LOGIN": "off",
}


@dataclasses.dataclass(frozen=True)
class Service:
    """Where the service answers, its owner's token, and a booking and a payment that are there already.

    In its log, requests with the id `preparing` are those that made these.
    """

    url: str
    token: str
    booking: str
    payment: str
    log: Path
    preparing: str = _PREPARING


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [int(seed) for seed in os.environ.get(SEEDS, "1").split(",")])


@pytest.fixture
def vendors() -> Iterator[dict[str, str]]:
    """Gives the variables that lead to vendors which answer well; how they fail is tested elsewhere."""
    with contextlib.ExitStack() as stack:
        stripe, google = stack.enter_context(StripeServer()), stack.enter_context(GoogleServer())
        anthropic = stack.enter_context(AnthropicServer())
        yield {
            "ANTHROPIC_API_KEY": anthropic_server.API_KEY,
            "ANTHROPIC_BASE_URL": anthropic.url,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_API_KEY": API_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            **{name.upper(): value for name, value in google.settings.items()},
        }


@pytest.fixture
def service(migrated_database_url: str, vendors: dict[str, str], tmp_path: Path) -> Iterator[Service]:
    """Starts the application as a release does, and logs its owner in."""
    variables = os.environ | vendors | _LIMITS | {"DATABASE_URL": migrated_database_url, "LOG_LEVEL": "INFO"}
    created = subprocess.run(
        [sys.executable, "-m", "app.create_user", "--email", _EMAIL, "--business", "Contract"],
        cwd=ROOT,
        env=variables | {"MAYA_PASSWORD": _PASSWORD},
        capture_output=True,
        text=True,
        timeout=_READY_WITHIN,
    )
    assert created.returncode == 0, created.stderr
    log = tmp_path / "server.log"
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output)
    try:
        url = _wait_for_url(process, log)
        with httpx.Client(base_url=url, timeout=30, headers={"X-Request-ID": _PREPARING}) as client:
            token = _post(client, "/api/auth/login", email=_EMAIL, password=_PASSWORD)["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            unpaid, asked = (_book(client, hour) for hour in (9, 10))
            payment = _post(client, f"/api/bookings/{asked}/payment-link")["id"]
        yield Service(url, token, unpaid, payment, log)
    finally:
        process.kill()
        process.wait(timeout=_READY_WITHIN)


def _book(client: httpx.Client, hour: int) -> str:
    starts_at = f"2031-01-01T{hour:02d}:00:00Z"
    booking = _post(
        client, "/api/bookings", customer_name="A", starts_at=starts_at, duration_minutes=30, amount="10.00"
    )
    return str(booking["id"])


def _post(client: httpx.Client, path: str, **content: object) -> dict[str, str]:
    answer = client.post(path, json=content) if content else client.post(path)
    assert answer.is_success, answer.text
    return dict(answer.json())


def _wait_for_url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        written = log.read_text(encoding="utf-8")
        if "Uvicorn running on" in written:
            return written.split("Uvicorn running on ")[1].split()[0]
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
