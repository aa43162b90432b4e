"""How the measurements of the backend are judged, and what they refuse to take for one."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.tests.performance import measuring
from backend.tests.performance.__main__ import main
from backend.tests.performance.measuring import Measuring, Plan
from fairlead import config
from fairlead.exceptions import CommandError
from fairlead.gates.performance import processes
from fairlead.gates.performance.figures import problems
from fairlead.gates.performance.load import Load, Target
from fairlead.gates.performance.processes import Cores
from fairlead.gates.performance.rounds import Subject

ROOT = Path(__file__).resolve().parents[4]
PLAN = Plan("own", connections=1, rounds=1, seconds=1.0, soak=300.0)
HERE = Subject(Target("http://127.0.0.1:1/"), os.getpid())


@pytest.fixture
def run(tmp_path: Path) -> Measuring:
    server: Any = None
    return Measuring(config.load(ROOT, environ={}), PLAN, server, tmp_path, Cores(), contextlib.ExitStack())


def test_failures_of_every_load_are_judged(run: Measuring, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, failures in (("load_closed", 3), ("load_steadily", 4)):
        found = Load(100, 1.0, 1.0, 1.0, failures)
        monkeypatch.setattr(measuring.load, name, lambda *_, found=found, **__: found)
    run.begin("in turns")
    run.ask(HERE.target)
    measuring._measure_cpu(run, HERE)
    measuring._soak(run, HERE)
    measuring._judge_failures(run)
    (problem,) = problems(run.figures[-1:])
    assert problem.startswith("answers that were none, or errors: 10, at most 0")
    assert "(in turns: 3; 100 requests a second: 4; 300 s of load, for the memory: 3)" in problem


def test_a_server_that_dies_in_the_soak_is_no_server_that_takes_no_memory(
    run: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def load(*_: object, **__: object) -> Load:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        return Load(120, 1.0, 1.0, 1.0, 0)

    monkeypatch.setattr(measuring.load, "load_closed", load)
    with pytest.raises(CommandError, match="it has ended"):
        measuring._soak(run, Subject(HERE.target, child.pid))
    child.communicate()


def test_memory_is_judged_at_its_most_after_the_soak_and_by_its_growth(
    run: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = processes.MemoryWatch(
        0, 0.0, [(0.0, 100.0), (100.0, 600.0), (150.0, 190.0), (225.0, 200.0), (300.0, 210.0)]
    )
    monkeypatch.setattr(measuring.load, "load_closed", lambda *_, **__: Load(100, 1.0, 1.0, 1.0, 0))
    monkeypatch.setattr(measuring.processes, "watch_memory", lambda _pid: contextlib.nullcontext(watch))
    measuring._soak(run, HERE)
    found = [(figure.name, figure.value, figure.budget) for figure in run.figures]
    assert found == [
        ("memory", 600.0, 512.0),
        ("memory after the soak", 210.0, 200.0),
        ("growth of memory", pytest.approx(20.0), pytest.approx(4.0)),
    ]
    assert {figure.verdict for figure in run.figures} == {"broken"}


@pytest.mark.parametrize("option", ["--rounds", "--connections", "--seconds", "--soak"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_a_measurement_of_nothing_is_refused_at_once(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([option, value])
    assert caught.value.code == 2
    assert f"argument {option}" in capsys.readouterr().err
