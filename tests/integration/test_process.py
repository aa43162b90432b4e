"""Real children: time limits reach the whole group, everything is reaped, and secrets stay out of argument lists."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead._process import run, spawn, terminate
from fairlead.exceptions import CommandError

#: Far beyond what any of these takes on a busy machine.
GENEROUS = 30.0

# A parent that starts a child, which deafens itself, writes its number and stays.
FAMILY = """
import pathlib, signal, subprocess, sys, time
file, deaf = pathlib.Path(sys.argv[1]), sys.argv[2] == "deaf"
if len(sys.argv) > 3:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    part = file.with_suffix(".part")
    part.write_text(str(__import__("os").getpid()))
    part.rename(file)
else:
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", sys.orig_argv[2], *sys.argv[1:], "child"])
    while not file.exists():
        time.sleep(0.01)
    print("ready", flush=True)
time.sleep(600)
"""


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GENEROUS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and waits to be reaped by whoever adopted it does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def is_child(pid: int) -> bool:
    """Tell whether `pid` is a child of this process that nobody has reaped."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
        return True
    return False


# --- run ---


def test_finished_command_leaves_its_output_and_exit_code() -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr)"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert done.argv[0] == sys.executable


def test_failing_command_names_itself_its_exit_code_and_the_end_of_its_output() -> None:
    code = "import sys; print('x' * 10_000); print('last words', file=sys.stderr); sys.exit(3)"
    with pytest.raises(CommandError, match="ended with exit code 3") as caught:
        run(python(code))
    assert caught.value.output.endswith("last words")
    assert len(caught.value.output) <= 4000


def test_failing_command_is_returned_where_the_caller_checks() -> None:
    assert run(python("raise SystemExit(3)"), check=False).returncode == 3


def test_command_killed_by_a_signal_is_a_failure() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(CommandError, match="exit code -9"):
        run(python(code))


def test_output_that_is_not_utf8_is_kept_as_well_as_it_can_be() -> None:
    done = run(python(r"import sys; sys.stdout.buffer.write(b'a\xffb')"), env={"LC_ALL": "C.UTF-8"})
    assert done.stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_standard_input_is_empty_unless_given() -> None:
    echo = python("import sys; print(repr(sys.stdin.read()))")
    assert run(echo).stdout.strip() == "''"
    assert run(echo, stdin="line\n").stdout.strip() == r"'line\n'"


def test_command_that_does_not_read_its_input_is_no_failure() -> None:
    assert run(python("pass"), stdin="x" * 1_000_000).returncode == 0


def test_much_output_on_both_streams_does_not_block() -> None:
    code = "import sys; sys.stderr.write('e' * 500_000); sys.stdout.write('o' * 500_000)"
    done = run(python(code), timeout=GENEROUS)
    assert (len(done.stdout), len(done.stderr)) == (500_000, 500_000)


def test_given_environment_replaces_the_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "1")
    show = python("import os; print(os.environ.get('FROM_OUTSIDE'), os.environ.get('GIVEN'), os.getcwd())")
    assert run(show, cwd=tmp_path).stdout.split() == ["1", "None", str(tmp_path.resolve())]
    assert run(show, cwd=tmp_path, env={"GIVEN": "2"}).stdout.split() == ["None", "2", str(tmp_path.resolve())]


def test_arguments_are_passed_as_they_are(tmp_path: Path) -> None:
    odd = ["a b", "$HOME", "*", "; echo x", "'\"", ""]
    done = run([*python("import sys; print(sys.argv[1:])"), *odd, tmp_path / "p q"])
    assert done.stdout.strip() == str([*odd, str(tmp_path / "p q")])


def test_timeout_kills_the_whole_group_and_reaps(tmp_path: Path) -> None:
    file = tmp_path / "child.pid"
    with pytest.raises(CommandError, match="did not end within 3 s and was killed"):
        # Long enough for both to start on a busy machine; the child is checked below either way.
        run(python(FAMILY, file, "deaf"), timeout=3)
    if file.exists():
        assert wait_for(lambda: not is_running(int(file.read_text())))
    # With nobody left in the group there is nobody to signal; the text of `ps` names no straggler.
    assert str(file) not in run(["ps", "-A", "-o", "args"]).stdout


