"""Copies of the repository to plant defects in, and how a gate is run in one.

The environments are shared by all copies and kept between runs: they are stamped with what they were made from, so that
is safe.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.git import git

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 300
#: What the surrounding run of nox, or a machine of CI's, would hand on.
_NOT_HANDED_ON = re.compile(
    r"CI|GITHUB_.*|GATES_RUN|NOX_.*|COVERAGE_.*|FAIRLEAD_.*|PYTEST_.*|VIRTUAL_ENV|PYTHONPATH|UV_PYTHON"
)
_LEFT_BEHIND = (".git", ".nox", ".fairlead", ".venv", "venv", "__pycache__", ".*_cache", ".coverage*", "dist")


def make_copy(target: Path) -> Path:
    """Copy the repository, without what the gates and a person's own tools left in it."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*_LEFT_BEHIND), symlinks=True)
    return target


def commit(root: Path) -> None:
    """Make a copy a repository of its own, in which everything is committed that is not ignored."""
    git(root, "init", "--quiet", "--template=", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Copy")


def run_gate(root: Path, arguments: tuple[str, ...], *, environments: str = "") -> subprocess.CompletedProcess[str]:
    """Run a gate in a copy, as a person would.

    `environments` is a folder of the gate's own, among those that are kept, for a copy with another lock.
    """
    variables = {name: text for name, text in os.environ.items() if not _NOT_HANDED_ON.fullmatch(name)}
    kept = Path(os.environ.get("PLANTED_ENVDIR", ROOT / ".fairlead" / "planted")) / environments
    known = ROOT / ".fairlead" / "cache" / "mypy"
    if arguments[0] == "typecheck" and known.is_dir():
        # mypy compares what it knows with the files themselves, so a cache from elsewhere only saves time.
        shutil.copytree(known, root / ".fairlead" / "cache" / "mypy")
    command = [sys.executable, "-m", "nox", "--envdir", str(kept), "-s", *arguments]
    return subprocess.run(
        command,
        cwd=root,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
