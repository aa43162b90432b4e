"""The page on the backend names what there is: its routes, errors, metrics, headers, checks and reminders' states."""

import ast
import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from prometheus_client.metrics import MetricWrapperBase

from app.db import Schema
from app.errors import _BY_STATUS
from app.middleware import SECURITY_HEADERS
from app.models.calendar import CalendarProblem
from app.observation import metrics, vendors
from app.services import stripe_events
from app.services.counting import Counts
from app.services.health import check_database, check_integrations
from app.services.reminder_queue import Status
from app.settings import Settings
from tests.docs.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "backend" / "app"
PAGE = (ROOT / "docs" / "backend.md").read_text("utf-8")
RUNBOOK = (ROOT / "docs" / "runbooks" / "backend.md").read_text("utf-8")


def _table(after: str) -> list[list[str]]:
    return read_table(PAGE, after=after)[1:]


def _quoted(cell: str) -> str:
    found = re.match(r"`([^`]+)`", cell)
    assert found is not None, cell
    return found[1]


def _calls(name: str) -> Iterator[ast.Call]:
    for file in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield node


def _read_errors() -> set[tuple[int, str]]:
    """Return status and code of every error that the code makes."""
    found = {(status, code) for status, (code, _, _) in _BY_STATUS.items()}
    for call in _calls("ApiError"):
        values = [one.value if isinstance(one, ast.Constant) else None for one in call.args[:2]]
        if isinstance(values[0], int) and isinstance(values[1], str):
            found.add((values[0], values[1]))
    return found


def _read_metrics() -> set[str]:
    found = [
        one for one in [*vars(metrics.METRICS).values(), *vars(vendors).values()] if isinstance(one, MetricWrapperBase)
    ]
    return {f"{one._name}_total" if one._type == "counter" else one._name for one in found}


def test_every_route_of_the_document_stands_in_the_page_and_no_other() -> None:
    document: dict[str, Any] = json.loads((ROOT / "backend" / "openapi.json").read_text("utf-8"))
    exported = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert {_quoted(row[0]) for row in _table("## The routes")} == exported | {"GET /metrics"}


def test_every_error_stands_in_the_page_with_its_status_and_no_other() -> None:
    rows = [(int(row[0]), _quoted(row[1])) for row in _table("## Errors")]
    errors = _read_errors()
    assert {(409, "slot_taken"), (429, "too_many_requests"), (404, "not_found")} <= errors
    assert set(rows) == errors
    assert len(rows) == len(set(rows))


def test_every_error_that_is_made_has_a_code_that_can_be_read_here() -> None:
    # One with a computed code would be missing above; `_on_http_exception` takes its codes from the table that is read.
    computed = [ast.unparse(call) for call in _calls("ApiError") if not isinstance(call.args[1], ast.Constant)]
    assert computed == ["ApiError(error.status_code, code, message, action=action, headers=headers)"]


def test_every_security_header_stands_in_the_page_with_its_value() -> None:
    rows = _table("`Strict-Transport-Security` too:")
    assert {_quoted(row[0]): _quoted(row[1]) for row in rows} == dict(SECURITY_HEADERS)


def test_every_metric_stands_in_the_page_and_no_other() -> None:
    start = next(line for line in PAGE.splitlines() if line.startswith("`METRICS_TOKEN`, as a bearer token"))
    assert {_quoted(row[0]) for row in _table(start)} == _read_metrics()


def test_every_check_of_health_stands_in_the_page_and_no_other() -> None:
    class Database:
        async def probe(self, *, within: float) -> Schema:
            return Schema(has_tables=True, applied=frozenset())

    checks = asyncio.run(check_database(Database(), expected=frozenset(), within=60.0))
    checks |= check_integrations(Settings.model_construct(), vendors.VendorCalls(), Counts())
    start = next(line for line in PAGE.splitlines() if line.startswith("quarter of that)"))
    assert {_quoted(row[0]) for row in _table(start)} == set(checks)


def test_every_state_of_a_reminder_stands_in_the_page_and_no_other() -> None:
    start = next(line for line in PAGE.splitlines() if line.startswith("number of them may run."))
    assert {_quoted(row[0]) for row in _table(start)} == set(get_args(Status))


def test_every_problem_of_a_calendar_stands_in_the_page() -> None:
    assert [one for one in get_args(CalendarProblem) if f"`{one}`" not in PAGE] == []


def test_every_event_of_stripe_that_is_taken_stands_in_the_page_and_is_asked_for_in_the_runbook() -> None:
    source = Path(stripe_events.__file__).read_text("utf-8")
    events = set(re.findall(r'"((?:checkout|charge)\.[a-z_.]+)"', source))
    start = next(line for line in PAGE.splitlines() if line.startswith("`POST /api/webhooks/stripe` takes"))
    assert {_quoted(row[0]) for row in _table(start)} == events
    assert [event for event in events if f"`{event}`" not in RUNBOOK] == []


def test_what_the_runbook_tells_to_look_for_in_the_log_is_what_is_logged() -> None:
    source = "\n".join(file.read_text("utf-8") for file in APP.rglob("*.py"))
    told = [
        "the database failed a health check",
        "a booking was paid twice",
        "a withdrawn payment was paid",
        "nobody can tell whether the reminder was sent, and it is not sent again",
        "no reminders are sent",
        "Twilio takes no messages: check TWILIO_ACCOUNT_SID",
        "a calendar was disconnected",
        "a calendar's token cannot be decrypted",
    ]
    flat = re.sub(r"\s+", " ", RUNBOOK)
    assert [text for text in told if text not in flat or text not in source] == []
