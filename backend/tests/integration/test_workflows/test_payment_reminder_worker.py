"""The reminder worker on a real database and a loopback Twilio: one worker in this process, or many of their own."""

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from app.services.reminder_queue import ReminderQueue, Settlement
from app.services.twilio_service import TwilioService
from app.settings import ROOT
from app.workers.payment_reminder_worker import Worker, connect
from app.workers.stop import StopSignal
from backend.tests.vendors.twilio_server import ACCOUNT_SID, AUTH_TOKEN, FROM_NUMBER, TwilioServer, error
from backend.tests.vendors.vendor_server import Answer, Cut, Garbage, Hang, VendorRequest, VendorServer, answer_json

_ENDS_WITHIN = 60
_PLANT = """
WITH tenant AS (INSERT INTO tenants (name) VALUES ('Studio Nord') RETURNING id),
settings AS (INSERT INTO business_settings (tenant_id, timezone) SELECT id, 'Europe/Berlin' FROM tenant),
booking AS (
    INSERT INTO bookings (tenant_id, customer_name, customer_phone, starts_at, ends_at, amount, currency)
    SELECT id, 'Ada', '+4915112345678', '2030-01-01 09:00Z'::timestamptz + n * interval '1 hour',
        '2030-01-01 10:00Z'::timestamptz + n * interval '1 hour', 100, 'eur'
    FROM tenant, generate_series(1, %(count)s) AS n RETURNING tenant_id, id, starts_at
),
payment AS (
    INSERT INTO payments (tenant_id, booking_id, amount, currency, payment_link_id, payment_link_url)
    SELECT tenant_id, id, 100, 'eur', 'plink_' || id, 'https://pay.example/' || id FROM booking
    RETURNING tenant_id, id
)
INSERT INTO payment_reminders (tenant_id, payment_id, phone_number, due_at)
SELECT tenant_id, id, '+4915112345678', now() - interval '1 minute' FROM payment
"""

#: Eight processes, forked from one so that all of them load the program once. Ends with how many of them failed.
_EIGHT_WORKERS = """
import logging, os, signal, sys
import twilio.rest
from app.workers.payment_reminder_worker import main

def work(number):
    make = logging.getLogRecordFactory()
    def make_and_number(*arguments, **named):
        record = make(*arguments, **named)
        record.worker = number
        return record
    logging.setLogRecordFactory(make_and_number)
    os._exit(main())

for number in range(8):
    if os.fork() == 0:
        work(number)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.exit(sum(os.wait()[1] != 0 for _ in range(8)))
"""


class UntilIdle:
    """Ends the worker when it has waited `waits` times; the first ones may `meanwhile` change the world."""

    def __init__(self, *, waits: int = 1, meanwhile: Callable[[int], None] = lambda _: None) -> None:
        self._left = waits
        self._meanwhile = meanwhile
        self.pauses: list[float | None] = []

    def is_set(self) -> bool:
        return self._left <= 0

    def wait(self, seconds: float | None = None) -> bool:
        self.pauses.append(seconds)
        self._meanwhile(len(self.pauses))
        self._left -= 1
        return self.is_set()


class Bench:
    """A database with reminders, and workers for them."""

    def __init__(self, url: str, settings: Any) -> None:
        self.url = url
        self.settings = settings

    def plant(self, count: int = 1) -> None:
        self.execute(_PLANT, {"count": count})

    def execute(self, statement: str, parameters: Any = None) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement, parameters)

    @property
    def reminders(self) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute("SELECT * FROM payment_reminders ORDER BY due_at, id").fetchall()

    @property
    def reminder(self) -> dict[str, Any]:
        [reminder] = self.reminders
        return reminder

    def work(self, stop: Any = None) -> UntilIdle:
        """Work until nothing is due."""
        stop = stop or UntilIdle()
        Worker(self.settings, twilio=TwilioService(self.settings), stop=stop).run()
        return stop

    def pass_time(self, **parts: float) -> None:
        """Put everything so far into the past."""
        self.execute(
            "UPDATE payment_reminders SET due_at = due_at - make_interval(secs => %(s)s),"
            " claimed_at = claimed_at - make_interval(secs => %(s)s)",
            {"s": parts.get("hours", 0) * 3600 + parts.get("minutes", 0) * 60},
        )


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    with TwilioServer() as server:
        yield server


