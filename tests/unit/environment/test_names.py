"""What the names of an environment's variables tell: what is missing, empty, given by halves or misspelt."""

import pytest

from fairlead.environment.names import find_misspelt, find_notes, find_problems
from tests.unit.environment.described import description

WHOLE = {"DATABASE_URL": True, "SIGNING_KEY": True}


def problems(present: dict[str, bool], *, deployed: bool = True) -> list[tuple[str, str]]:
    return [(one.variable, one.kind) for one in find_problems(description(), present, deployed=deployed)]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (WHOLE, []),
        ({"database_url": True, "Signing_Key": True}, []),
        ({}, [("DATABASE_URL", "missing"), ("SIGNING_KEY", "missing")]),
        ({**WHOLE, "SIGNING_KEY": False}, [("SIGNING_KEY", "empty")]),
        ({**WHOLE, "LOG_LEVEL": False}, []),
        ({"DATABSE_URL": True, "SIGNING_KEY": True}, [("DATABASE_URL", "missing"), ("DATABSE_URL", "misspelt")]),
        ({**WHOLE, "LOGLEVEL": True}, [("LOGLEVEL", "misspelt")]),
        ({**WHOLE, "PAY_KEY": True}, [("PAY_SECRET", "partial")]),
        ({**WHOLE, "PAY_SECRET": True, "PAY_KEY": False}, [("PAY_KEY", "partial")]),
        ({**WHOLE, "PAY_SECRET": True, "PAY_KEY": True}, []),
    ],
)
def test_what_is_wrong_is_found_by_name(present: dict[str, bool], expected: list[tuple[str, str]]) -> None:
    assert problems(present) == expected


def test_what_is_required_where_it_is_deployed_may_be_absent_elsewhere() -> None:
    assert problems({"DATABASE_URL": True}, deployed=False) == []
    assert problems({}, deployed=False) == [("DATABASE_URL", "missing")]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_ULR", "DATABASE_URL"),
        ("DATABASES_URLS", "DATABASE_URL"),
        ("DATABASEURL", "DATABASE_URL"),
        ("LOG_LEVELS", "LOG_LEVEL"),
        ("PAYKEY", "PAY_KEY"),
        ("PAY_KEYS", "PAY_KEY"),
        ("DATABASE_PUBLIC_URL", None),
        ("SIGNING", None),
        ("PORTS", None),
        ("HOST", None),
        ("PATH", None),
        ("", None),
        ("LOG_LEVEL", None),
        ("log_level", None),
    ],
)
def test_a_slip_is_told_from_another_name(name: str, meant: str | None) -> None:
    assert dict(find_misspelt(description(), [name])).get(name) == meant


def test_what_stops_nothing_is_noted() -> None:
    notes = find_notes(description(), {**WHOLE, "LOG_LEVEL": False, "DATABSE_URL": True, "PATH": False})
    assert notes == (
        "LOG_LEVEL is empty, which counts as absent",
        "DATABSE_URL is read by nothing, and DATABASE_URL is set",
    )