def test_timeout_leaves_no_pipe_open() -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(CommandError) as caught:
        run(python("import time; time.sleep(600)"), stdin="x" * 1_000_000, timeout=0.2)
    assert caught.value.__cause__ is not None
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_interrupt_kills_the_group_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "child.pid"
    caller = f"""
import signal, sys
from fairlead._process import run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
try:
    run([sys.executable, "-c", {FAMILY!r}, {str(file)!r}, "deaf"])
except KeyboardInterrupt:
    print("interrupted")
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen(python(caller), cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert wait_for(file.exists)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=GENEROUS)[0].strip() == "interrupted"
        finally:
            process.kill()
    assert wait_for(lambda: not is_running(int(file.read_text())))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("start", ["spawn(child)", "run(child)", "run(child, capture=False)"])
def test_interrupt_that_comes_while_a_child_is_started_leaves_none(start: str, number: signal.Signals) -> None:
    # As early as can be: the child runs, and whoever asked for it does not have it yet.
    caller = f"""
import os, signal, subprocess, sys
from fairlead import _program
from fairlead._process import run, spawn
fork = subprocess._fork_exec
def fork_and_interrupt(*arguments):
    pid = fork(*arguments)
    print(pid, flush=True)
    os.kill(os.getpid(), {int(number)})
    return pid
