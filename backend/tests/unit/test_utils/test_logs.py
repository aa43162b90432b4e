import io
import json
import logging
import uuid

import pytest

from app.logs import JsonFormatter, caller, configure_logging, redact, request_id, trace_id
from app.security import Identity


def entry(record):
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return json.loads(line)


def record(message, *arguments, **extra):
    made = logging.makeLogRecord({"name": "app.x", "levelname": "INFO", "msg": message, "args": arguments})
    vars(made).update(extra)
    return made


def test_a_record_is_one_line_with_its_extra_members():
    result = entry(record("took %s\nlines", 2, path="/x", status=200))

    assert result["message"] == "took 2\nlines"
    assert (result["level"], result["logger"], result["path"], result["status"]) == ("info", "app.x", "/x", 200)
    assert result["time"].endswith("+00:00")
    assert "request_id" not in result


def test_the_request_id_stands_in_every_record_of_a_request():
    token = request_id.set("abc")
    try:
        assert entry(record("x"))["request_id"] == "abc"
    finally:
        request_id.reset(token)


def test_a_traceback_is_one_member_without_secrets():
    try:
        int("postgresql://u:hunter2@h/db")
    except ValueError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))

    assert "Traceback" in entry(failed)["exception"]
    assert "postgresql://u:***@h/db" in entry(failed)["exception"]
    assert "hunter2@" not in entry(failed)["exception"].split("ValueError: ")[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to postgresql://u:hunter2@h/db", "to postgresql://u:***@h/db"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "token ***"),  # pragma: allowlist secret - signed by nobody
        ("host=h password=hunter2 user=u", "host=h password=*** user=u"),
        ("?code=4/0Aabc&state=xyz&page=2", "?code=***&state=***&page=2"),
        ("key sk_live_abc123 and whsec_abc and sk-ant-api03-x", "key *** and *** and ***"),
        ('{"access_token": "ya29.a0", "n": 1}', '{"access_token": "***", "n": 1}'),
        ("nothing secret at http://h:80/p", "nothing secret at http://h:80/p"),
    ],
)
def test_secrets_are_masked(text, expected):
    assert redact(text) == expected


def test_extra_members_are_masked():
    assert entry(record("x", reason="postgresql://u:hunter2@h/db"))["reason"] == "postgresql://u:***@h/db"


def test_members_within_members_are_masked_and_so_is_what_goes_by_a_telling_name():
    address = "postgresql://u:hunter2@h/db"
    extra = {"api_token": "abc", "facts": {"password": "x y", "seen": [address, 3, None], "error": ValueError(address)}}

    logged = entry(record("x", tokens=12, **extra))

    assert (logged["api_token"], logged["tokens"]) == ("***", 12)
    masked = "postgresql://u:***@h/db"
    assert logged["facts"] == {"password": "***", "seen": [masked, 3, None], "error": masked}


def test_arguments_that_do_not_fit_are_not_printed_elsewhere(capsys, restored_logging):
    stream = io.StringIO()
    configure_logging("INFO", stream=stream)

    template = "took %d and %s"
    logging.getLogger("app.x").error(template, "hunter2-of-the-test")

    assert json.loads(stream.getvalue())["message"] == "took %d and %s (its arguments do not fit)"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("before", "secret", "after"),
    [
        ("to postgresql://u:", "p@ss/w@rd", "@h/db"),
        ("Authorization: Basic ", "dTpwdw==", ""),
        ('{"client_secret": "', 'two \\" words', '", "n": 1}'),
        ("SIGNING_KEY=", "abc", " next"),
        ("it is ", "gh" + "p_" + "a1B2" * 8, "."),
        ("it is ", "AK" + "IA" + "A1B2" * 4, "."),
        ("", "-----BEGIN PRIVATE" + " KEY-----\nabc\n-----END PRIVATE" + " KEY-----", "\nnext"),
    ],
)
def test_secrets_are_masked_whole(before, secret, after):
    assert redact(f"{before}{secret}{after}") == f"{before}***{after}"


@pytest.mark.parametrize("text", ["at http://h:80/users/@me", "in Asia", "a key: 12", "--- a line ---"])
def test_what_is_no_secret_is_kept(text):
    assert redact(text) == text


def test_a_member_that_json_cannot_carry_is_rendered_as_text():
    assert entry(record("x", thing={1}))["thing"] == "{1}"


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x85", "\x9b", "\u2028", "\ud800"])
def test_no_character_of_a_client_ends_a_line_or_steers_a_terminal(character):
    line = JsonFormatter().format(record("x", path=f"/a{character}b"))

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["path"] == f"/a{character}b"


def test_whom_a_request_is_from_stands_in_every_record_of_it():
    identity = Identity(uuid.uuid4(), uuid.uuid4())
    tokens = caller.set(identity), trace_id.set("ab" * 16)
    try:
        logged = entry(record("x"))
    finally:
        caller.reset(tokens[0])
        trace_id.reset(tokens[1])

    assert (logged["user_id"], logged["tenant_id"]) == (str(identity.user_id), str(identity.tenant_id))
    assert logged["trace_id"] == "ab" * 16


def test_every_logger_writes_to_one_stream(restored_logging):
    stream = io.StringIO()
    configure_logging("WARNING", stream=stream)

    logging.getLogger("uvicorn.error").warning("from the server")
    logging.getLogger("app.x").info("too quiet")
    logging.getLogger("uvicorn.access").warning("the middleware says this")
    logging.getLogger("app.x").error("from the application")

    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages == ["from the server", "from the application"]


def test_the_calls_of_vendors_are_not_logged_by_their_library(restored_logging):
    stream = io.StringIO()
    configure_logging("DEBUG", stream=stream)

    logging.getLogger("httpx").info("HTTP Request: POST https://vendor.test/secret")

    assert stream.getvalue() == ""
