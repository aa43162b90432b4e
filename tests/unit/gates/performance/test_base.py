"""The commands that make the base; what they do is tested where git and uv run."""

import sys
from pathlib import Path

from fairlead.gates.performance.base import Base, archive_command, environment_commands, provide_python


def test_the_tree_is_packed_and_not_checked_out() -> None:
    assert archive_command("abc", Path("base.tar"), ("backend", "pyproject.toml")) == [
        *("git", "archive", "--format", "tar", "--output", "base.tar", "abc", "--", "backend", "pyproject.toml")
    ]


def test_the_environment_is_made_from_the_lock_hash_for_hash() -> None:
    make, install = environment_commands(Path("/e"), Path("/lock.txt"))
    assert make == ["uv", "venv", "--quiet", "--python", sys.executable, "/e"]
    assert install == [
        *("uv", "pip", "install", "--quiet", "--python", "/e/bin/python"),
        *("--require-hashes", "--requirements", "/lock.txt"),
    ]


def test_an_equal_lock_needs_no_environment(tmp_path: Path) -> None:
    for name in ("theirs.txt", "ours.txt"):
        (tmp_path / name).write_text("fastapi==1\n")
    cache = tmp_path / "cache"
    python = provide_python(tmp_path / "theirs.txt", ours=tmp_path / "ours.txt", cache=cache)
    assert python == Path(sys.executable)
    assert not cache.exists()


def test_a_commit_is_shown_short() -> None:
    assert Base("0123456789abcdef").short == "0123456789"
    assert Base(None).short == ""
