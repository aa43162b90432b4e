"""Runs end-to-end suites side by side, each in a process of its own with a log of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead import _process
from fairlead.verification.results import SuiteReport, SuiteResult, judge_suite
from fairlead.verification.suites import Suite

_PAUSE: Final = 0.02
#: How long, in seconds, a suite may take to put back what it changed once it is told to end.
_GRACE: Final = 10.0
#: What a suite must not inherit: what would change how pytest runs, and what is no affair of a suite.
_KEPT_AWAY: Final = ("PYTEST_", "FAIRLEAD_", "COVERAGE_", "RAILWAY_", "SMOKE_TEST", "GITHUB_TOKEN")


@dataclass(frozen=True, slots=True)
class Order:
    """How suites are run: against which service, with which account, in which folders.

    `timeout` is in seconds and holds for each suite; `folder` takes the logs and reports; `account` holds the variables
    of the account, `secrets` names those that no suite is to see; `without` are the integrations that are not there.
    `turn` is what `hold_turn` gave: the suites hold it too.
    """

    url: str
    root: Path
    folder: Path
    login_path: str
    timeout: float
    environ: Mapping[str, str]
    account: Mapping[str, str]
    smoke: bool = False
    without: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()
    grace: float = _GRACE
    turn: int | None = None


@dataclass(slots=True)
class _Running:
    suite: Suite
    child: "subprocess.Popen[bytes]"
    log: Path
    report: Path
    started: float
    told_to_end: float | None = None

    def is_over(self, order: Order) -> bool:
        """Tell whether it has ended, or has had its time; one that is late is told to end first."""
        if self.child.poll() is not None:
            return True
        now = time.monotonic()
        if self.told_to_end is None and now - self.started > order.timeout:
            self.told_to_end = now
            self.child.send_signal(signal.SIGTERM)
        return self.told_to_end is not None and now - self.told_to_end > order.grace


def is_pytest_installed() -> bool:
    """Tell whether the Python that runs Fairlead has pytest, which runs the suites."""
    import importlib.util

    return importlib.util.find_spec("pytest") is not None


def run_suites(
    suites: Sequence[Suite], order: Order, *, on_result: Callable[[SuiteResult], None] = lambda _: None
) -> tuple[SuiteResult, ...]:
    """Run every suite at once and return their results in the order of `suites`.

    One that does not end within its time is told to end, and killed when it does not. When the caller is interrupted
    all of them are: they are told to end, so that they put back what they changed, and none outlives this call.
    """
    order.folder.mkdir(parents=True, exist_ok=True)
    order.folder.chmod(0o700)  # what a service answered may be of its customers
    found: dict[str, SuiteResult] = {}
    with _started(suites, order) as running:
        left = list(running)
        while left:
            for one in [one for one in left if one.is_over(order)]:
                left.remove(one)
                found[one.suite.name] = _finish(one, order)
                on_result(found[one.suite.name])
            if left:
                time.sleep(_PAUSE)
    return tuple(found[suite.name] for suite in suites)


def make_command(suite: Suite, order: Order) -> list[str | Path]:
    """Build the command that runs a suite on nothing but its own folder: no other plugin, no other configuration."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "fairlead.pytest_plugin",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-c", os.devnull, "--rootdir", order.root, "--confcutdir", suite.file.parent]
    command += ["--import-mode=importlib", "--strict-markers", "-v", "-ra", "--tb=short", "--color=no"]
    command += ["--url", order.url, "--login-path", order.login_path]
    command += ["--e2e-report", _report(suite, order), "--junit-xml", order.folder / f"{suite.name}.xml"]
    command += ["--smoke"] if order.smoke else []
    for integration in order.without:
        command += ["--without", integration]
    return [*command, suite.file]


def make_variables(order: Order) -> dict[str, str]:
    """Return what a suite sees of the environment, the account included."""
    kept = {
        name: value
        for name, value in order.environ.items()
        if not name.startswith(_KEPT_AWAY) and name not in order.secrets
    }
    # The suite's Python must find this very Fairlead, also where it is not installed.
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([here, *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **order.account}


@contextlib.contextmanager
def _started(suites: Sequence[Suite], order: Order) -> Iterator[list[_Running]]:
    running: list[_Running] = []
    try:
        running.extend(_start(suite, order) for suite in suites)
        yield running
    finally:
        _end_all([one.child for one in running], grace=order.grace)


def _start(suite: Suite, order: Order) -> _Running:
    log, report = order.folder / f"{suite.name}.log", _report(suite, order)
    report.unlink(missing_ok=True)
    with log.open("wb") as output:
        child = _process.spawn(
            make_command(suite, order),
            cwd=order.root,
            env=make_variables(order),
            output=output,
            inherited=() if order.turn is None else (order.turn,),
        )
    return _Running(suite, child, log, report, time.monotonic())


def _finish(one: _Running, order: Order) -> SuiteResult:
    exit_code = _process.terminate(one.child, grace=0.0)
    return judge_suite(
        one.suite,
        exit_code=exit_code,
        seconds=time.monotonic() - one.started,
        log=one.log,
        report=SuiteReport.load(one.report),
        within=None if one.told_to_end is None else order.timeout,
    )


def _end_all(children: Sequence["subprocess.Popen[bytes]"], *, grace: float) -> None:
    """End what still runs: all are asked at once, and each has its time; a second interruption kills them at once."""
    left = [child for child in children if child.poll() is None]
    for child in left:
        child.send_signal(signal.SIGTERM)
    try:
        deadline = time.monotonic() + grace
        for child in left:
            _process.terminate(child, grace=max(deadline - time.monotonic(), 0.0))
    finally:
        for child in left:
            _process.terminate(child, grace=0.0)


def _report(suite: Suite, order: Order) -> Path:
    return order.folder / f"{suite.name}.json"
