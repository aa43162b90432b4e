from pathlib import Path

import pytest

from fairlead._locks import parse
from fairlead._process import Completed
from fairlead.security import dependencies
from fairlead.security.advisories import Database
from fairlead.security.locked import Locked, find_unlocked, read_locked
from fairlead.security.report import Finding

FIRST, SECOND = dependencies.CONTROLS
SIX = Locked("six", "1.16.0", "requirements.txt", 9)
HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("locked", "control"), [((), FIRST), (("six",), FIRST), ((FIRST.name,), SECOND), ((FIRST.name, SECOND.name), None)]
)
def test_a_control_is_none_of_the_locked_packages(locked: tuple[str, ...], control: Locked | None) -> None:
    assert dependencies.choose_control(dict.fromkeys(locked, SIX)) == control


@pytest.mark.parametrize("control", dependencies.CONTROLS, ids=str)
def test_a_control_is_vulnerable_by_its_own_advisory_and_its_lock_is_one(control: Locked, tmp_path: Path) -> None:
    assert Database([dependencies.advisory_of(control)]).affecting(control.name, control.version)
    pins, problems = parse(dependencies.write_control(control, tmp_path).read_text("utf-8"))
    assert not problems
    assert [str(pin) for pin in pins.values()] == [f"{control.name}=={control.version}"]


def test_a_control_that_was_found_leaves_the_other_findings() -> None:
    own = Finding("A", "", "", subject=str(FIRST))
    other = Finding("B", "", "requirements.txt", subject="six 1.16.0")
    assert dependencies.take_out_control([own, other], FIRST) == ((other,), [])


def test_a_control_that_was_not_found_is_a_gap() -> None:
    findings, (gap,) = dependencies.take_out_control([], FIRST)
    assert findings == ()
    assert "pycrypto 2.6.1" in gap


def test_without_a_control_findings_stay_as_they_are() -> None:
    found = Finding("A", "", "", subject=str(FIRST))
    assert dependencies.take_out_control([found], None) == ((found,), [])


def test_what_holds_for_many_packages_is_said_once() -> None:
    expected = {f"p{number}": Locked(f"p{number}", "1", "requirements.txt", number) for number in range(9)}
    assert dependencies.find_gaps(expected, {}, dict.fromkeys(expected, "404")) == [
        "9 packages, p0 to p8: skipped: 404"
    ]
    assert dependencies.find_gaps(expected, dict.fromkeys(expected, "1")) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("six==1.16.0\n", "six==1.16.0 has no hash"),
        (f"six>=1.16.0 {HASH}\n", "is not a pinned requirement"),
        (f"six==1.15.0 {HASH}\n", "six==1.15.0 is locked, and 1.16.0 in a.txt"),
        ("six @ https://example.com/six.whl\n", "names an address"),
        (f"six==1.15.0 ; python_version < '3' {HASH}\nSix==1.16.0 {HASH}\n", "six is locked 2 times"),
        (f"six==1.16.0 \\\npython-jose==3.3.0 {HASH}\n", "python-jose stands in the entry of another package"),
    ],
)
def test_what_is_not_locked_is_told(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.txt").write_text(f"six==1.16.0 \\\n    {HASH}\n")
    (tmp_path / "b.txt").write_text(text)
    (found,) = find_unlocked(tmp_path, ["a.txt", "b.txt"])
    assert found.startswith("b.txt: ")
    assert problem in found
    assert find_unlocked(tmp_path, ["a.txt"]) == []
    assert read_locked(tmp_path, ["a.txt", "b.txt"])["six"].version == "1.16.0"


@pytest.mark.parametrize(
    ("text", "says"), [("", "it is empty"), (" \n", "it is empty"), ("[]", "list without"), ("{", "Expecting")]
)
def test_a_report_that_is_not_usable_says_why(text: str, says: str) -> None:
    assert says in dependencies.describe(text)


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("", "it ended with exit code 1 and said nothing"),
        ("one\ntwo\n", "two"),
        ("a.b.HTTPError: 404 Client Error\nDuring handling:\na.ServiceError\n", "a.b.HTTPError: 404 Client Error"),
        ("ERROR:pip_audit._cli:no hash\n", "ERROR:pip_audit._cli:no hash"),
    ],
)
def test_what_failed_says_why_in_the_line_that_names_an_error(output: str, cause: str) -> None:
    assert dependencies.find_cause(Completed(("x",), 1, "", output)) == cause


def test_an_advisory_is_told_shortly_with_what_mends_it() -> None:
    assert dependencies.advise("bad " * 60, ["2", "3"]).endswith("… (fixed in 2, 3)")
    assert dependencies.advise("bad", []) == "bad (no version fixes it)"
