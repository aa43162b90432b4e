"""The assistant over HTTP, on a real database, with Anthropic's own SDK against a loopback server."""

import asyncio
import json
import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg.rows import dict_row
from sqlalchemy import select

from app.application import create_app
from app.models.tables import User
from app.security import Identity
from app.services.accounts import create_account
from app.services.assistant import Assistant
from app.services.assistant_prompt import DECLINED, LONGEST_REPLY
from backend.tests.integration.quick import make_quick_app
from backend.tests.vendors.anthropic_server import API_KEY, OUTPUT_TOKENS, REPLY, AnthropicServer, error, message
from backend.tests.vendors.vendor_server import Answer, Cut, Drip, Garbage, Hang, answer_json

pytestmark = pytest.mark.anyio

ASKED = "Do you have time on Friday? canary-of-a-caller"
COST = Decimal("0.000525")
#: Tokens that one answer may have at most, and what they alone cost.
MOST_OUTPUT = 400
MOST_OUTPUT_COST = Decimal("0.002")


@pytest.fixture
def anthropic() -> Iterator[AnthropicServer]:
    with AnthropicServer() as server:
        yield server


@pytest.fixture
def values() -> dict[str, Any]:
    """What a test sets beside the address."""
    return {}


@pytest.fixture
async def app(database_url: str, make_settings, anthropic, values) -> AsyncIterator[FastAPI]:
    given = {
        "database_url": database_url,
        "anthropic_api_key": API_KEY,
        "anthropic_base_url": anthropic.url,
        "assistant_timeout": 60,
        "rate_limit": "off",
    }
    app = make_quick_app(make_settings(**(given | values)))
    yield app
    await app.state.parts.assistant.close()
    await app.state.parts.database.close()


@pytest.fixture
def log_in_as(app: FastAPI) -> Callable:
    """Makes an account that no other test knows, and a token for it: logging in is tested elsewhere, and slow."""

    async def log_in_as() -> tuple[uuid.UUID, dict[str, str]]:
        parts = app.state.parts
        async with parts.database.session() as session:
            tenant_id = await create_account(
                session,
                business="Test business",
                email=f"owner-{uuid.uuid4().hex}@maya.test",
                user_name="Owner",
                password_hash="$argon2id$none",
            )
            user_id = await session.scalar(select(User.id).where(User.tenant_id == tenant_id))
        token = parts.authenticator.tokens.issue(Identity(user_id, tenant_id))
        return tenant_id, {"Authorization": f"Bearer {token}"}

    return log_in_as


@pytest.fixture
async def logged_in(log_in_as: Callable) -> tuple[uuid.UUID, dict[str, str]]:
    return await log_in_as()


@pytest.fixture
def tenant_id(logged_in: tuple[uuid.UUID, dict[str, str]]) -> uuid.UUID:
    return logged_in[0]


@pytest.fixture
def authorized(logged_in: tuple[uuid.UUID, dict[str, str]]) -> dict[str, str]:
    return logged_in[1]


@pytest.fixture
def ask(client: httpx.AsyncClient, authorized: dict[str, str]) -> Callable:
    async def ask(text: str = ASKED, **more: Any) -> httpx.Response:
        return await client.post("/api/assistant/reply", json={"message": text} | more, headers=authorized)

    return ask


@pytest.fixture
def usage(database_url: str, tenant_id: uuid.UUID) -> Callable:
    def read(tenant_id: uuid.UUID = tenant_id) -> dict[str, Any] | None:
        with psycopg.connect(database_url, row_factory=dict_row) as connection:
            return connection.execute("SELECT * FROM assistant_usage WHERE tenant_id = %s", [tenant_id]).fetchone()

    return read


async def wait_until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads and in the database
            await asyncio.sleep(0.01)


