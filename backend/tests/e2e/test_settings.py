"""The settings of the business: log in, read, change, read back; and who is not let in."""

import uuid
from typing import Any

import pytest

from fairlead.verification.api import Api
from fairlead.verification.phases import InPhase

SUITE_ORDER = 1
BUSINESS = "/api/business/me"
KEPT = {"name": str, "timezone": str, "greeting": str, "receptionist_enabled": bool, "updated_at": str}


@pytest.mark.smoke
def test_what_is_changed_is_read_back(account: Api, phase: InPhase, restored_settings: Any, mark: str) -> None:
    with restored_settings("greeting", "timezone") as before:
        timezone = "Europe/Berlin" if before["timezone"] != "Europe/Berlin" else "Europe/Paris"
        wanted = {"greeting": f"Hello {mark}", "timezone": timezone}
        with phase("update"):
            answered = account.put(BUSINESS, wanted).object()
            assert {name: answered.get(name) for name in wanted} == wanted
        with phase("persistence"):
            read = account.get(BUSINESS).object()
            assert {name: read.get(name) for name in wanted} == wanted


@pytest.mark.smoke
@pytest.mark.phase("fetch")
def test_the_settings_have_their_form(account: Api) -> None:
    settings = account.get(BUSINESS).object()
    assert uuid.UUID(settings["id"])
    assert {name: type(settings.get(name)) for name in KEPT} == KEPT
    assert settings["phone_number"] is None or isinstance(settings["phone_number"], str)


@pytest.mark.smoke
@pytest.mark.phase("authentication")
def test_nobody_is_let_in_without_a_token(api: Api, restored_settings: Any) -> None:
    api.get(BUSINESS).problem(401, code="not_authenticated")
    with restored_settings("greeting"):
        api.put(BUSINESS, {"greeting": "not mine"}).problem(401, code="not_authenticated")


@pytest.mark.phase("authentication")
# pragma: allowlist nextline secret - its algorithm is `none`, which the service must refuse
@pytest.mark.parametrize("token", ["not.a.token", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ4In0."])
def test_a_forged_token_is_refused(api: Api, token: str) -> None:
    api.get(BUSINESS, authorization=f"Bearer {token}").problem(401, code="not_authenticated")


def test_one_setting_is_changed_and_the_others_stay(
    account: Api, phase: InPhase, restored_settings: Any, mark: str
) -> None:
    with restored_settings("greeting", "name") as before:
        with phase("update"):
            account.put(BUSINESS, {"greeting": mark}).object()
        with phase("state"):
            read = account.get(BUSINESS).object()
            assert (read["greeting"], read["name"]) == (mark, before["name"])


@pytest.mark.parametrize(
    "refused",
    [
        {"timezone": "Middle/Earth"},
        {"timezone": 7},
        {"name": ""},
        {"greeting": "x" * 1001},
        {"greeting": "null \x00 character"},
        {"no_such_setting": 1},
        {"id": "00000000-0000-0000-0000-000000000000"},
        [],
    ],
)
def test_what_is_refused_changes_nothing(account: Api, phase: InPhase, restored_settings: Any, refused: object) -> None:
    with restored_settings("id", "name", "timezone", "greeting") as before:
        with phase("update"):
            account.put(BUSINESS, refused).problem(422)
        with phase("state"):
            after = account.get(BUSINESS).object()
            assert {name: after[name] for name in before} == before


def test_malformed_json_is_refused(account: Api, phase: InPhase, restored_settings: Any) -> None:
    with restored_settings("greeting"), phase("update"):
        headers = {"Content-Type": "application/json"}
        account.request("PUT", BUSINESS, content=b'{"greeting": ', headers=headers).problem(400, 422)
        account.request("PUT", BUSINESS, content=b'{"greeting": "\xff"}', headers=headers).problem(400, 422)
