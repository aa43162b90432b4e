"""The phone: which numbers are taken, and that the receptionist has one."""

from typing import Any

import pytest

from fairlead.verification.api import Api
from fairlead.verification.phases import InPhase

SUITE_ORDER = 3
BUSINESS = "/api/business/me"
PHONE = ("phone_number", "receptionist_enabled")
#: From the range that is kept for fiction, so that nobody is ever called.
NUMBER, OTHER_NUMBER = "+12025550142", "+12025550143"


@pytest.mark.smoke
def test_a_number_is_taken_and_read_back(account: Api, phase: InPhase, restored_settings: Any) -> None:
    with restored_settings(*PHONE) as before:
        number = NUMBER if before["phone_number"] != NUMBER else OTHER_NUMBER
        with phase("update"):
            assert account.put(BUSINESS, {"phone_number": number}).object()["phone_number"] == number
        with phase("persistence"):
            assert account.get(BUSINESS).object()["phone_number"] == number


@pytest.mark.smoke
def test_the_receptionist_needs_a_number(account: Api, phase: InPhase, restored_settings: Any) -> None:
    with restored_settings(*PHONE):
        with phase("update"):
            account.put(BUSINESS, {"receptionist_enabled": False, "phone_number": None}).object()
            account.put(BUSINESS, {"receptionist_enabled": True}).problem(409, 422)
        with phase("state"):
            read = account.get(BUSINESS).object()
            assert (read["phone_number"], read["receptionist_enabled"]) == (None, False)


def test_the_number_of_an_enabled_receptionist_stays(account: Api, phase: InPhase, restored_settings: Any) -> None:
    with restored_settings(*PHONE):
        with phase("update"):
            answered = account.put(BUSINESS, {"phone_number": NUMBER, "receptionist_enabled": True}).object()
            assert (answered["phone_number"], answered["receptionist_enabled"]) == (NUMBER, True)
            account.put(BUSINESS, {"phone_number": None}).problem(409, 422)
        with phase("state"):
            read = account.get(BUSINESS).object()
            assert (read["phone_number"], read["receptionist_enabled"]) == (NUMBER, True)


@pytest.mark.parametrize(
    "number",
    [
        "12025550142",
        "+0123456789",
        "+1 202 555 0142",
        "+1202555014x",
        "+123456",
        "+1234567890123456",
        "tel:+12025550142",
        "+12025550142\n",
        "+1202555014\N{FULLWIDTH DIGIT TWO}",
        "",
        12025550142,
    ],
)
def test_what_is_no_number_in_e164_is_refused(
    account: Api, phase: InPhase, restored_settings: Any, number: object
) -> None:
    with restored_settings(*PHONE) as before:
        with phase("update"):
            account.put(BUSINESS, {"phone_number": number}).problem(422)
        with phase("state"):
            assert account.get(BUSINESS).object()["phone_number"] == before["phone_number"]