async def test_caller_is_answered_from_the_settings_of_the_business(ask, anthropic, client, authorized, usage):
    settings = {"timezone": "Europe/Berlin", "greeting": "Moin, Studio Nord!"}
    assert (await client.put("/api/business/me", json=settings, headers=authorized)).status_code == 200
    answer = await ask(caller="+4915112345678")

    assert (answer.status_code, answer.json()) == (
        200,
        {"reply": REPLY, "model": "claude-haiku-4-5", "stopped": "end"},
    )
    assert answer.headers["cache-control"] == "no-store"
    [request] = anthropic.requests
    sent = request.json
    assert sent["messages"] == [{"role": "user", "content": ASKED}]
    assert (sent["model"], sent["max_tokens"]) == ("claude-haiku-4-5", 400)
    assert "Moin, Studio Nord!" in sent["system"]
    assert "Test business" in sent["system"]
    assert ASKED not in sent["system"]
    assert b"4915112345678" not in request.body
    used = usage()
    assert (used["answers"], used["input_tokens"], used["output_tokens"]) == (1, 420, 21)
    assert (used["cost"], used["reserved"]) == (COST, 0)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (message("Hello", stop_reason="max_tokens"), {"reply": "Hello", "stopped": "length"}),
        (message("I c", stop_reason="refusal"), {"reply": DECLINED, "stopped": "end"}),
        (message(None, stop_reason="refusal"), {"reply": DECLINED, "stopped": "end"}),
        (message(" \x1b[31mHi\x07\u202e there \n"), {"reply": "[31mHi there", "stopped": "end"}),
        (message("x" * 5000), {"reply": "x" * (LONGEST_REPLY - 1) + "…", "stopped": "length"}),
        (message("Hi", usage={"input_tokens": "many"}), {"reply": "Hi", "stopped": "end"}),
        (message("Hi", content=[{"type": "new"}, {"type": "text", "text": "Yes"}]), {"reply": "Yes", "stopped": "end"}),
    ],
    ids=["cut at the limit", "declined", "declined without words", "control", "long", "no usage", "unknown block"],
)
async def test_answer_is_plain_and_bounded(ask, anthropic, usage, reply, expected):
    anthropic.script(reply)
    answer = await ask()

    assert (answer.status_code, answer.json()) == (200, {"model": "claude-haiku-4-5"} | expected)
    assert usage()["cost"] >= COST
    assert usage()["reserved"] == 0


#: What a model fails with, how often it is asked then, and how many of those times may have to be paid for.
FAILURES = {
    "401": ([error(401, "authentication_error", API_KEY)], 1, 0),
    "403": ([error(403, "permission_error", "no")], 1, 0),
    "400": ([error(400, "invalid_request_error", ASKED)], 1, 0),
    "404": ([error(404, "not_found_error", "model: claude-none")], 1, 0),
    "429": ([error(429, "rate_limit_error", "slow down", retry_after="50")], 1, 0),
    "500": ([error(500, "api_error", "Internal server error")] * 2, 2, 0),
    "529": ([error(529, "overloaded_error", "Overloaded")] * 2, 2, 0),
    "529, then 401": ([error(529, "overloaded_error", "Overloaded"), error(401, "authentication_error", "no")], 2, 0),
    "garbage": ([Garbage()] * 2, 2, 2),
    "cut": ([Cut(message("Hello"), after=20)] * 2, 2, 2),
    "cut, then 529": ([Cut(message("Hello"), after=20), error(529, "overloaded_error", "Overloaded")], 2, 1),
    "html": ([Answer(200, b"<html>", {"Content-Type": "text/html"})], 1, 1),
    "half": ([Answer(200, b"{", {"Content-Type": "application/json"})], 1, 1),
    "another object": ([answer_json({"ok": True})], 1, 1),
    "a list": ([answer_json([])], 1, 1),
    "null": ([answer_json(None)], 1, 1),
    "content of another kind": ([message("", content="text")], 1, 1),
}


