"""What the gates that compare with an earlier revision ask of git."""

from pathlib import Path
from typing import Final

from fairlead._process import run
from fairlead.config import Config

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

        None when there is no such branch, or one of them has HEAD already.
        """
        forks: dict[str, str] = {}
        for branch in (form for name in branches for form in (f"origin/{name}", name)):
            if self.commit(branch) and (fork := self.ask("merge-base", "HEAD", branch)):
                forks.setdefault(fork, branch)
        if not forks or self.commit("HEAD") in forks:
            return None
        nearest = min(sorted(forks), key=lambda fork: int(self.ask("rev-list", "--count", f"{fork}..HEAD") or 0))
        return nearest, forks[nearest]


def merged_into(loaded: Config) -> tuple[str, ...]:
    """Return the branches that changes are merged into: the pull request's own, else those of the environments."""
    asked = loaded.environ.get("GITHUB_BASE_REF", "")
    declared = (environment.branch for environment in loaded.environments.values())
    return (asked,) if asked else tuple(dict.fromkeys([*(name for name in declared if name), *_FALLBACK]))
