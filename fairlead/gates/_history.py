"""What the gates that compare with an earlier revision ask of git."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fairlead._process import run
from fairlead.config import Config
from fairlead.exceptions import InconclusiveError

_FALLBACK: Final = ("develop", "main", "master")


class History:
    """The history of the repository at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ask(self, *arguments: str) -> str | None:
        """Return what git answers, None when it refuses, as outside a repository, or says nothing."""
        done = run(["git", *arguments], cwd=self.root, check=False, timeout=60)
        return done.stdout.strip() or None if done.returncode == 0 else None

    def agrees(self, *arguments: str) -> bool:
        """Say whether git ends a command without a fault or a difference."""
        return run(["git", *arguments], cwd=self.root, check=False, timeout=60).returncode == 0

    def commit(self, revision: str) -> str | None:
        """Return the commit that a revision names, None when it names none."""
        return self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")

    def show(self, revision: str, path: str) -> str | None:
        """Return the text of a file below `root` as it was at a revision, None when it was not there."""
        prefix = self.ask("rev-parse", "--show-prefix") or ""
        return self.ask("show", f"{revision}:{prefix}{path}")

    @property
    def is_cut_off(self) -> bool:
        """Whether only a part of the history was fetched."""
        return self.ask("rev-parse", "--is-shallow-repository") == "true"

    def find_fork(self, branches: tuple[str, ...]) -> tuple[str, str] | None:
        """Return where HEAD left the nearest of `branches`, and which one that is.

        None when one of them has HEAD already, and when HEAD is on the only branch there is. Where none of them is here
        the default branch of `origin` stands for them. Raises `InconclusiveError` when that is not here either, and
        when a branch that alone was asked for is not.
        """
        forks = self._forks(form for name in branches for form in (f"origin/{name}", name))
        asked_for = len(branches) == 1
        if not forks and not asked_for:
            forks = self._forks(["origin/HEAD"])
        if not forks and (asked_for or not self._is_on_the_only_branch):
            raise InconclusiveError(
                f"there is nothing to compare with: no commit here is common with {' or '.join(branches)}",
                hint="fetch that branch with its history (fetch-depth: 0 in a workflow), say which branch is the main "
                "one (git remote set-head origin --auto), or name a revision with --base",
            )
        if not forks or self.commit("HEAD") in forks:
            return None
        nearest = min(sorted(forks), key=lambda fork: int(self.ask("rev-list", "--count", f"{fork}..HEAD") or 0))
        return nearest, forks[nearest]

    def _forks(self, branches: Iterable[str]) -> dict[str, str]:
        """Return the commits where HEAD left branches, each with the first branch that it left there."""
        forks: dict[str, str] = {}
        for branch in branches:
            if self.commit(branch) and (fork := self.ask("merge-base", "HEAD", branch)):
                forks.setdefault(fork, branch)
        return forks

    @property
    def _is_on_the_only_branch(self) -> bool:
        """Whether the branch that is checked out is the only one, of remotes as well."""
        refs = self.ask("for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes")
        return refs is not None and refs == self.ask("symbolic-ref", "--quiet", "HEAD")


def merged_into(loaded: Config) -> tuple[str, ...]:
    """Return the branches that changes are merged into: the pull request's own, else those of the environments."""
    asked = loaded.environ.get("GITHUB_BASE_REF", "")
    declared = (environment.branch for environment in loaded.environments.values())
    return (asked,) if asked else tuple(dict.fromkeys([*(name for name in declared if name), *_FALLBACK]))
