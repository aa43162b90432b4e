"""What the subprocess seam says of commands that cannot start; real children are tested in integration."""

from pathlib import Path

import pytest

from fairlead._process import Completed, run, spawn
from fairlead.exceptions import CommandError

START = pytest.mark.parametrize("start", [run, spawn])


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [
        ("out\n", "err\n", "out\nerr"),
        ("out\n", "", "out"),
        ("", "err\n", "err"),
        ("", "", ""),
        (" \n", "err", "err"),
    ],
)
def test_output_joins_the_streams_that_hold_something(stdout: str, stderr: str, expected: str) -> None:
    assert Completed(("x",), 0, stdout, stderr).output == expected


@START
def test_missing_command_is_named_with_what_to_do(start) -> None:
    with pytest.raises(CommandError) as caught:
        start(["no-such-command-of-fairlead"])
    assert str(caught.value) == "no-such-command-of-fairlead is not installed or not on PATH"
    assert caught.value.hint is not None


@START
def test_file_on_path_that_is_no_command_does_not_count_as_installed(
    start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-such-command-of-fairlead").write_text("")
    (tmp_path / "no-such-command-of-fairlead").chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="is not installed or not on PATH"):
        start(["no-such-command-of-fairlead"])


@START
def test_missing_folder_is_not_taken_for_a_missing_command(start, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no such folder") as caught:
        start(["git", "--version"], cwd=tmp_path / "gone")
    assert "not installed" not in str(caught.value)


@START
def test_file_in_place_of_the_folder_is_an_expected_error(start, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(CommandError, match="there is no such folder"):
        start(["git", "--version"], cwd=file)


@START
def test_missing_interpreter_is_not_taken_for_a_missing_command(start, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(CommandError, match="names an interpreter that is missing"):
        start([script])


@START
def test_file_that_may_not_be_executed_is_named(start, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o644)
    with pytest.raises(CommandError, match="script cannot be executed: Permission denied"):
        start([script])


@START
def test_file_that_is_no_program_is_an_expected_error(start, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00\x01\x02 not a program")
    garbage.chmod(0o755)
    with pytest.raises(CommandError, match="garbage cannot be executed: Exec format error"):
        start([garbage])
