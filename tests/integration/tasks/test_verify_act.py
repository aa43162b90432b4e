"""`verify` with its suites: exit codes, the table, what is kept, what is said of what was not checked."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead.history import History
from tests.integration.tasks.test_acts import Done, run_act
from tests.integration.verification.notes import (
    CREDENTIALS,
    LEDGER,
    PASSWORD,
    SUITE,
    TOKEN,
    Notes,
    serving_notes,
    write_suite,
)

ROOT = Path(__file__).resolve().parents[3]
PYPROJECT = """\
[tool.fairlead]
name = "notes"
deploy = { confirmations = 1 }

[tool.fairlead.verify]
suites = "checks"
timeout = %s

[tool.fairlead.environments.staging]
platform = "railway"
url = "%s"
without = ["ledger"]

[tool.pytest.ini_options]
addopts = ["--an-option-of-a-plugin-that-is-not-loaded"]
"""
PASSING = "def test_it(api):\n    api.get('/api/health').object()\n"
HANGING = "import time\ndef test_it(api):\n    time.sleep(600)\n"

Verify = Callable[..., Done]


@pytest.fixture
def notes() -> Iterator[Notes]:
    with serving_notes() as server:
        yield server


@pytest.fixture
def root(notes: Notes, tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT % ("60", notes.url), "utf-8")
    (tmp_path / "checks").mkdir()
    return tmp_path


@pytest.fixture
def verify(root: Path, notes: Notes) -> Verify:
    return lambda *arguments, **variables: run_act(
        root, "verify", "--url", notes.url, *arguments, **{**CREDENTIALS, **variables}
    )


def test_every_suite_stands_in_the_table_with_its_log_and_in_the_history(
    verify: Verify, root: Path, notes: Notes
) -> None:
    write_suite(root / "checks", "notes", order=1)
    write_suite(root / "checks", "other", text=PASSING)
    done = verify()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["suite", "result", "passed", "failed", "not", "checked", "without", "time", "log"]
    assert [line.split()[:6] for line in lines[2:]] == [
        ["notes", "passed", "2", "0", "0", "0"],
        ["other", "passed", "1", "0", "0", "0"],
    ]
    log = root / lines[2].split()[-1]
    assert "2 passed" in log.read_text("utf-8")
    assert log.parent.stat().st_mode & 0o777 == 0o700
    assert "3 checks of 2 suites passed" in done.stderr
    event = History(root / ".fairlead").load()[-1]
    assert (event.name, event.verdict, set(event.steps)) == ("verify", "healthy", {"notes", "other"})
    kept = "".join(file.read_text("utf-8") for file in (root / ".fairlead").rglob("*") if file.is_file())
    assert PASSWORD not in kept + done.stdout + done.stderr
    assert TOKEN not in kept + done.stdout + done.stderr


@pytest.mark.parametrize(
    ("places", "code"),
    [({"a": 1}, 1), ({"a": 4}, 4), ({"a": None, "b": 2}, 4)],
)
def test_the_place_of_the_one_suite_that_fails_is_the_exit_code(
    places: dict[str, int | None], code: int, verify: Verify, root: Path, notes: Notes
) -> None:
    for name, order in places.items():
        write_suite(root / "checks", name, order=order)
    write_suite(root / "checks", "other", text=PASSING)
    notes.fault = "loses"
    done = verify("--smoke", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"]) == (code, "unhealthy"), done.stderr
    by_name = {one["name"]: one for one in told["suites"]}
    assert {by_name[name]["exit_code"] for name in places} == {4}
    assert "fails its suites" in told["sentence"]
    assert by_name["other"]["reason"] == "it has no smoke check; mark one"
    assert "test_a_note_is_kept (persistence)" in done.stderr
    assert "read the logs in" in done.stderr


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"VERIFY_PASSWORD": ""}, "VERIFY_PASSWORD is not set"),
        ({"VERIFY_EMAIL": "", "VERIFY_PASSWORD": ""}, "VERIFY_EMAIL and VERIFY_PASSWORD are not set"),
    ],
)
def test_without_an_account_it_could_not_be_checked(
    variables: dict[str, str], says: str, verify: Verify, root: Path
) -> None:
    write_suite(root / "checks", "notes", order=1)
    done = verify("--json", **variables)
    told = json.loads(done.stdout)
    assert (done.returncode, says in done.stderr, told["verdict"]) == (5, True, "inconclusive"), done.stderr
    assert says in told["reason"]
    assert verify("--probes", **variables).returncode == 0


def test_a_wrong_password_is_a_failure_and_is_not_told(verify: Verify, root: Path) -> None:
    write_suite(root / "checks", "notes", order=2)
    done = verify(VERIFY_PASSWORD="another-password-of-the-notes")
    assert (done.returncode, "(authentication)" in done.stderr) == (2, True), done.stderr
    assert "another-password" not in done.stdout + done.stderr


def test_what_was_not_checked_is_said_and_spoils_the_verdict_unless_it_is_declared(
    verify: Verify, root: Path, notes: Notes
) -> None:
    write_suite(root / "checks", "ledger", text=LEDGER)
    done = verify()
    assert (done.returncode, "There is no ledger here." in done.stderr) == (5, True), done.stderr
    nothing = run_act(root, "verify", "--env", "staging", **CREDENTIALS)
    assert (nothing.returncode, "in full: ledger: There is no ledger" in nothing.stderr) == (5, True), nothing.stderr
    write_suite(root / "checks", "notes", order=1)
    declared = run_act(root, "verify", "--env", "staging", **CREDENTIALS)
    assert declared.returncode == 0, declared.stderr
    assert "without: ledger, test_the_ledger_balances: There is no ledger here." in declared.stderr


@pytest.mark.parametrize("text", ["import nowhere\n", "\n"])
def test_a_suite_that_cannot_be_run_is_not_healthy(text: str, verify: Verify, root: Path) -> None:
    write_suite(root / "checks", "broken", text=text)
    assert verify().returncode == 5


def test_a_suite_that_does_not_end_is_killed_and_told(root: Path, notes: Notes) -> None:
    (root / "pyproject.toml").write_text(PYPROJECT % ("1.5", notes.url), "utf-8")
    write_suite(root / "checks", "hanging", text=HANGING)
    done = run_act(root, "verify", "--url", notes.url, **CREDENTIALS)
    assert (done.returncode, "it did not end within 1.5 s and was killed" in done.stderr) == (4, True), done.stderr


def test_a_dead_service_is_told_before_any_suite_is_run(root: Path, notes: Notes) -> None:
    write_suite(root / "checks", "notes", order=1)
    (root / "pyproject.toml").write_text(PYPROJECT % ("60", "http://127.0.0.1:9"), "utf-8")
    done = run_act(root, "verify", "--env", "staging", **CREDENTIALS)
    assert (done.returncode, "could not be checked" in done.stderr) == (5, True), done.stderr
    assert not (root / ".fairlead" / "verify").exists()


@pytest.mark.parametrize(
    ("named", "arguments", "code", "says"),
    [
        ('suites = "checks"', (), 10, "holds no suite test_NAME.py"),
        ('suites = "checks"', ("--smoke",), 10, "holds no suite test_NAME.py"),
        ('suites = "checks"', ("--probes",), 0, "is healthy and serves sha256:the-notes\n"),
        ('suites = "no-such-folder"', (), 10, "no-such-folder"),
        ("", (), 0, "no suites: "),
        ("", ("--smoke",), 5, "no smoke check could be made"),
    ],
)
def test_where_there_is_no_suite_nobody_is_told_that_they_passed(
    named: str, arguments: tuple[str, ...], code: int, says: str, verify: Verify, root: Path
) -> None:
    text = (root / "pyproject.toml").read_text("utf-8").replace('suites = "checks"', named)
    (root / "pyproject.toml").write_text(text, "utf-8")
    write_suite(root / "checks", "notes").rename(root / "checks" / "notes_test.py")
    done = verify(*arguments)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr


def test_a_release_that_takes_over_while_the_suites_run_is_not_vouched_for(
    verify: Verify, root: Path, notes: Notes
) -> None:
    write_suite(root / "checks", "notes", order=1)
    notes.fault = "replaced"
    done = verify("--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"]) == (5, "inconclusive"), done.stderr
    assert "served sha256:the-notes when the suites began, and sha256:another-release" in told["sentence"]


@pytest.mark.parametrize("place", ["verify", "local platform"])
def test_what_could_not_be_looked_at_is_told_as_json_too(place: str, verify: Verify, root: Path) -> None:
    write_suite(root / "checks", "notes", order=1)
    (root / ".fairlead").mkdir()
    (root / ".fairlead" / "verify").write_text("a file in the way", "utf-8")
    done = verify("--json") if place == "verify" else run_act(root, "verify", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"]) == (5, "inconclusive"), done.stderr
    assert place in told["reason"]
    assert "is healthy" not in done.stdout + done.stderr


@pytest.mark.parametrize("address", ["https://user:pw-canary@notes.test", "notes.test"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(address: str, root: Path) -> None:
    done = run_act(root, "verify", "--url", address, **CREDENTIALS)
    assert (done.returncode, "--url must be an address" in done.stderr) == (10, True), done.stderr
    assert "canary" not in done.stdout + done.stderr


def start(root: Path, url: str) -> "subprocess.Popen[str]":
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "PYTEST_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "fairlead", "verify", "--url", url],
        cwd=root,
        env={**variables, "PYTHONPATH": str(ROOT), **CREDENTIALS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_broken_off_it_ends_every_suite_which_puts_back_what_it_changed(
    number: int, code: int, verify: Verify, root: Path, notes: Notes
) -> None:
    write_suite(root / "checks", "notes", order=1)
    write_suite(
        root / "checks",
        "hanging",
        text=HANGING.replace("time.sleep", "print(__import__('os').getpid(), flush=True); time.sleep"),
    )
    notes.fault = "hang after"
    with start(root, notes.url) as child:
        assert notes.hanging.wait(60)
        second = verify()
        child.send_signal(number)
        _, told = child.communicate(timeout=60)
    assert (child.returncode, notes.note) == (code, "as it was"), told
    assert (second.returncode, "are run on" in second.stderr) == (15, True), second.stderr
    assert [one.verdict for one in History(root / ".fairlead").load()] == ["interrupted"]
    assert no_suite_runs(root)


def test_killed_it_leaves_the_turn_to_its_suites_until_they_have_ended(
    verify: Verify, root: Path, notes: Notes
) -> None:
    write_suite(root / "checks", "notes", order=1)
    notes.fault = "hang after"
    with start(root, notes.url) as child:
        assert notes.hanging.wait(60)
        child.kill()
        child.communicate(timeout=60)
    second = verify()
    notes.released.set()
    assert (second.returncode, "are run on" in second.stderr) == (15, True), second.stderr
    assert no_suite_runs(root)
    third = verify()
    assert (third.returncode, notes.note) == (0, "as it was"), third.stderr


def no_suite_runs(root: Path) -> bool:
    """Tell whether no process is left that runs a suite of this test."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = [one for one in Path("/proc").glob("[0-9]*/cmdline") if _is_of(one, root)]
        if not found:
            return True
        time.sleep(0.05)
    return False


def _is_of(file: Path, root: Path) -> bool:
    try:
        return re.search(rb"pytest\0.*" + re.escape(os.fsencode(root)), file.read_bytes()) is not None
    except OSError:
        return False


def test_the_exit_code_of_smoke_in_a_variable_is_the_same(verify: Verify, root: Path) -> None:
    write_suite(root / "checks", "notes", text=SUITE.format(order=1))
    done = verify("--json", SMOKE_TEST="true")
    assert (done.returncode, json.loads(done.stdout)["suites"][0]["passed"]) == (0, 1), done.stderr
