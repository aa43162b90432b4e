"""What is known after asking Twilio, by its own SDK against a loopback server."""

import email.utils
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services.twilio_service import Absent, Accepted, Found, Postponed, Refused, TwilioService, Uncertain
from backend.tests.vendors.twilio_server import ACCOUNT_SID, AUTH_TOKEN, FROM_NUMBER, TwilioServer, error
from backend.tests.vendors.vendor_server import Answer, Cut, Drip, Garbage, Hang, answer_json

TO = "+4915112345678"
TEXT = "Studio: please pay https://pay.example/abc"
CLAIMED = datetime(2030, 1, 31, 12, tzinfo=UTC)
LIMITED = "Twilio answered 429 (code 20429)"


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    with TwilioServer() as server:
        yield server


@pytest.fixture
def make_service(make_settings, twilio: TwilioServer):
    def make(**values: Any) -> TwilioService:
        given = {
            "twilio_account_sid": ACCOUNT_SID,
            "twilio_auth_token": AUTH_TOKEN,
            "twilio_from_number": FROM_NUMBER,
            "twilio_api_base": twilio.url,
            "twilio_timeout": 20,
        }
        return TwilioService(make_settings(**(given | values)))

    return make


def test_message_is_sent_as_the_account_asks(make_service, twilio):
    outcome = make_service().send(TEXT, to=TO)

    [message] = twilio.messages
    assert outcome == Accepted(message["sid"])
    assert twilio.requests[0].form == {"To": TO, "From": FROM_NUMBER, "Body": TEXT}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (error(400, 21211, f"The 'To' number {TO} is not valid"), Refused("Twilio answered 400 (code 21211)")),
        (error(400, 21610, "Attempt to send to unsubscribed recipient"), Refused("Twilio answered 400 (code 21610)")),
        (error(400, 21614, "not a mobile number"), Refused("Twilio answered 400 (code 21614)")),
        # The sender's or the account's fault: every message gets the same answer.
        (error(400, 21606, "not valid for your account"), Postponed("Twilio answered 400 (code 21606)", account=True)),
        (error(400, 21212, "The 'From' number"), Postponed("Twilio answered 400 (code 21212)", account=True)),
        (error(400, 21608, "unverified numbers"), Postponed("Twilio answered 400 (code 21608)", account=True)),
        (error(400, 99999, "of the future"), Postponed("Twilio answered 400 (code 99999)", account=True)),
        (Answer(405, b"<html>"), Postponed("Twilio answered 405 (code 405)", account=True)),
        # A region's or a network's: others get their messages.
        (error(400, 21408, "no permission for the region"), Postponed("Twilio answered 400 (code 21408)")),
        (error(403, 21612, "not from this number"), Postponed("Twilio answered 403 (code 21612)")),
        (error(429, 20429, "Too many", Retry_After="7"), Postponed(LIMITED, 7.0)),
        (error(429, 20429, "Too many"), Postponed(LIMITED, 60.0)),
        (error(429, 20429, "Too many", Retry_After="soon"), Postponed(LIMITED, 60.0)),
        (error(429, 20429, "Too many", Retry_After="nan"), Postponed(LIMITED, 60.0)),
        (error(429, 20429, "Too many", Retry_After="inf"), Postponed(LIMITED, 60.0)),
        (error(429, 20429, "Too many", Retry_After="-5"), Postponed(LIMITED, 1.0)),
        (error(429, 20429, "Too many", Retry_After="999999"), Postponed(LIMITED, 3600.0)),
        (error(429, 20429, "Too many", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), Postponed(LIMITED, 1.0)),
        (error(401, 20003, "Authenticate"), Postponed("Twilio answered 401 (code 20003)", account=True)),
        (error(404, 20404, "Not found"), Postponed("Twilio answered 404 (code 20404)", account=True)),
        (Answer(302, b"", {"Location": "/elsewhere"}), Postponed("Twilio answered 302 (code 302)", account=True)),
        (error(500, 20500, "Internal Server Error"), Uncertain("Twilio answered 500 (code 20500)")),
        (error(408, 20408, "Timeout"), Uncertain("Twilio answered 408 (code 20408)")),
        (Answer(503, b"<html>busy</html>"), Uncertain("Twilio answered 503 (code 503)")),
    ],
)
def test_answer_tells_whether_to_try_again(make_service, twilio, answer, outcome):
    twilio.script(answer)

    assert make_service().send(TEXT, to=TO) == outcome
    assert len(twilio.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Garbage(),
        Cut(answer_json({"sid": "SM1"}, status=201), after=4),
        Answer(201, b"<html>"),
        answer_json({"status": "queued"}, status=201),
        answer_json([], status=201),
        answer_json({"sid": "SM\0"}, status=201),
        answer_json({"sid": "SM\ud800"}, status=201),
        answer_json({"sid": "S" * 65}, status=201),
        answer_json({"type": "x", "title": "x", "status": [400], "code": 21211}, status=400),
    ],
    ids=["garbage", "cut", "html", "no id", "a list", "a null", "a surrogate", "a long id", "no status"],
)
def test_answer_that_cannot_be_read_leaves_it_open(make_service, twilio, reply):
    twilio.script(reply)

    assert isinstance(make_service().send(TEXT, to=TO), Uncertain)