@pytest.fixture
def variables(migrated_database_url: str, twilio: TwilioServer) -> dict[str, str]:
    return {
        "DATABASE_URL": migrated_database_url,
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_FROM_NUMBER": FROM_NUMBER,
        "TWILIO_API_BASE": twilio.url,
        "REMINDER_POLL_INTERVAL": "0.1",
    }


@pytest.fixture
def bench(make_settings: Callable, variables: dict[str, str]) -> Bench:
    return Bench(variables["DATABASE_URL"], make_settings(**{name.lower(): value for name, value in variables.items()}))


@pytest.fixture
def start(variables: dict[str, str], tmp_path: Path) -> Iterator[Callable]:
    """Starts a worker as a process of its own, and reaps it."""
    worker = [sys.executable, "-m", "app.workers.payment_reminder_worker"]
    with contextlib.ExitStack() as stack:

        def run(command: list[str] = worker, **more: str) -> "subprocess.Popen[str]":
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=os.environ | variables | more,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
            stack.callback(_kill_group, process)
            return process

        yield run


def _kill_group(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def end(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
    process.send_signal(number)
    _, log = process.communicate(timeout=_ENDS_WITHIN)
    return process.returncode, [json.loads(line) for line in log.splitlines()]


def test_reminder_is_sent_once_and_says_what_it_is_about(bench, twilio):
    bench.plant()
    bench.work()
    bench.work()

    [message] = twilio.messages
    reminder = bench.reminder
    assert message["to"] == "+4915112345678"
    assert message["body"].startswith(
        "Studio Nord: please pay 100.00 EUR for your booking on Tue 1 Jan, 11:00: https://"
    )
    assert (reminder["status"], reminder["message_sid"], reminder["attempts"]) == ("sent", message["sid"], 1)
    assert reminder["sent_at"] is not None


def test_eight_workers_send_five_hundred_reminders_once_each(bench, twilio, start, monkeypatch):
    handle, first = TwilioServer.handle, iter(range(8))
    all_of_them = threading.Barrier(8)

    def wait_for_the_others(server: TwilioServer, request: VendorRequest) -> Any:
        """Answer nobody until each worker has a message in hand."""
        if next(first, None) is not None:
            all_of_them.wait(_ENDS_WITHIN)
        return handle(server, request)

    monkeypatch.setattr(TwilioServer, "handle", wait_for_the_others)
    process = start([sys.executable, "-c", _EIGHT_WORKERS], TWILIO_TIMEOUT="30")
    assert process.stderr is not None
    assert [json.loads(process.stderr.readline())["message"] for _ in range(8)] == ["ready"] * 8
    with ThreadPoolExecutor(1) as pool:
        # What eight workers log does not fit into a pipe that nobody reads.
        reading = pool.submit(process.stderr.read)
        try:
            bench.plant(500)
            twilio.wait_for_requests(500, within=_ENDS_WITHIN)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
        log = [json.loads(line) for line in reading.result(_ENDS_WITHIN).splitlines()]

    assert process.wait(_ENDS_WITHIN) == 0
    assert len(twilio.messages) == 500
    assert len({message["body"] for message in twilio.messages}) == 500
    assert Counter(reminder["status"] for reminder in bench.reminders) == {"sent": 500}
    assert {reminder["message_sid"] for reminder in bench.reminders} == {m["sid"] for m in twilio.messages}
    assert len({line["worker"] for line in log if line["message"] == "reminder sent"}) == 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_that_is_told_to_end_finishes_the_one_in_hand(bench, twilio, start, number):
    bench.plant(2)
    twilio.accept_and_answer(Hang())
    process = start(TWILIO_TIMEOUT="2")
    twilio.wait_for_requests(1)
    process.send_signal(number)
    process.send_signal(signal.SIGTERM)
    code, log = end(process, number)

    assert code == 0
    assert len(twilio.requests) == 1
    assert Counter(reminder["status"] for reminder in bench.reminders) == {"sending": 1, "pending": 1}
    assert [line["message"] for line in log] == ["ready", "nobody knows yet whether the reminder was sent", "ended"]


def test_worker_killed_in_the_middle_leaves_its_reminder_to_another(bench, twilio, start):
    bench.plant()
    twilio.accept_and_answer(Hang())
    process = start(TWILIO_TIMEOUT="30")
    twilio.wait_for_requests(1)
    process.kill()
    process.communicate(timeout=_ENDS_WITHIN)

    bench.work()
    assert bench.reminder["status"] == "sending"
    bench.pass_time(minutes=4)
    bench.work()

    [message] = twilio.messages
    assert (bench.reminder["status"], bench.reminder["message_sid"]) == ("sent", message["sid"])


def test_claim_of_a_worker_that_is_slow_but_alive_is_left_alone(bench, twilio, start, monkeypatch):
    bench.plant()
    twilio.script(Hang())
    process = start(TWILIO_TIMEOUT="30")
    twilio.wait_for_requests(1)
    # Its row is locked and cannot be put into the past; so the other worker doubts at once.
    monkeypatch.setattr("app.workers.payment_reminder_worker.DOUBT", 0.0)
    bench.work()
    assert [request.method for request in twilio.requests] == ["POST"]
    twilio.release()
    assert end(process)[0] == 0


def test_claim_that_was_taken_over_is_not_sent(bench):
    bench.plant()
    with connect(bench.settings) as mine, connect(bench.settings) as other:
        claim = ReminderQueue(mine, doubt=0).claim_due()
        taken = ReminderQueue(other, doubt=0).claim_doubtful()
        assert claim is not None
        assert taken == claim
        with ReminderQueue(other, doubt=0).hold(taken) as reminder:
            assert reminder is not None
            ReminderQueue(other, doubt=0).settle(taken, Settlement("pending"))
        with ReminderQueue(mine, doubt=0).hold(claim) as reminder:
            assert reminder is None
        assert not ReminderQueue(mine, doubt=0).settle(claim, Settlement("sent", sid="SM1"))
    assert bench.reminder["status"] == "pending"


@pytest.mark.parametrize(
    "reply",
    [
        Garbage(),
        Cut(answer_json({"sid": "SM"}, status=201), after=3),
        error(500, 20500, "Internal Server Error"),
        answer_json("accepted", status=201),
    ],
    ids=["garbage", "cut", "500", "not a message"],
)
@pytest.mark.parametrize("accepted", [True, False])
def test_reminder_that_may_have_been_accepted_is_looked_up(bench, twilio, reply, accepted):
    bench.plant()
    (twilio.accept_and_answer if accepted else twilio.script)(reply)
    bench.work()
    assert (bench.reminder["status"], len(twilio.requests)) == ("sending", 1)

    bench.pass_time(minutes=4)
    bench.work()
    assert bench.reminder["status"] == ("sent" if accepted else "pending")
    bench.pass_time(hours=2)
    bench.work()

    assert bench.reminder["status"] == "sent"
    assert len(twilio.messages) == 1


def test_look_up_that_stays_without_an_answer_ends_as_unknown_and_sends_nothing(bench, twilio, caplog):
    bench.plant()
    twilio.script(Garbage(), *[error(500, 20500, "oops")] * 3)
    bench.work()
    bench.pass_time(minutes=4)
    bench.work()
    assert bench.reminder["status"] == "sending"
    looked_up = len(twilio.requests)
    bench.work()
    assert len(twilio.requests) == looked_up

    bench.pass_time(hours=25)
    bench.work()
    bench.pass_time(hours=25)
    bench.work()

    assert bench.reminder["status"] == "unknown"
    assert twilio.messages == []
    assert [record.levelname for record in caplog.records if "nobody can tell" in record.message] == ["ERROR"]


@pytest.mark.parametrize("code", [21211, 21610])
def test_reminder_that_cannot_succeed_fails_at_once(bench, twilio, code):
    bench.plant()
    twilio.script(error(400, code, "The 'To' number +4915112345678 is not valid"))
    bench.work()

    assert bench.reminder["status"] == "failed"
    assert bench.reminder["last_error"] == f"Twilio answered 400 (code {code})"
    assert len(twilio.requests) == 1


def test_reminder_is_tried_again_with_growing_delays_until_it_fails(bench, twilio):
    bench.plant()
    bench.settings = bench.settings.model_copy(update={"reminder_attempts": 4})
    delays = []
    for _ in range(4):
        twilio.script(error(400, 21612, "not from this number"))
        bench.work()
        reminder = bench.reminder
        delays.append((reminder["due_at"] - reminder["updated_at"]).total_seconds())
        bench.pass_time(hours=1)
    bench.work()

    assert (bench.reminder["status"], bench.reminder["attempts"], len(twilio.requests)) == ("failed", 4, 4)
    assert 45 < delays[0] < 75 < delays[1] < 150 < delays[2] < 300


@pytest.mark.parametrize(("header", "seconds"), [({"Retry_After": "600"}, 600.0), ({}, 60.0)])
def test_limit_of_twilio_rests_the_reminder_and_the_worker_and_costs_no_attempt(bench, twilio, header, seconds):
    bench.plant(2)
    twilio.script(error(429, 20429, "Too many requests", **header))
    stop = bench.work()

    assert stop.pauses == [seconds]
    [first] = [reminder for reminder in bench.reminders if reminder["last_error"]]
    assert (first["due_at"] - first["updated_at"]).total_seconds() > seconds - 10
    assert (first["status"], first["attempts"]) == ("pending", 0)


def refuse_sender(bench: Bench, twilio: TwilioServer) -> dict[str, Any]:
    twilio.script(*[error(400, 21606, "The 'From' number is not valid for your account")] * 20)
    return {}


def move_account(bench: Bench, twilio: TwilioServer) -> dict[str, Any]:
    return {"twilio_api_base": f"{twilio.url}/wrong"}


def close_the_way(bench: Bench, twilio: TwilioServer) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return {"twilio_api_base": f"http://127.0.0.1:{taken.getsockname()[1]}"}


@pytest.mark.parametrize("trouble", [refuse_sender, move_account, close_the_way])
def test_trouble_that_is_not_the_messages_rests_the_worker_and_costs_nothing(bench, twilio, caplog, trouble):
    bench.plant(2)
    good = bench.settings
    bench.settings = good.model_copy(update=trouble(bench, twilio))
    for _ in range(8):
        stop = bench.work()
        assert stop.pauses[0] is not None
        assert stop.pauses[0] > 30
        bench.pass_time(minutes=11)
    assert Counter((reminder["status"], reminder["attempts"]) for reminder in bench.reminders) == {("pending", 0): 2}
    assert "TWILIO_FROM_NUMBER" in caplog.text

    twilio.clear()
    bench.settings = good
    bench.work()
    assert Counter(reminder["status"] for reminder in bench.reminders) == {"sent": 2}


@pytest.mark.parametrize("status", ["paid", "failed", "cancelled", "refunded"])
def test_payment_that_is_open_no_longer_is_not_reminded_of(bench, twilio, status):
    bench.plant()
    bench.execute(
        "UPDATE payments SET status = %(s)s, paid_at = CASE WHEN %(s)s IN ('paid', 'refunded') THEN now() END",
        {"s": status},
    )
    with connect(bench.settings) as connection:
        assert ReminderQueue(connection, doubt=0).claim_due() is None
    bench.work()

    assert bench.reminder["status"] == "cancelled"
    assert twilio.requests == ()


def test_payment_without_a_link_is_not_reminded_of(bench, twilio):
    bench.plant()
    bench.execute("UPDATE payments SET payment_link_id = NULL, payment_link_url = NULL")
    bench.work()

    assert (bench.reminder["status"], twilio.requests) == ("pending", ())


def test_payment_made_while_its_reminder_is_claimed_is_not_reminded_of(bench, twilio, monkeypatch):
    bench.plant()
    claim_due = ReminderQueue.claim_due

    def claim_and_pay(queue: ReminderQueue) -> Any:
        claim = claim_due(queue)
        bench.execute("UPDATE payments SET status = 'paid', paid_at = now()")
        return claim

    monkeypatch.setattr(ReminderQueue, "claim_due", claim_and_pay)
    bench.work()

    assert (bench.reminder["status"], bench.reminder["attempts"]) == ("cancelled", 0)
    assert twilio.requests == ()


def test_reminder_that_is_not_due_waits(bench, twilio):
    bench.plant()
    bench.pass_time(hours=-1)
    stop = bench.work(UntilIdle(waits=3))

    assert (bench.reminder["status"], twilio.requests) == ("pending", ())
    assert all(pause and 0.08 <= pause <= 0.12 for pause in stop.pauses)


def test_outcome_is_written_down_when_the_database_is_back(bench, twilio, monkeypatch):
    bench.plant()
    handle = TwilioServer.handle

    def lose_the_database(server: TwilioServer, request: VendorRequest) -> Any:
        with psycopg.connect(bench.url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'maya-worker' AND datname = current_database()"
            )
        return handle(server, request)

    monkeypatch.setattr(TwilioServer, "handle", lose_the_database)
    bench.work(UntilIdle(waits=2))

    [message] = twilio.messages
    assert (bench.reminder["status"], bench.reminder["message_sid"]) == ("sent", message["sid"])


def test_outcome_is_written_down_even_when_told_to_end_meanwhile(bench, twilio, monkeypatch):
    bench.plant()
    stop = UntilIdle(waits=1)
    handle = TwilioServer.handle

    def lose_the_database(server: TwilioServer, request: VendorRequest) -> Any:
        stop.wait()
        bench.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'maya-worker' AND datname = current_database()"
        )
        return handle(server, request)

    monkeypatch.setattr(TwilioServer, "handle", lose_the_database)
    bench.work(stop)

    assert (bench.reminder["status"], len(twilio.messages)) == ("sent", 1)


def test_database_that_is_gone_is_waited_for_with_growing_pauses(bench, twilio, caplog):
    bench.plant()
    name = psycopg.conninfo.conninfo_to_dict(bench.url)["dbname"]

    def allow(connections: bool) -> None:
        elsewhere = psycopg.conninfo.make_conninfo(bench.url, dbname="postgres")
        with psycopg.connect(elsewhere, autocommit=True) as connection:
            statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            connection.execute(statement.format(sql.Identifier(str(name)), sql.Literal(connections)))

    allow(False)
    stop = bench.work(UntilIdle(waits=5, meanwhile=lambda wait: allow(True) if wait == 4 else None))

    assert bench.reminder["status"] == "sent"
    assert [round(pause / 0.5 / 2**attempt) for attempt, pause in enumerate(stop.pauses[:4])] == [1, 1, 1, 1]
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 4
    assert not any(record.exc_info for record in warnings)


def test_worker_without_twilio_says_so_once_and_rests(bench, start):
    bench.plant()
    process = start(TWILIO_ACCOUNT_SID="", TWILIO_AUTH_TOKEN="", TWILIO_FROM_NUMBER="")
    assert process.stderr is not None
    said = json.loads(process.stderr.readline())
    code, log = end(process)

    assert "no reminders are sent" in said["message"]
    assert (code, [line["message"] for line in log]) == (0, ["ended"])
    assert bench.reminder["status"] == "pending"


def test_worker_with_a_malformed_configuration_says_what_to_do(start):
    process = start(TWILIO_AUTH_TOKEN="", TWILIO_API_BASE="nowhere")
    _, said = process.communicate(timeout=_ENDS_WITHIN)

    assert process.returncode == 1
    assert "TWILIO_AUTH_TOKEN is missing" in said
    assert "TWILIO_API_BASE is not an address" in said


def test_log_holds_no_numbers_and_no_token(bench, twilio, start):
    bench.plant(2)
    twilio.script(error(400, 21211, "The 'To' number +4915112345678 is not valid"))
    process = start(LOG_LEVEL="DEBUG", REMINDER_POLL_INTERVAL="30")
    twilio.wait_for_requests(2)
    code, log = end(process)

    written = json.dumps(log)
    assert code == 0
    for canary in ("4915112345678", AUTH_TOKEN, "pay.example", "Ada"):
        assert canary not in written
    named = {line["reminder_id"] for line in log if "reminder_id" in line}
    assert named == {str(reminder["id"]) for reminder in bench.reminders}
    assert all(uuid.UUID(identity) for identity in named)


def test_worker_that_is_told_to_end_again_and_again_still_ends_well():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with StopSignal() as stop:
            assert not stop.wait(0.0)
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            assert stop.wait()
            assert stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_worker_reports_its_errors_without_what_is_secret(bench, start):
    canary = "canary-token-0123456789abcdef"
    bench.plant()
    with VendorServer(lambda _: Answer(200)) as sentry:
        process = start(TWILIO_AUTH_TOKEN=canary, SENTRY_DSN=f"http://{'0a' * 16}@127.0.0.1:{sentry.port}/7")
        assert process.stderr is not None
        while "Twilio takes no messages" not in (line := process.stderr.readline()):
            assert line
        code, _ = end(process)
        reported = b"".join(unzip(request) for request in sentry.requests)

    assert code == 0
    assert b"Twilio takes no messages" in reported
    assert canary.encode() not in reported


def unzip(request: VendorRequest) -> bytes:
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
