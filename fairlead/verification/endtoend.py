"""The end-to-end part of the pytest plugin: options, fixtures, exit codes and the report of a suite.

A test is an end-to-end check when it uses the fixture `api`, be it through another one. With `--url` the process ends
with 0 when every check passed, with 1 to 4 by the first phase in which one failed, and with 5 when something failed
outside of all phases, could not be checked, or nothing was checked at all.
"""

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import pytest

from fairlead._output import redact
from fairlead.verification.api import AnswerError, Api
from fairlead.verification.phases import InPhase, Phase, find_phase, in_phase
from fairlead.verification.results import Check, Outcome, SuiteReport

_EMAIL, _PASSWORD = "VERIFY_EMAIL", "VERIFY_PASSWORD"  # nosec B105 - the names of variables
_SECRET_NAME: Final = re.compile("PASSWORD|SECRET|TOKEN|KEY")
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_SUITE, _PHASE, _LACKS, _CRASH = "suite", "phase", "lacks", "crash"
_LACKING: Final = "lacks: "
_LONGEST_REASON: Final = 500
_collected = pytest.StashKey["_Collected"]()


class NotChecked:
    """What the fixture `not_checked` gives: `not_checked("no key was given", integration="stripe")`."""

    def __call__(self, reason: str, *, integration: str | None = None) -> NoReturn:
        """End the test as one that could not be made; `integration` is what the service says it does not have."""
        left_out = pytest.skip.Exception(reason)
        if integration is not None:
            left_out.add_note(_LACKING + integration)
        raise left_out


class _Collected:
    """What the checks of this run came to, by their ids."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self.errors: list[str] = []
        self.others_failed = False
        self.interrupted = False

    def add(self, report: pytest.TestReport, *, without: frozenset[str]) -> None:
        """Add how one part of a test went: the set-up, the call or the tear-down."""
        facts = dict(report.user_properties)
        if _SUITE not in facts:
            self.others_failed |= report.failed
            return
        check, before = _read_check(report, facts, without), self.checks.get(report.nodeid)
        self.checks[report.nodeid] = check if before is None else _merge(before, check)


def _merge(before: Check, after: Check) -> Check:
    """Make one of two parts of a check: what failed counts, then what could not be made, then the first."""
    weight = {Outcome.FAILED: 0, Outcome.NOT_CHECKED: 1, Outcome.WITHOUT: 2, Outcome.PASSED: 3}
    told = min(before, after, key=lambda one: weight[one.outcome])
    return replace(told, seconds=round(before.seconds + after.seconds, 3))


def _read_check(report: pytest.TestReport, facts: dict[str, Any], without: frozenset[str]) -> Check:
    name = report.nodeid.rpartition("::")[2]
    suite, seconds = str(facts[_SUITE]), round(report.duration, 3)
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        last = report.longreprtext.strip().rpartition("\n")[2]
        reason = crash.message if crash is not None else str(facts.get(_CRASH, last))
        phase = Phase(facts.get(_PHASE, Phase.UNEXPECTED))
        return Check(suite, name, Outcome.FAILED, seconds, phase, _shorten(reason))
    if report.skipped:
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        declared = facts.get(_LACKS) in without
        outcome = Outcome.WITHOUT if declared else Outcome.NOT_CHECKED
        return Check(suite, name, outcome, seconds, None, _shorten(said.removeprefix("Skipped: ")))
    return Check(suite, name, Outcome.PASSED, seconds)


def _shorten(reason: str) -> str:
    first = reason.strip().partition("\n")[0]
    return redact(first.removeprefix("fairlead.verification.api.").removeprefix("AnswerError: "))[:_LONGEST_REASON]


# --- Options ---


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of end-to-end runs."""
    group = parser.getgroup("fairlead", "end-to-end checks of a live service")
    group.addoption("--url", help="the address of the service that is checked")
    group.addoption("--smoke", action="store_true", help="only the checks marked smoke; also SMOKE_TEST=true")
    group.addoption("--login-path", default="/api/auth/login", help="where an e-mail and a password give a token")
    group.addoption(
        "--without",
        action="append",
        default=[],
        metavar="INTEGRATION",
        help="an integration that the service deliberately does not have; may be given again",
    )
    group.addoption("--answer-within", type=float, default=30.0, metavar="S", help="seconds that one answer may take")
    group.addoption("--e2e-report", type=Path, metavar="FILE", help="write what every check came to as JSON")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Leave no compiled suites in the tree: a checkout that has just been verified must not look changed."""
    if early_config.known_args_namespace.e2e_report is not None:
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        early_config.add_cleanup(lambda: setattr(sys, "dont_write_bytecode", before))


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and let SIGTERM end a run as Ctrl-C does, so that what was changed is put back."""
    config.addinivalue_line("markers", "smoke: an end-to-end check that --smoke runs too")
    config.addinivalue_line("markers", "phase(name): the phase of a whole end-to-end check, for its exit code")
    config.stash[_collected] = _Collected()
    for name, value in os.environ.items():
        if name.startswith("VERIFY_") and _SECRET_NAME.search(name):
            redact.register(value)
    if config.getoption("url") and threading.current_thread() is threading.main_thread():

        def end(_number: int, _frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is put back must not be broken off
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, end)

        def restore() -> None:
            signal.signal(signal.SIGTERM, before)

        config.add_cleanup(restore)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what is no smoke check, where only those are wanted."""
    if not _is_smoke(config):
        return
    left_out = [item for item in items if _is_check(item) and item.get_closest_marker("smoke") is None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_smoke(config: pytest.Config) -> bool:
    return bool(config.getoption("smoke")) or os.environ.get("SMOKE_TEST", "").strip().lower() in _TRUE


def _is_check(item: pytest.Item) -> bool:
    return "api" in getattr(item, "fixturenames", ())


# --- What happened ---


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Write down which phase a check failed in, and take secrets out of what is told about it."""
    report: pytest.TestReport = yield  # type: ignore[assignment]  # what pytest's own wrappers are given here
    # What is masked is a text, which does not say any more which of its lines tells why.
    crash = getattr(report.longrepr, "reprcrash", None)
    if item.config.getoption("url") or _is_check(item):
        _mask(report)
    if not _is_check(item):
        return report  # type: ignore[return-value]  # as above
    facts = {_SUITE: Path(item.path).stem.removeprefix("test_")}
    if call.excinfo is not None:
        error = call.excinfo.value
        if report.failed:
            facts[_PHASE] = str(find_phase(error, default=_marked_phase(item)))
            if crash is not None and isinstance(report.longrepr, str):
                facts[_CRASH] = redact(crash.message)
        else:
            for note in getattr(error, "__notes__", ()):
                if note.startswith(_LACKING):
                    facts[_LACKS] = note.removeprefix(_LACKING)
    for name, value in facts.items():
        if (name, value) not in item.user_properties:
            item.user_properties.append((name, value))
    report.user_properties = [one for one in item.user_properties if one[0] not in facts] + list(facts.items())
    return report  # type: ignore[return-value]  # as above


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Take secrets out of what is told about a file that cannot be read, or is left out."""
    report: pytest.CollectReport = yield  # type: ignore[assignment]  # as above
    if collector.config.getoption("url"):
        _mask(report)
    return report  # type: ignore[return-value]  # as above


def _mask(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Take secrets out of all that the terminal and the files show of a report."""
    report.sections = [(title, redact(text)) for title, text in report.sections]
    if isinstance(report.longrepr, tuple):  # why something is skipped, with its place
        path, line, reason = report.longrepr
        report.longrepr = (path, line, redact(reason))
    elif report.longrepr is not None and (masked := redact(report.longreprtext)) != report.longreprtext:
        report.longrepr = masked


