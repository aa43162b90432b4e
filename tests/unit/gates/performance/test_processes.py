"""What a process takes of the machine, and which cores it may use."""

import os
import subprocess
import sys

import pytest

from fairlead.exceptions import CommandError
from fairlead.gates.performance import processes
from fairlead.gates.performance.processes import Cores, available_cores, confined, cpu_seconds, divide_cores, memory


@pytest.mark.parametrize(
    ("available", "cores"),
    [
        (frozenset(), Cores()),
        (frozenset({3}), Cores()),
        (frozenset({0, 1}), Cores(frozenset({1}), frozenset({0}))),
        (frozenset({2, 5, 7}), Cores(frozenset({7}), frozenset({2, 5}))),
    ],
)
def test_the_server_gets_a_core_for_itself_where_there_are_two(available: frozenset[int], cores: Cores) -> None:
    assert divide_cores(available) == cores


def test_this_process_is_confined_and_set_free_again() -> None:
    before = available_cores()
    with confined(frozenset({min(before)})):
        assert available_cores() == {min(before)}
    assert available_cores() == before


def test_without_cores_to_choose_from_nothing_changes() -> None:
    before = available_cores()
    with confined(None):
        assert available_cores() == before


def test_processor_time_grows_with_work_and_counts_children() -> None:
    work = "import sys\nfor _ in range(3_000_000): pass\nprint('done', flush=True)\nsys.stdin.read()"
    nested = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])"
    child = subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        alone = sum(int(field) for field in processes._read_stat(child.pid)[11:13]) / os.sysconf("SC_CLK_TCK")
        assert cpu_seconds(child.pid) > alone
        assert memory(child.pid) > memory(os.getpid()) / 100
    finally:
        child.communicate()


def test_a_process_that_is_not_there_cannot_be_measured() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(CommandError, match=f"process {child.pid} cannot be measured"):
        memory(child.pid)


def end(child: "subprocess.Popen[bytes]") -> None:
    """Kill a process and leave its exit code for whoever waits for it."""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_what_ended_and_was_not_waited_for_cannot_be_measured() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    end(child)
    for measure in (memory, cpu_seconds):
        with pytest.raises(CommandError, match="it has ended"):
            measure(child.pid)
    child.communicate()


def test_memory_is_watched_until_the_end_of_the_block() -> None:
    with processes.watch_memory(os.getpid(), interval=60) as watch:
        pass
    assert len(watch.samples) == 2
    assert all(megabytes > 0 for _, megabytes in watch.samples)
    assert watch.samples[0][0] <= watch.samples[1][0]


def test_a_process_that_ends_while_its_memory_is_watched_is_an_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with pytest.raises(CommandError, match="it has ended"), processes.watch_memory(child.pid, interval=60):
        end(child)
    child.communicate()