child = [sys.executable, "-c", "import time; time.sleep(600)"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
def gate(_arguments):
    subprocess._fork_exec = fork_and_interrupt
    {start}
    return 0
sys.exit(_program.run(gate, []))
"""
    done = subprocess.run(
        python(caller), cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=GENEROUS
    )
    assert done.returncode == 130, done.stderr
    assert wait_for(lambda: not is_running(int(done.stdout)))


def test_signal_that_its_handler_only_notes_leaves_the_child_running() -> None:
    caller = """
import os, signal, subprocess, sys
from fairlead._process import spawn, terminate
fork, noted = subprocess._fork_exec, []
def fork_and_tell(*arguments):
    pid = fork(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)
    return pid
subprocess._fork_exec = fork_and_tell
signal.signal(signal.SIGTERM, lambda number, _frame: noted.append(number))
child = spawn([sys.executable, "-c", "import time; time.sleep(600)"])
heard = list(noted)
signal.raise_signal(signal.SIGTERM)
print(heard, child.poll(), noted)
terminate(child, grace=0)
"""
    done = subprocess.run(
        python(caller), cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=GENEROUS
    )
    assert done.stdout.strip() == "[15] None [15, 15]", done.stderr


def test_interrupt_lets_a_child_on_the_terminal_end_in_its_own_way(tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    child = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
try:
    time.sleep(600)
except KeyboardInterrupt:
    time.sleep(0.3)
    pathlib.Path(sys.argv[2]).touch()
"""
    caller = f"""
import signal, sys
from fairlead._process import run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
run([sys.executable, "-c", {child!r}, {str(begun)!r}, {str(ended)!r}], capture=False)
"""
    root = Path(__file__).parents[2]
    command = python(caller)
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            assert wait_for(begun.exists)
            os.killpg(process.pid, signal.SIGINT)
            process.wait(GENEROUS)
        finally:
            process.kill()
    assert ended.exists()


def test_child_on_the_terminal_reads_what_the_caller_is_given() -> None:
    caller = """
import sys
from fairlead._process import run
run([sys.executable, "-c", "print(input())"], capture=False)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(python(caller), cwd=root, input="typed\n", capture_output=True, text=True, check=True)
    assert done.stdout == "typed\n"


# --- secrets ---


def test_secrets_in_environment_and_input_reach_the_command_but_never_its_arguments_or_messages() -> None:
    secret = "s3cret-hunter2"
    code = """
import os, subprocess, sys
print(sys.stdin.read() == os.environ["TOKEN"])
print(subprocess.run(["ps", "-o", "args=", "-p", str(os.getpid())], capture_output=True, text=True).stdout)
sys.exit(5)
"""
    with pytest.raises(CommandError) as caught:
        run(python(code), env={**os.environ, "TOKEN": secret}, stdin=secret)
    assert caught.value.output.startswith("True")
    assert sys.executable in caught.value.output
    assert secret not in f"{caught.value} {caught.value.hint} {caught.value.output}"


def test_secret_of_a_command_that_is_too_slow_is_not_in_the_message() -> None:
    with pytest.raises(CommandError) as caught:
        run(
            python("import time; time.sleep(600)"),
            env={**os.environ, "TOKEN": "s3cret-hunter2"},
            stdin="s3cret-hunter2",
            timeout=0.2,
        )
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.output}"


# --- spawn and terminate ---


def test_spawned_child_writes_both_streams_to_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = spawn(python("import sys; print('out', flush=True); print('err', file=sys.stderr)"), output=output)
        assert child.wait(GENEROUS) == 0
    assert log.read_text() == "out\nerr\n"


def test_spawned_child_leads_a_session_of_its_own() -> None:
    child = spawn(python("import time; time.sleep(600)"))
    try:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
    finally:
        terminate(child, grace=0)
    assert not is_child(child.pid)


def spawn_family(tmp_path: Path, *, deaf: bool) -> tuple["subprocess.Popen[bytes]", int]:
    file = tmp_path / "child.pid"
    with (tmp_path / "log").open("wb") as output:
        parent = spawn(python(FAMILY, file, "deaf" if deaf else "listening"), output=output)
    ready = wait_for(lambda: b"ready" in (tmp_path / "log").read_bytes())
    if not ready:
        terminate(parent, grace=0)
        pytest.fail(f"the family did not start: {(tmp_path / 'log').read_text()}")
    return parent, int(file.read_text())


@pytest.mark.parametrize(("deaf", "grace", "code"), [(False, GENEROUS, -signal.SIGTERM), (True, 0.2, -signal.SIGKILL)])
def test_terminated_child_takes_everything_it_started_along(
    tmp_path: Path, deaf: bool, grace: float, code: int
) -> None:
    parent, grandchild = spawn_family(tmp_path, deaf=deaf)
    assert terminate(parent, grace=grace) == code
    assert not is_child(parent.pid)
    assert wait_for(lambda: not is_running(grandchild))


def test_child_that_ended_by_itself_still_takes_its_own_along(tmp_path: Path) -> None:
    parent, grandchild = spawn_family(tmp_path, deaf=False)
    parent.kill()
    parent.wait(GENEROUS)
    assert is_running(grandchild)
    assert terminate(parent, grace=GENEROUS) == -signal.SIGKILL
    assert wait_for(lambda: not is_running(grandchild))


def test_terminating_twice_gives_the_same_exit_code() -> None:
    child = spawn(python("raise SystemExit(7)"))
    child.wait(GENEROUS)
    assert [terminate(child, grace=1), terminate(child, grace=1)] == [7, 7]


def test_child_is_asked_with_the_signal_it_understands(tmp_path: Path) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(42))
print("ready", flush=True)
time.sleep(600)
"""
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = spawn(python(code), output=output)
    assert wait_for(lambda: b"ready" in log.read_bytes())
    assert terminate(child, grace=GENEROUS, first=signal.SIGINT) == 42


def test_umask_of_the_child_is_the_given_one(tmp_path: Path) -> None:
    child = spawn(python("open('made', 'w').close()"), cwd=tmp_path, umask=0o077)
    assert child.wait(GENEROUS) == 0
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a child as somebody else")
def test_child_runs_as_the_given_user_without_the_callers_groups(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = spawn(["/bin/sh", "-c", "id -u; id -G"], output=output, user=65534, group=65534)
        assert child.wait(GENEROUS) == 0
    assert log.read_text().split() == ["65534", "65534"]
