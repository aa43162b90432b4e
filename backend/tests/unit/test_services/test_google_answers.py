from datetime import UTC, datetime, timedelta, timezone

import jwt
import pytest

from app.models.calendar import Interval
from app.services.calendar import merge
from app.services.google_answers import (
    AccessRefusedError,
    GoogleUnavailableError,
    GrantRefusedError,
    read_access_failure,
    read_busy,
    read_grant,
    read_refreshed,
    read_token_failure,
)

SCOPE = "https://www.googleapis.com/auth/calendar.freebusy"
CLIENT = "client.apps.googleusercontent.com"
CLAIMS = {
    "iss": "https://accounts.google.com",
    "aud": CLIENT,
    "exp": datetime.now(UTC) + timedelta(hours=1),
    "email": "owner@calendar.test",
}
TOKENS = {"access_token": "ya29.a", "expires_in": 3599, "refresh_token": "1//r", "scope": f"openid email {SCOPE}"}


def id_token(**changes):
    return jwt.encode(CLAIMS | changes, "k" * 32, algorithm="HS256")


def test_a_grant_is_read_whole():
    grant = read_grant(TOKENS | {"id_token": id_token()}, client_id=CLIENT, needed=SCOPE)

    assert (grant.access_token.get_secret_value(), grant.refresh_token.get_secret_value()) == ("ya29.a", "1//r")
    assert (grant.lifetime, grant.account) == (3599, "owner@calendar.test")
    assert grant.scopes.split() == sorted(TOKENS["scope"].split())
    assert "ya29" not in repr(grant)


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        "",
        "a.b.c",
        "…",
        id_token(aud="another client"),
        id_token(iss="https://accounts.example.com"),
        id_token(exp=datetime.now(UTC) - timedelta(hours=1)),
        id_token(email=None),
        id_token(email=7),
        id_token(email=""),
        id_token(email="a\x00@calendar.test"),
        id_token(email="\ud800@calendar.test"),
        id_token(email="x" * 255),
    ],
)
def test_an_account_that_is_not_told_properly_is_unknown(token):
    assert read_grant(TOKENS | {"id_token": token}, client_id=CLIENT, needed=SCOPE).account is None


@pytest.mark.parametrize("missing", [{"scope": "openid email"}, {"scope": ""}, {"refresh_token": None}])
def test_a_grant_that_is_not_enough_is_refused(missing):
    with pytest.raises(GrantRefusedError):
        read_grant(TOKENS | missing, client_id=CLIENT, needed=SCOPE)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "ya29.a",
        {},
        {"access_token": "ya29.a"},
        TOKENS | {"access_token": None},
        TOKENS | {"access_token": ""},
        TOKENS | {"access_token": "a\r\nX-Header: b"},
        TOKENS | {"access_token": "\ud800"},
        TOKENS | {"access_token": "x" * 5000},
        TOKENS | {"expires_in": "3599"},
        TOKENS | {"expires_in": 0},
        TOKENS | {"expires_in": -1},
        TOKENS | {"expires_in": True},
        TOKENS | {"expires_in": 1.5},
    ],
)
def test_tokens_that_make_no_sense_are_not_taken(answer):
    with pytest.raises(GoogleUnavailableError):
        read_refreshed(answer)