@pytest.mark.parametrize(("replies", "asked", "paid"), FAILURES.values(), ids=FAILURES)
async def test_failing_model_is_a_503_that_counts_what_it_may_cost(
    ask, anthropic, usage, replies, asked, paid, monkeypatch, caplog
):
    monkeypatch.setattr("app.services.assistant_model._PAUSE", 0.0)
    caplog.set_level("DEBUG")
    anthropic.script(*replies)
    answer = await ask()

    assert (answer.status_code, answer.json()["error"]) == (503, "assistant_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert len(anthropic.requests) == asked
    used = usage()
    assert (used["reserved"], used["answers"], used["output_tokens"]) == (0, 0, paid * MOST_OUTPUT)
    assert (used["cost"] > MOST_OUTPUT_COST * paid) is (paid > 0)
    for canary in (API_KEY, "canary-of-a-caller"):
        assert canary not in caplog.text + answer.text


async def test_model_that_cannot_be_reached_costs_nothing(app, ask, usage, monkeypatch):
    monkeypatch.setattr("app.services.assistant_model._PAUSE", 0.0)
    client = await asyncio.wrap_future(app.state.parts.assistant.model.load())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client.base_url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        answer = await ask()

    assert (answer.status_code, answer.json()["error"]) == (503, "assistant_unavailable")
    assert (usage()["cost"], usage()["reserved"]) == (0, 0)


async def test_answer_after_one_that_was_cut_costs_both(ask, anthropic, usage, monkeypatch):
    monkeypatch.setattr("app.services.assistant_model._PAUSE", 0.0)
    anthropic.script(Cut(message("Hello"), after=20))

    assert (await ask()).json()["reply"] == REPLY
    used = usage()
    assert (used["reserved"], used["answers"]) == (0, 1)
    assert used["output_tokens"] == MOST_OUTPUT + OUTPUT_TOKENS
    assert used["cost"] > MOST_OUTPUT_COST + COST


@pytest.mark.parametrize("failure", [error(529, "overloaded_error", "Overloaded"), Garbage()], ids=["529", "garbage"])
async def test_model_that_fails_once_is_asked_again(ask, anthropic, failure):
    anthropic.script(failure)

    assert (await ask()).json()["reply"] == REPLY


async def test_answer_without_words_is_a_503_but_paid_for(ask, anthropic, usage):
    anthropic.script(message(None))

    assert (await ask()).json()["error"] == "assistant_unavailable"
    assert (usage()["cost"], usage()["reserved"]) == (COST, 0)


@pytest.mark.parametrize("reply", [Hang(), Drip(message(REPLY))], ids=["hang", "drops"])
async def test_model_that_takes_too_long_is_a_504(app, ask, anthropic, usage, reply, monkeypatch):
    # The SDK may take longer to load than this test allows for an answer.
    await asyncio.wrap_future(app.state.parts.assistant.model.load())
    settings = app.state.parts.settings.model_copy(update={"assistant_timeout": 0.2})
    monkeypatch.setattr(app.state.parts.assistant.model, "_settings", settings)
    anthropic.script(reply)
    answer = await ask()

    assert (answer.status_code, answer.json()["error"]) == (504, "assistant_timeout")
    assert (usage()["reserved"], usage()["output_tokens"]) == (0, MOST_OUTPUT)
    assert usage()["cost"] > MOST_OUTPUT_COST
    anthropic.release()


class TestTightLimit:
    @pytest.fixture
    def values(self) -> dict[str, Any]:
        return {"assistant_daily_cost_limit": "0.05"}

    async def test_many_at_once_never_pass_the_limit(self, ask, anthropic, usage):
        answers = await asyncio.gather(*(ask() for _ in range(50)))

        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 429}
        used = usage()
        assert used["cost"] == statuses[200] * COST
        assert used["cost"] <= Decimal("0.05")
        assert used["reserved"] == 0
        assert len(anthropic.requests) == statuses[200]

    async def test_reservations_at_the_same_time_never_pass_the_limit(self, ask, anthropic, usage):
        anthropic.script(*[Hang()] * 50)
        asking = [asyncio.create_task(ask()) for _ in range(50)]
        await wait_until(lambda: sum(task.done() for task in asking) + len(anthropic.requests) == 50)
        assert {task.result().status_code for task in asking if task.done()} == {429}
        held = usage()["reserved"]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

        assert 0 < held <= Decimal("0.05")
        await wait_until(lambda: usage()["reserved"] == 0)
        # Whoever hung up asked all the same.
        assert MOST_OUTPUT_COST * len(anthropic.requests) < usage()["cost"] <= Decimal("0.05")
        anthropic.release()

    async def test_spent_day_is_a_429_until_midnight_and_no_other_business_pays(
        self, app, ask, anthropic, usage, log_in_as, client, database_url, tenant_id
    ):
        noon = datetime(2026, 5, 4, 23, 59, 30, 500000, tzinfo=UTC)
        parts = app.state.parts
        parts.assistant._now = lambda: noon
        assert (await ask()).status_code == 200
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE assistant_usage SET cost = 0.05 WHERE tenant_id = %s", [tenant_id])
        answer = await ask()

        assert (answer.status_code, answer.json()["error"]) == (429, "assistant_limit_reached")
        assert answer.headers["retry-after"] == "30"
        other, token = await log_in_as()
        elsewhere = await client.post("/api/assistant/reply", json={"message": ASKED}, headers=token)
        assert elsewhere.status_code == 200
        assert usage(other)["cost"] == COST
        assert usage()["cost"] == Decimal("0.05")
        parts.assistant._now = lambda: datetime(2026, 5, 5, tzinfo=UTC)
        assert (await ask()).status_code == 200


