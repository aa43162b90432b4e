import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fairlead import _procfile
from fairlead.exceptions import ConfigurationError
from fairlead.image.start import find_line, make_command

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("line", "environ", "command"),
    [
        ("serve --all", {}, ["serve", "--all"]),
        ("serve $PORT", {"PORT": "80"}, ["serve", "80"]),
        ("serve ${HOST}:${PORT}", {"HOST": "::1", "PORT": "80"}, ["serve", "::1:80"]),
        ("serve ${PORT:-8000}", {}, ["serve", "8000"]),
        ("serve ${PORT:-8000}", {"PORT": ""}, ["serve", "8000"]),
        ("serve ${PORT:-8000}", {"PORT": "80"}, ["serve", "80"]),
        ("serve '${NAME:-}' \"a b\"", {}, ["serve", "", "a b"]),
        ("serve $NAME", {"NAME": "a b; $(c)"}, ["serve", "a b; $(c)"]),
        ("serve $NAME", {"NAME": ""}, ["serve", ""]),
    ],
)
def test_variables_are_filled_in_and_never_split(line: str, environ: Mapping[str, str], command: list[str]) -> None:
    assert make_command(line, environ) == command


@pytest.mark.parametrize(
    "line",
    [
        "a && b",
        "a; b",
        "a | b",
        "a > b",
        "a `b`",
        "a $(b)",
        "a &",
        "a *.py",
        "a {b,c}",
        "a ${B:?no}",
        "a ${B:-$C}",
        "~/a",
        "A=1 b",
        "a 'b",
        "",
    ],
)
def test_what_needs_a_shell_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError):
        make_command(line, {"B": "1", "C": "2"})


def test_every_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_command("serve $ONE ${TWO} $ONE ${THREE:-3}", {})
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == ["ONE", "TWO"]


def test_a_process_that_the_procfile_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(ConfigurationError, match="no process 'job'; it has: web, worker"):
        find_line("web: a\nworker: b\n", "job")


def test_every_process_of_the_backend_can_be_started() -> None:
    for line in _procfile.parse((ROOT / "backend" / "Procfile").read_text("utf-8")).values():
        assert "$" not in " ".join(make_command(line, {"PORT": "1"}))


def start(folder: Path, procfile: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    (folder / "Procfile").write_text(procfile)
    environ = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "fairlead.image.start", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=30)


def test_the_process_takes_its_place_with_its_exit_code(tmp_path: Path) -> None:
    program = "import os, sys; print(os.getppid(), sys.argv[1]); sys.exit(7)"
    (tmp_path / "program.py").write_text(program)
    done = start(tmp_path, "web: python program.py ${PORT:-1}\n", "web", PORT="8080")
    assert (done.returncode, done.stderr) == (7, "")
    parent, port = done.stdout.split()
    # Its parent is this test: nothing stands between.
    assert (int(parent), port) == (os.getpid(), "8080")


@pytest.mark.parametrize(
    ("procfile", "arguments", "code", "told"),
    [
        ("web: no-such-program\n", ["web"], 18, "no-such-program cannot be started"),
        ("web: a; b\n", ["web"], 10, "needs a shell"),
        ("web: a $PORT\n", ["web"], 10, "  - PORT is not set"),
        ("web: a\n", ["job"], 10, "no process 'job'"),
        ("web: a\n", [], 10, "usage"),
    ],
)
def test_what_cannot_be_started_is_told(
    tmp_path: Path, procfile: str, arguments: list[str], code: int, told: str
) -> None:
    done = start(tmp_path, procfile, *arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