def test_a_token_lives_a_day_at_most():
    assert read_refreshed(TOKENS | {"expires_in": 10**30}).lifetime == 86_400


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (400, {"error": "invalid_grant"}, GrantRefusedError),
        (400, {"error": "invalid_token"}, GrantRefusedError),
        (400, {"error": "redirect_uri_mismatch"}, GoogleUnavailableError),
        (401, {"error": "invalid_client"}, GoogleUnavailableError),
        (401, {"error": "invalid_grant"}, GoogleUnavailableError),
        (429, None, GoogleUnavailableError),
        (500, {"error": {"code": 500}}, GoogleUnavailableError),
        (503, "busy", GoogleUnavailableError),
        (302, None, GoogleUnavailableError),
    ],
)
def test_an_error_of_the_token_endpoint_is_a_refusal_or_a_failure(status, content, kind):
    assert type(read_token_failure(status, content)) is kind


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (401, {"error": {"errors": [{"reason": "authError"}]}}, (AccessRefusedError, False)),
        (401, None, (AccessRefusedError, False)),
        (403, {"error": {"errors": [{"reason": "insufficientPermissions"}]}}, (AccessRefusedError, True)),
        (403, {"error": {"details": [{"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}, (AccessRefusedError, True)),
        (403, {"error": {"errors": [{"reason": "rateLimitExceeded"}]}}, (GoogleUnavailableError, None)),
        (403, {"error": {"errors": [{"reason": "accessNotConfigured"}]}}, (GoogleUnavailableError, None)),
        (403, {"error": {"errors": "none"}}, (GoogleUnavailableError, None)),
        (429, [], (GoogleUnavailableError, None)),
        (500, {"error": []}, (GoogleUnavailableError, None)),
    ],
)
def test_an_error_of_the_calendar_says_whether_another_token_would_do(status, content, expected):
    error = read_access_failure(status, content)

    assert (type(error), getattr(error, "final", None)) == expected


@pytest.mark.parametrize("reason", ["a b", "x" * 65, "\n", "<script>", "ünd", 7, None, {"a": 1}])
def test_only_codes_of_googles_errors_are_repeated(reason):
    assert str(read_token_failure(400, {"error": reason})) == "status 400, no reason"


def test_busy_times_are_read_in_utc():
    answer = {
        "calendars": {"primary": {"busy": [{"start": "2030-01-31T10:00:00+01:00", "end": "2030-01-31T10:30:00Z"}]}}
    }

    (one,) = read_busy(answer, calendar="primary")

    assert (one.starts_at, one.ends_at) == (
        datetime(2030, 1, 31, 9, tzinfo=UTC),
        datetime(2030, 1, 31, 10, 30, tzinfo=UTC),
    )


def busy(*items, **members):
    return {"calendars": {"primary": {"busy": list(items), **members}}}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"calendars": None},
        {"calendars": {"another": {"busy": []}}},
        {"calendars": {"primary": None}},
        {"calendars": {"primary": {}}},
        busy(errors=[{"reason": "notFound"}]),
        busy(errors=[None]),
        busy(None),
        busy({"start": "2030-01-31T10:00:00Z"}),
        busy({"start": "2030-01-31T10:00:00", "end": "2030-01-31T11:00:00"}),
        busy({"start": "2030-02-30T10:00:00Z", "end": "2030-03-01T11:00:00Z"}),
        busy({"start": "0001-01-01T00:00:00+14:00", "end": "2030-03-01T11:00:00Z"}),
        busy({"start": 7, "end": 8}),
    ],
)
def test_busy_times_that_make_no_sense_are_not_taken(answer):
    with pytest.raises(GoogleUnavailableError):
        read_busy(answer, calendar="primary")


BEGIN = datetime(2030, 1, 31, 9, tzinfo=UTC)


def interval(begin, end, zone=UTC):
    return Interval(
        starts_at=(BEGIN + timedelta(minutes=begin)).astimezone(zone),
        ends_at=(BEGIN + timedelta(minutes=end)).astimezone(zone),
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([(10, 20)], [(10, 20)]),
        ([(30, 40), (10, 20)], [(10, 20), (30, 40)]),
        ([(10, 20), (20, 30)], [(10, 30)]),
        ([(10, 40), (15, 20), (35, 50)], [(10, 50)]),
        ([(10, 20), (10, 20)], [(10, 20)]),
        ([(-10, 5), (55, 70)], [(0, 5), (55, 60)]),
        ([(-20, 0), (60, 80), (-5, -1)], []),
        ([(-20, 80)], [(0, 60)]),
        ([(20, 20), (30, 25)], []),
    ],
)
def test_what_is_taken_is_told_in_order_without_overlaps_and_within_the_range(given, expected):
    merged = merge([interval(*one) for one in given], BEGIN, BEGIN + timedelta(minutes=60))

    assert merged == [interval(*one) for one in expected]


def test_what_is_taken_is_merged_across_offsets():
    berlin = timezone(timedelta(hours=1))

    merged = merge([interval(10, 20, berlin), interval(15, 30)], BEGIN, BEGIN + timedelta(minutes=60))

    assert merged == [interval(10, 30)]
