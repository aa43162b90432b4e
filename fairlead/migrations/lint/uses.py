"""Looks for a name in the code of the release that serves, which its revision stands for."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from fairlead import _process
from fairlead.exceptions import CommandError, MigrationError

_NOTHING_FOUND = 1


def find_uses(root: Path, revision: str, *, within: Path, without: Path) -> Callable[[str], Sequence[str]]:
    """Return what finds a name, as a whole word, in a `revision` of the repository at `root`.

    It is looked for in the folder `within`, except in the folder `without`, and told as `path:line`. What is returned
    raises `MigrationError` where the revision is not in the repository, or git cannot look: a shallow clone, say.
    """
    folders = [within.relative_to(root).as_posix()]
    if without.is_relative_to(within):
        folders.append(f":(exclude){without.relative_to(root).as_posix()}")

    @cache
    def uses(name: str) -> Sequence[str]:
        if revision.startswith("-"):
            raise _unknown(revision, "that is an option, and no revision")
        word = name.strip('"').replace('""', '"')
        argv = ["git", "grep", "-n", "-I", "-w", "-F", "--full-name", "-e", word, revision, "--", *folders]
        try:
            done = _process.run(argv, cwd=root, check=False)
        except CommandError as error:
            raise _unknown(revision, error.message) from None
        if done.returncode > _NOTHING_FOUND:
            said = done.stderr.strip().splitlines()
            raise _unknown(revision, said[0] if said else f"git ended with {done.returncode}")
        places = (line.removeprefix(f"{revision}:").split(":", 2) for line in done.stdout.splitlines())
        return tuple(f"{place[0]}:{place[1]}" for place in places)

    return uses


def _unknown(revision: str, why: str) -> MigrationError:
    return MigrationError(
        f"the code of the release that serves (revision {revision}) cannot be looked at: {why}",
        hint="fetch the whole history: git fetch --unshallow",
    )
