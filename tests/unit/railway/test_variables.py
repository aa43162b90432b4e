"""The variables of a service: what is sealed is told from what is absent, and every secret is masked at once."""

import json
from typing import Any

import httpx
import pytest

from fairlead._output import MASK, Redactor
from fairlead.exceptions import PlatformError, ResponseError
from fairlead.railway import RailwayClient, client
from tests.unit.railway.test_client import PLACE, TOKEN, Script, ok


@pytest.fixture
def redactor(monkeypatch: pytest.MonkeyPatch) -> Redactor:
    made = Redactor()
    monkeypatch.setattr(client, "redact", made)
    return made


def fetch(answer: Any, **options: Any) -> tuple[dict[str, str | None], httpx.Request]:
    script = Script(answer)
    with RailwayClient(TOKEN, transport=httpx.MockTransport(script), sleep=lambda _: None) as made:
        return dict(made.fetch_variables(**PLACE, **options)), script.requests[0]


def test_they_are_those_of_the_next_deployment_and_a_sealed_one_has_no_value(redactor: Redactor) -> None:
    told = {"A": "one-canary", "B": "", "C": None, "D": 5}
    found, request = fetch(ok({"variablesForServiceDeployment": told}))
    assert found == {"A": "one-canary", "B": "", "C": None, "D": None}
    assert json.loads(request.content)["variables"] == {"projectId": "p", "environmentId": "e", "serviceId": "s"}


def test_every_value_is_masked_but_those_that_are_public_or_say_where_it_runs(redactor: Redactor) -> None:
    told = {
        "DATABASE_URL": "postgresql://me:pass%20canary@host/shop",
        "STRANGE": "strange-canary",
        "LOG_LEVEL": "WARNING",
        "RAILWAY_SERVICE_NAME": "shop-web",
        "RAILWAY_TOKEN": "token-canary",
    }
    fetch(ok({"variablesForServiceDeployment": told}), public={"LOG_LEVEL"})
    shown = redactor("strange-canary pass%20canary [pass canary] token-canary WARNING shop-web")
    assert shown == f"{MASK} {MASK} [{MASK}] {MASK} WARNING shop-web"


@pytest.mark.parametrize("answer", [ok({"variablesForServiceDeployment": "canary"}), httpx.Response(500)])
def test_an_answer_that_makes_no_sense_is_no_answer(answer: httpx.Response, redactor: Redactor) -> None:
    with pytest.raises(PlatformError):
        fetch(answer)


def test_a_refusal_is_told() -> None:
    refused = httpx.Response(200, json={"data": None, "errors": [{"message": "Not Authorized"}]})
    with pytest.raises((ResponseError, PlatformError)):
        fetch(refused)


def test_a_sealed_variable_counts_as_set_where_names_are_asked_for(redactor: Redactor) -> None:
    script = Script(ok({"variables": {"SHOWN": "a-canary", "SEALED": None, "EMPTY": ""}}))
    with RailwayClient(TOKEN, transport=httpx.MockTransport(script), sleep=lambda _: None) as made:
        assert made.fetch_variable_names(**PLACE) == {"SHOWN", "SEALED"}