def _marked_phase(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("phase")
    return str(marker.args[0]) if marker is not None and marker.args else None


class _Recorder:
    """Takes what every process of a run reports; with pytest-xdist, in the one that started the others."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._without = frozenset(config.getoption("without"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take how a test went."""
        self._config.stash[_collected].add(report, without=self._without)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take a file that cannot be read."""
        if report.failed:
            self._config.stash[_collected].errors.append(redact(report.longreprtext.strip())[-2000:])

    def pytest_keyboard_interrupt(self) -> None:
        """Take that the run was broken off."""
        self._config.stash[_collected].interrupted = True


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to record, in the process that judges."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Recorder(session.config), "fairlead-endtoend")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Set the exit code by what the checks came to, and write the report."""
    config = session.config
    collected = config.stash[_collected]
    if hasattr(config, "workerinput"):
        return
    url = config.getoption("url")
    if not url:
        # Only checks, and no service to make them on: nothing was checked.
        if collected.checks and len(collected.checks) == session.testscollected and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = Phase.UNEXPECTED.exit_code
        return
    report = SuiteReport(
        url=url,
        smoke=_is_smoke(config),
        interrupted=collected.interrupted,
        errors=tuple(collected.errors),
        checks=tuple(collected.checks.values()),
    )
    ordinary = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    code = report.exit_code if ordinary and not collected.others_failed else Phase.UNEXPECTED.exit_code
    session.exitstatus = code
    if target := config.getoption("e2e_report"):
        report.write(target, exit_code=code)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was not checked: a run that says nothing of it would pass for one that checked everything."""
    left = [
        one for one in config.stash[_collected].checks.values() if one.outcome in {Outcome.NOT_CHECKED, Outcome.WITHOUT}
    ]
    for check in left:
        terminalreporter.write_line(redact(f"{check.outcome}: {check.suite} {check.name}: {check.reason}"))


# --- Fixtures ---


@pytest.fixture(scope="session")
def api(pytestconfig: pytest.Config) -> Iterator[Api]:
    """Give the service at `--url`, asked as nobody in particular."""
    url = pytestconfig.getoption("url")
    if not url:
        raise pytest.skip.Exception("--url does not say which service is to be checked")
    with Api(url, timeout=pytestconfig.getoption("answer_within")) as made:
        yield made


@pytest.fixture(scope="session")
def account(api: Api, pytestconfig: pytest.Config) -> Iterator[Api]:
    """Give the service asked as the account of VERIFY_EMAIL and VERIFY_PASSWORD, which is logged in once."""
    email, password = os.environ.get(_EMAIL), os.environ.get(_PASSWORD)
    if not (email and password):
        raise pytest.skip.Exception(f"{_EMAIL} and {_PASSWORD} are not both set, so nobody can be logged in")
    with in_phase(Phase.AUTHENTICATION):
        made = api.log_in(pytestconfig.getoption("login_path"), email=email, password=password)
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="session")
def phase() -> InPhase:
    """Give the context that says which phase a part of a check is in, by name."""
    return in_phase


@pytest.fixture(scope="session")
def not_checked() -> NotChecked:
    """Give what ends a check that cannot be made: `not_checked("why", integration="stripe")`."""
    return NotChecked()


__all__ = ["AnswerError", "Api", "InPhase", "NotChecked"]
