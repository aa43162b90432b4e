"""The application and its accounts on a real PostgreSQL, in this process or as a server of its own."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.services.accounts import create_account
from app.settings import ROOT
from backend.tests.integration.quick import authorize, hash_once, make_quick_app

PASSWORD = "correct-horse-battery"
_READY_WITHIN = 60


@dataclasses.dataclass(frozen=True)
class Account:
    tenant_id: uuid.UUID
    email: str
    password: str = PASSWORD


@pytest.fixture
async def app(database_url: str, make_settings) -> AsyncIterator[FastAPI]:
    app = make_quick_app(make_settings(database_url=database_url, login_failure_limit=3))
    yield app
    await app.state.parts.database.close()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://maya.test") as client:
        yield client


@pytest.fixture
def make_account(app: FastAPI) -> Callable:
    """Creates an account that no other test knows; databases are shared."""

    async def make(business: str = "Test business") -> Account:
        email = f"Owner-{uuid.uuid4().hex}@maya.test"
        async with app.state.parts.database.session() as session:
            tenant_id = await create_account(
                session, business=business, email=email, user_name="Owner", password_hash=hash_once(PASSWORD)
            )
        return Account(tenant_id, email)

    return make


@pytest.fixture
async def account(make_account: Callable) -> Account:
    return await make_account()


@pytest.fixture
def log_in(client: httpx.AsyncClient) -> Callable:
    async def log_in(account: Account) -> dict[str, str]:
        response = await client.post("/api/auth/login", json={"email": account.email, "password": account.password})
        assert response.status_code == 200, response.text
        return {"Authorization": f"Bearer {response.json()['access_token']}"}

    return log_in


@pytest.fixture
async def authorized(app: FastAPI, account: Account) -> dict[str, str]:
    return await authorize(app, account.email)


@pytest.fixture
def phone_number() -> str:
    """A number that no other test uses."""
    return f"+1{uuid.uuid4().int % 10**12:012d}"


@dataclasses.dataclass(frozen=True)
class Server:
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=_READY_WITHIN)

    @property
    def entries(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


def uvicorn() -> list[str]:
    """The command of a release, on a free port of loopback."""
    web = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()[0].removeprefix("web:").split()
    return [sys.executable, "-m", *web[: web.index("--host")], "--host", "127.0.0.1", "--port", "0"]


@pytest.fixture
def run_backend() -> Callable:
    """Runs a command in the backend's folder until it ends."""

    def run(arguments: list[str], *, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            arguments, cwd=ROOT, env=os.environ | variables, input=stdin, capture_output=True, text=True, timeout=120
        )

    return run


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable]:
    """Starts a real server on a free port and waits until it listens, calling `meanwhile` with its log; reaps it."""
    with contextlib.ExitStack() as stack:

        def start(*, meanwhile: Callable[[str], None] = _look_on, **variables: str) -> Server:
            log = tmp_path / f"server-{uuid.uuid4().hex}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    uvicorn(), cwd=ROOT, env=os.environ | variables, stdout=output, stderr=output
                )
            stack.callback(_reap, process)
            return Server(_wait_for_url(process, log, meanwhile), process, log)

        yield start


@pytest.fixture
def uvicorn_command() -> list[str]:
    return uvicorn()


def _look_on(_log: str) -> None:
    """Do nothing while the server starts."""


def _wait_for_url(process: "subprocess.Popen[bytes]", log: Path, meanwhile: Callable[[str], None]) -> str:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        written = log.read_text(encoding="utf-8")
        if "Uvicorn running on" in written:
            return written.split("Uvicorn running on ")[1].split()[0]
        meanwhile(written)
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text(encoding='utf-8')}")


def _reap(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait(timeout=_READY_WITHIN)
