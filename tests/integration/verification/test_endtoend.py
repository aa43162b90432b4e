"""The plugin's end-to-end part, as a suite's process: its exit code by phase, what it reports, and what it leaves."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.integration.verification.notes import (
    CREDENTIALS,
    EMAIL,
    LEDGER,
    PASSWORD,
    SUITE,
    TOKEN,
    Notes,
    serving_notes,
    write_suite,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def notes() -> Iterator[Notes]:
    with serving_notes() as server:
        yield server


def make_environment(**variables: str) -> dict[str, str]:
    kept_away = ("PYTEST_", "COV_CORE_", "VERIFY_", "SMOKE_TEST")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(kept_away)}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}


def make_arguments(folder: Path, *arguments: object) -> list[str]:
    options = ["-p", "fairlead.pytest_plugin", "-p", "no:cacheprovider", "--tb=short", "-W", "error", "--capture=sys"]
    # Without --confcutdir everything beside each folder above is looked at: with -c, the whole of /tmp.
    place = ["-c", os.devnull, "--rootdir", folder, "--confcutdir", folder, "--import-mode=importlib"]
    return [str(part) for part in (*options, *place, *arguments, folder)]


def start(folder: Path, *arguments: object, **variables: str) -> "subprocess.Popen[str]":
    """Start a suite as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *make_arguments(folder, *arguments)],
        env=make_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *arguments: object, **variables: str) -> tuple[int, str]:
    """Run a suite in this process, which is quicker; its modules are read anew each time."""
    for file in folder.glob("test_*.py"):
        sys.modules.pop(file.stem, None)
    output = io.StringIO()
    with (
        mock.patch.dict(os.environ, make_environment(**variables), clear=True),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        code = pytest.main(make_arguments(folder, *arguments))
    return int(code), output.getvalue()


def check(folder: Path, notes: Notes, *arguments: object, **variables: str) -> tuple[int, str, dict[str, Any]]:
    report = folder / "report.json"
    code, output = run(folder, "--url", notes.url, "--e2e-report", report, *arguments, **{**CREDENTIALS, **variables})
    return code, output, json.loads(report.read_text("utf-8"))


@pytest.mark.parametrize(
    ("fault", "code", "phase", "says"),
    [
        ("", 0, None, ""),
        ("locked out", 1, "authentication", "200 was expected; it answers 401 and says wrong_credentials"),
        ("open", 1, "authentication", "401 was expected; it answers 200"),
        ("garbage", 2, "fetch", "GET /api/note: the answer is not JSON"),
        ("list", 2, "fetch", "GET /api/note: the answer is not a JSON object"),
        ("html", 3, "update", "it answers 500 without a structured body (text/html: '<html>Internal Server Error"),
        ("hang", 3, "update", "PUT /api/note: no answer within 0.5 s"),
        ("loses", 4, "persistence", "assert 'as it was' == 'changed'"),
    ],
)
def test_a_broken_service_is_told_by_the_phase_it_fails_in(
    fault: str, code: int, phase: str | None, says: str, notes: Notes, tmp_path: Path
) -> None:
    write_suite(tmp_path, "notes", order=1)
    notes.fault = fault
    ended, output, report = check(tmp_path, notes, "--answer-within", 0.5)
    assert (ended, report["exit_code"]) == (code, code), output
    failed = [one for one in report["checks"] if one["outcome"] == "failed"]
    assert {one["phase"] for one in failed} == ({phase} if phase else set())
    assert all(says in one["reason"] for one in failed), failed
    assert notes.note == "as it was"


def test_nothing_compiled_is_left_in_the_tree(notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    suites = tmp_path / "suites"
    suites.mkdir()
    write_suite(suites, "notes", order=1)
    (suites / "conftest.py").write_text("import pytest\n")

    check(suites, notes)

    assert not list(tmp_path.rglob("*.pyc"))
    assert sys.dont_write_bytecode is False


def test_what_is_told_holds_no_secret(notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "notes", order=1)
    write_suite(tmp_path, "talker", text=TALKER)
    write_suite(tmp_path, "skipper", text=SKIPPER)
    write_suite(tmp_path, "unreadable", text=UNREADABLE)
    write_suite(tmp_path, "left_out", text=LEFT_OUT)
    junit = tmp_path / "junit.xml"
    notes.fault = "locked out"
    going_on = ("--junit-xml", junit, "-ra", "--continue-on-collection-errors")
    _, output, report = check(tmp_path, notes, *going_on)
    told = output + json.dumps(report) + junit.read_text("utf-8")
    notes.fault = ""
    _, output, report = check(tmp_path, notes, *going_on)
    told += output + json.dumps(report) + junit.read_text("utf-8")
    for spoken in ("printed ••••••", "skipped ••••••", "plain ••••••", "unreadable ••••••", "left out ••••••"):
        assert spoken in told
    assert PASSWORD not in told
    assert TOKEN not in told


TALKER = """
import os

def test_it_talks(account):
    print("printed", os.environ["VERIFY_PASSWORD"], account._client.headers["Authorization"])
    assert account._client.headers["Authorization"] == os.environ["VERIFY_PASSWORD"]
"""


SKIPPER = """
import os, pytest

def test_it_skips(api, not_checked):
    not_checked("skipped " + os.environ["VERIFY_PASSWORD"])

def test_that_is_no_check_skips():
    pytest.skip("plain " + os.environ["VERIFY_PASSWORD"])
"""
UNREADABLE = "import os\nraise ValueError('unreadable ' + os.environ['VERIFY_PASSWORD'])\n"
LEFT_OUT = "import os, pytest\npytest.skip('left out ' + os.environ['VERIFY_PASSWORD'], allow_module_level=True)\n"


def test_junit_names_suite_and_phase(notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "notes", order=1)
    notes.fault = "loses"
    check(tmp_path, notes, "--junit-xml", tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - written by pytest a moment ago
    found = {(one.get("name"), one.get("value")) for one in root.iter("property")}
    assert {("suite", "notes"), ("phase", "persistence")} <= found
    assert len(list(root.iter("failure"))) == 1


@pytest.mark.parametrize("asked", ["--smoke", "SMOKE_TEST"])
def test_smoke_runs_only_what_is_marked_so(asked: str, notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "notes", order=1)
    arguments, variables = ((asked,), {}) if asked.startswith("-") else ((), {asked: "true"})
    code, _, report = check(tmp_path, notes, *arguments, **variables)
    assert (code, report["smoke"]) == (0, True)
    assert [one["name"] for one in report["checks"]] == ["test_a_note_is_kept"]


@pytest.mark.parametrize(
    ("without", "code", "outcome"), [((), 5, "not checked"), (("--without", "ledger"), 0, "without")]
)
def test_what_the_service_lacks_is_said_and_healthy_only_where_that_is_declared(
    without: tuple[str, ...], code: int, outcome: str, notes: Notes, tmp_path: Path
) -> None:
    write_suite(tmp_path, "notes", order=1)
    write_suite(tmp_path, "ledger", text=LEDGER)
    ended, output, report = check(tmp_path, notes, *without)
    assert ended == code, output
    assert [one["reason"] for one in report["checks"] if one["outcome"] == outcome] == ["There is no ledger here."]
    assert f"{outcome}: ledger test_the_ledger_balances: There is no ledger here." in output


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def test_a_bug_of_its_own(api):\n    {}['missing']\n", 5),
        ("import nowhere\n", 5),
        ("def test_nothing(:\n", 5),
        ("", 5),
        ("import pytest\n@pytest.mark.phase('state')\ndef test_it(api):\n    assert api is None\n", 4),
        ("import pytest\ndef test_it(api):\n    pytest.skip('because')\n", 5),
        ("import os, signal\ndef test_it(api):\n    os.kill(os.getpid(), signal.SIGINT)\n", 5),
        ("def test_it(api):\n    pass\ndef test_that_is_no_check():\n    assert False\n", 5),
        ("def test_it(api):\n    pass\n", 0),
    ],
)
def test_whatever_else_goes_wrong_is_unexpected(text: str, code: int, notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "odd", text=text or "\n")
    ended, output, report = check(tmp_path, notes)
    assert (ended, report["exit_code"]) == (code, code), output


@pytest.mark.parametrize("given", [{}, {"VERIFY_EMAIL": EMAIL}, {"VERIFY_PASSWORD": PASSWORD}])
def test_without_an_account_nothing_is_checked(given: dict[str, str], notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "notes", text=SUITE.format(order=1).partition("def test_nobody")[0])
    code, output = run(tmp_path, "--url", notes.url, **given)
    assert code == 5
    assert "VERIFY_EMAIL and VERIFY_PASSWORD are not both set" in output


def test_without_an_address_nothing_is_checked_and_nothing_else_is_disturbed(tmp_path: Path) -> None:
    write_suite(tmp_path, "notes", order=1)
    code, output = run(tmp_path, **CREDENTIALS)
    assert (code, "--url does not say which service" in output) == (5, True)
    (tmp_path / "test_unit.py").write_text("def test_it():\n    pass\n", "utf-8")
    assert run(tmp_path, **CREDENTIALS)[0] == 0


def test_a_phase_that_there_is_not_is_refused(notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "odd", text="def test_it(api, phase):\n    with phase('fecth'):\n        pass\n")
    code, output, _ = check(tmp_path, notes)
    assert (code, "'fecth' is not a valid Phase" in output) == (5, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_suite_that_is_broken_off_puts_back_what_it_changed(number: int, notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "notes", order=1)
    notes.fault = "hang after"
    report = tmp_path / "report.json"
    with start(tmp_path, "--url", notes.url, "--e2e-report", report, **CREDENTIALS) as child:
        assert notes.hanging.wait(60)
        assert notes.note == "changed"
        child.send_signal(number)
        output, _ = child.communicate(timeout=60)
    assert child.returncode == 5, output
    assert (notes.note, notes.written) == ("as it was", ["changed", "as it was"])
    assert json.loads(report.read_text("utf-8"))["interrupted"] is True


def test_with_xdist_it_is_the_same(notes: Notes, tmp_path: Path) -> None:
    write_suite(tmp_path, "notes", order=1)
    write_suite(tmp_path, "ledger", text=LEDGER)
    notes.fault = "loses"
    report = tmp_path / "report.json"
    arguments = ("--url", notes.url, "--e2e-report", report, "-p", "xdist.plugin", "-n", "2")
    with start(tmp_path, *arguments, **CREDENTIALS) as child:
        output, _ = child.communicate(timeout=120)
    assert child.returncode == 4, output
    checks = json.loads(report.read_text("utf-8"))["checks"]
    assert sorted(one["outcome"] for one in checks) == ["failed", "not checked", "passed"]