@pytest.mark.parametrize(
    "reply", [Hang(), Drip(answer_json({"sid": "SM1"}, status=201))], ids=["hang", "drops within each read's limit"]
)
def test_answer_that_takes_too_long_leaves_it_open(make_service, twilio, reply, monkeypatch):
    monkeypatch.setattr("app.services.twilio_service._GRACE", 0.1)
    service = make_service(twilio_timeout=0.2)
    twilio.script(reply)

    assert service.send(TEXT, to=TO) == Uncertain("Twilio did not answer in time")
    assert len(twilio.wait_for_requests(1)) == 1
    twilio.release()


def test_address_that_nobody_listens_at_surely_took_nothing(make_service):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = make_service(twilio_api_base=f"http://127.0.0.1:{port}").send(TEXT, to=TO)

    assert isinstance(outcome, Postponed)
    assert outcome.account


@pytest.mark.parametrize("code", ["SM\0", "\ud800", [1], 10**400, None, -1])
def test_what_a_refusal_holds_besides_a_code_is_told_nowhere(make_service, twilio, code):
    twilio.script(answer_json({"code": code, "message": "no"}, status=400))

    assert make_service().send(TEXT, to=TO) == Postponed("Twilio answered 400 (code None)", account=True)


def test_variables_of_the_sdk_do_not_move_the_address(make_service, twilio, monkeypatch):
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    monkeypatch.setenv("TWILIO_REGION", "ie1")

    assert isinstance(make_service().send(TEXT, to=TO), Accepted)


def other(**times: timedelta) -> dict[str, Any]:
    """Another message to the same number, with its times as of the claim."""
    dates = {name: email.utils.format_datetime(CLAIMED + time) for name, time in times.items()}
    return {"to": TO, "body": "another text", **dates}


OLD = other(date_created=timedelta(hours=-2))
NEW = other(date_created=timedelta(minutes=-30))
SENT_LATE = other(date_created=timedelta(hours=-2), date_sent=timedelta(minutes=1))


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ([], Absent()),
        ([{"to": TO, "body": "another text"}], Absent()),
        ([{"to": "+4915100000000", "body": TEXT}], Absent()),
        ([{"to": TO, "body": f"Sent from a trial account - {TEXT}", "sid": "SM1"}], Found("SM1")),
        (
            [{"to": TO, "body": TEXT, "sid": "SM1", "status": "undelivered", "error_code": 30005}],
            Found("SM1", "Twilio could not deliver it (code 30005)"),
        ),
        (
            [{"to": TO, "body": TEXT, "sid": "SM1", "status": "failed", "error_code": "\0"}],
            Found("SM1", "Twilio could not deliver it (code None)"),
        ),
        ([{"to": TO, "body": TEXT, "sid": "SM\0"}], Uncertain("Twilio named no message")),
        ([{"to": TO, "body": 5}], Absent()),
        ([OLD] * 199 + [NEW], Absent()),
        ([OLD] + [NEW] * 200, Uncertain("too many messages to look through")),
        ([{**OLD, "date_created": None}] * 200, Uncertain("too many messages to look through")),
        ([SENT_LATE] * 200, Uncertain("too many messages to look through")),
    ],
    ids=[
        "nothing",
        "another text",
        "another number",
        "found",
        "undelivered",
        "an odd code",
        "an odd id",
        "an odd text",
        "a full page of others that reaches before the claim",
        "a full page of others since the claim",
        "a full page of others without a date",
        "a full page of others made before the claim and sent after it",
    ],
)
def test_message_is_looked_up(make_service, twilio, kept, found):
    for message in kept:
        twilio.accept(**message)

    assert make_service().find("https://pay.example/abc", to=TO, since=CLAIMED) == found


@pytest.mark.parametrize(
    "reply",
    [error(500, 20500, "oops"), error(429, 20429, "slow"), Garbage(), answer_json([]), answer_json({"messages": 5})],
)
def test_look_up_that_fails_tells_nothing(make_service, twilio, reply):
    twilio.script(reply)

    assert isinstance(make_service().find(TEXT, to=TO, since=CLAIMED), Uncertain)


def test_numbers_and_token_stay_out_of_the_log(make_service, twilio, caplog):
    caplog.set_level("DEBUG")
    service = make_service()
    twilio.script(error(400, 21211, f"The 'To' number {TO} is not valid"))
    outcome = service.send(TEXT, to=TO)
    service.find(TEXT, to=TO, since=CLAIMED)

    for canary in (TO, TO[1:], AUTH_TOKEN, "pay.example"):
        assert canary not in caplog.text + repr(outcome)
