"""The revision to compare with: which one, its tree unpacked, and an environment after its own lock."""

import hashlib
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead._process import run
from fairlead.exceptions import ConfigurationError, InconclusiveError
from fairlead.gates._history import History

_LONGEST_INSTALL: Final = 600.0
_SHORT: Final = 10


@dataclass(frozen=True, slots=True)
class Base:
    """What to compare with: a commit, or with None why there is nothing to compare."""

    commit: str | None
    reason: str = ""

    @property
    def short(self) -> str:
        """The commit as people write it."""
        return (self.commit or "")[:_SHORT]


def choose_base(root: Path, *, paths: Sequence[str], branches: tuple[str, ...], wanted: str | None = None) -> Base:
    """Choose the commit that the tree at `root` is compared with.

    `wanted` where it is given; else where this branch left the nearest of `branches`, and on one of those itself the
    commit before. A tree whose `paths` are what they were there has nothing to compare, nor has a first commit. Raises
    `ConfigurationError` when there is no such revision, and `InconclusiveError` when the history, or the branch that
    this one goes into, was not fetched.
    """
    history = History(root)
    if wanted is not None:
        commit = history.commit(wanted)
        if commit is None:
            raise ConfigurationError(
                f"there is no revision {wanted!r} to compare with", hint="git fetch, or another one"
            )
        return Base(commit)
    head = history.commit("HEAD")
    if head is None:
        return Base(None, "there is no commit to compare with")
    changed = _differs(history, head, paths)
    fork = history.find_fork(branches)
    commit = fork[0] if fork else head if changed else history.commit("HEAD^")
    if commit is None:
        if history.is_cut_off:
            raise InconclusiveError(
                "the performance could not be compared: this checkout has no history",
                hint="git fetch --unshallow; in a workflow: fetch-depth: 0",
            )
        return Base(None, "there is no commit before this one")
    if not changed and not _differs(history, commit, paths):
        return Base(None, f"nothing that is served changed since {commit[:_SHORT]}")
    return Base(commit)


def unpack(root: Path, commit: str, *, paths: Sequence[str], target: Path) -> None:
    """Lay the `paths` of a commit out in the folder `target`; raise `CommandError` when it lacks one of them."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="fairlead-base-") as folder:
        archive = Path(folder) / "base.tar"
        run(archive_command(commit, archive, paths), cwd=root, timeout=60)
        with tarfile.open(archive) as packed:
            packed.extractall(target, filter="data")


def archive_command(commit: str, archive: Path, paths: Sequence[str]) -> list[str]:
    """Build the command that packs `paths` of a commit."""
    return ["git", "archive", "--format", "tar", "--output", str(archive), commit, "--", *paths]


def provide_python(lock: Path, *, ours: Path, cache: Path) -> Path:
    """Return an interpreter with what `lock` pins: this one where `ours` is the same lock, else of an environment.

    Environments are kept in the folder `cache`, told by their lock. Raises `CommandError` when one cannot be made.
    """
    content = lock.read_bytes()
    if content == ours.read_bytes():
        return Path(sys.executable)
    told = hashlib.sha256(content + sys.version.encode()).hexdigest()[:16]
    environment = cache / f"python-{told}"
    python = environment / "bin" / "python"
    complete = environment / "complete"
    if not complete.exists():
        shutil.rmtree(environment, ignore_errors=True)
        for command in environment_commands(environment, lock):
            run(command, timeout=_LONGEST_INSTALL)
        complete.touch()
    return python


def environment_commands(environment: Path, lock: Path) -> list[list[str]]:
    """Build the commands that make an environment with what a lock pins, hash for hash."""
    python = str(environment / "bin" / "python")
    return [
        ["uv", "venv", "--quiet", "--python", sys.executable, str(environment)],
        ["uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", "--requirements", str(lock)],
    ]


def _differs(history: History, commit: str, paths: Sequence[str]) -> bool:
    """Tell whether the working tree's `paths` are other than those of a commit, files not yet added included."""
    untracked = history.ask("ls-files", "--others", "--exclude-standard", "--", *paths)
    return untracked is not None or not history.agrees("diff", "--quiet", commit, "--", *paths)
