"""The calendar: its state, the way to Google with and without it, and no failure that does not say why."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fairlead.verification.api import Api
from fairlead.verification.endtoend import NotChecked
from fairlead.verification.phases import InPhase

SUITE_ORDER = 2
BUSINESS, CALENDAR, AVAILABILITY = "/api/business/me", "/api/calendar", "/api/calendar/availability"
START, CALLBACK = "/oauth/google/start", "/oauth/google/callback"
_NOT_CONFIGURED = "the service says that Google is not configured"


@pytest.fixture
def business_id(account: Api, phase: InPhase) -> str:
    with phase("fetch"):
        return str(account.get(BUSINESS).object()["id"])


@pytest.fixture
def start(account: Api, business_id: str, phase: InPhase, not_checked: NotChecked) -> Mapping[str, Any]:
    """Give what the way to Google begins with, where the service has Google."""
    with phase("integration"):
        answer = account.get(START, params={"business_id": business_id}).object()
        if not answer["available"]:
            assert answer["error"] == "calendar_not_configured"
            assert isinstance(answer["detail"], str)
    if not answer["available"]:
        not_checked(_NOT_CONFIGURED, integration="google")
    return answer


@pytest.mark.smoke
def test_the_state_is_told_and_is_the_same_wherever_it_is_asked_for(account: Api, phase: InPhase) -> None:
    with phase("fetch"):
        state = account.get(CALENDAR).object()
        within = account.get(BUSINESS).object()["calendar"]
    with phase("state"):
        assert {name: type(state[name]) for name in ("available", "connected")} == {
            "available": bool,
            "connected": bool,
        }
        assert {name: within[name] for name in state} == state
        assert state["available"] or not state["connected"], "connected to what is not available"
        assert state["account"] is None or state["connected"]


@pytest.mark.smoke
def test_the_start_says_where_to_go_or_why_not(
    account: Api, business_id: str, phase: InPhase, not_checked: NotChecked
) -> None:
    with phase("integration"):
        answer = account.get(START, params={"business_id": business_id}).object()
        if answer["available"]:
            assert answer["authorization_url"].startswith(("https://", "http://127.0.0.1", "http://localhost"))
        else:
            assert answer["error"]
            assert answer["detail"]
    with phase("state"):
        assert account.get(CALENDAR).object()["available"] == answer["available"]
    if not answer["available"]:
        not_checked(_NOT_CONFIGURED, integration="google")


def test_a_browser_is_sent_to_google(account: Api, business_id: str, start: Any, phase: InPhase) -> None:
    with phase("integration"):
        reply = account.get(START, params={"business_id": business_id}, accept="text/html").expect(302, 303, 307)
        there, told = urlsplit(reply.headers["location"]), urlsplit(start["authorization_url"])
        assert there[:3] == told[:3], "a browser and a program are sent to different places"


def test_the_way_to_google_is_guarded(account: Api, business_id: str, start: Any, phase: InPhase) -> None:
    with phase("integration"):
        again = account.get(START, params={"business_id": business_id}).object()
        asked, asked_again = (parse_qs(urlsplit(one["authorization_url"]).query) for one in (start, again))
        assert asked["response_type"] == ["code"]
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["redirect_uri"][0].endswith(CALLBACK)
        assert asked["client_id"][0]
        for once in ("state", "code_challenge"):
            assert len(asked[once][0]) >= 32
            assert asked[once] != asked_again[once], f"{once} is used twice"


@pytest.mark.smoke
def test_nobody_starts_for_another_business(api: Api, account: Api, business_id: str, phase: InPhase) -> None:
    with phase("authentication"):
        api.get(START, params={"business_id": business_id}).problem(401, code="not_authenticated")
        api.get(CALENDAR).problem(401, code="not_authenticated")
    with phase("integration"):
        account.get(START, params={"business_id": str(uuid.uuid4())}).problem(404, code="not_found")


@pytest.mark.parametrize("params", [{}, {"business_id": "1"}, {"business_id": "'; DROP TABLE users; --"}])
@pytest.mark.phase("integration")
def test_a_start_that_makes_no_sense_is_refused(account: Api, params: Mapping[str, str]) -> None:
    account.get(START, params=params).problem(404, 422)


@pytest.mark.parametrize(
    "params",
    [
        {"code": "unknown", "state": "unknown"},
        {"error": "access_denied", "state": "unknown"},
        {"state": "unknown"},
        {"code": "unknown"},
        {},
    ],
)
@pytest.mark.phase("integration")
def test_a_callback_that_nobody_waits_for_is_refused(api: Api, params: Mapping[str, str]) -> None:
    api.get(CALLBACK, params=params).problem(400, 404, 422, 503)


def test_availability_is_told_for_a_month_at_most(account: Api, phase: InPhase) -> None:
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
    with phase("fetch"):
        params = {"from": begin.isoformat(), "to": (begin + timedelta(days=31)).isoformat()}
        told = account.get(AVAILABILITY, params=params).object()
        assert isinstance(told["calendar_checked"], bool)
        assert all({"starts_at", "ends_at"} <= set(one) for one in told["busy"])
    for end in (begin + timedelta(days=32), begin - timedelta(days=1)):
        with phase("fetch"):
            account.get(AVAILABILITY, params={"from": begin.isoformat(), "to": end.isoformat()}).problem(422)