class TestNoMoney:
    @pytest.fixture
    def values(self) -> dict[str, Any]:
        return {"assistant_daily_cost_limit": "0"}

    async def test_limit_of_nothing_refuses_everything(self, ask, anthropic, usage):
        assert (await ask()).status_code == 429
        assert anthropic.requests == ()
        assert usage() is None


async def test_caller_who_goes_away_frees_what_was_held_but_for_what_was_asked(app, authorized, anthropic, usage):
    anthropic.script(Hang())
    body = json.dumps({"message": ASKED}).encode()
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
    headers = {"host": "maya.test", "content-type": "application/json"} | authorized
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/assistant/reply",
        "raw_path": b"/api/assistant/reply",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("maya.test", 80),
    }
    sent = []

    async def send(part: Any) -> None:
        sent.append(part)

    asking = asyncio.create_task(app(scope, messages.get, send))
    await wait_until(lambda: anthropic.requests)
    assert usage()["reserved"] > 0
    messages.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(asking, 30)

    assert (usage()["reserved"], usage()["output_tokens"]) == (0, MOST_OUTPUT)
    assert usage()["cost"] > MOST_OUTPUT_COST


async def test_no_connection_is_held_while_the_model_is_asked(app, ask, anthropic):
    anthropic.script(Hang())
    asking = asyncio.create_task(ask())
    await wait_until(lambda: anthropic.requests)

    database = app.state.parts.database
    assert (database.sessions_in_use, database.reads.in_use) == (0, 0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    anthropic.release()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": ""},
        {"message": "   "},
        {"message": "x" * 2001},
        {"message": 5},
        {"message": "null \x00"},
        {"message": "\u200b"},
        {"message": " \u0007\ue000\n"},
        {"message": "Hi", "caller": "0151"},
        {"message": "Hi", "role": "system"},
    ],
    ids=[
        "nothing",
        "empty",
        "blank",
        "too long",
        "a number",
        "null character",
        "invisible",
        "control",
        "no number",
        "another field",
    ],
)
async def test_message_that_is_none_is_refused(client, authorized, anthropic, body):
    answer = await client.post("/api/assistant/reply", json=body, headers=authorized)

    assert (answer.status_code, answer.json()["error"]) == (422, "validation_failed")
    assert anthropic.requests == ()


async def test_assistant_needs_a_token(client, anthropic):
    assert (await client.post("/api/assistant/reply", json={"message": "Hi"})).status_code == 401


async def test_without_a_key_there_is_no_assistant(database_url, make_settings):
    app = create_app(make_settings(database_url=database_url))

    assert app.state.parts.assistant is None
    await app.state.parts.database.close()


async def test_settling_that_fails_keeps_the_answer_and_the_reservation(ask, usage, monkeypatch):
    async def fail(*_: Any, **__: Any) -> None:
        raise psycopg.OperationalError("the server closed the connection")

    monkeypatch.setattr("app.services.assistant.settle", fail)
    answer = await ask()

    assert answer.json()["reply"] == REPLY
    assert usage()["cost"] == 0
    assert usage()["reserved"] > COST


def test_assistant_is_not_loaded_where_it_is_not_asked(make_settings):
    from app.services.assistant import connect_assistant

    assert connect_assistant(make_settings()) is None
    made = connect_assistant(make_settings(anthropic_api_key=API_KEY))
    assert isinstance(made, Assistant)
    assert made.model._client is None
