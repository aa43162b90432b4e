"""Names the files of GitHub's that are scanned, by what they are."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

#: The patterns of each kind's files, below the repository.
KINDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "workflows": (".github/workflows/*.yml", ".github/workflows/*.yaml"),
        "actions": (".github/actions/**/action.yml", ".github/actions/**/action.yaml", "action.yml", "action.yaml"),
        "dependabot": (".github/dependabot.yml", ".github/dependabot.yaml"),
        "pre-commit": (".pre-commit-config.yaml", ".pre-commit-hooks.yaml"),
        "compose": ("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"),
    }
)


def find(root: Path, *kinds: str) -> tuple[str, ...]:
    """Return the files of these kinds, sorted, relative to `root`: all that lie there, tracked or about to be."""
    patterns = [pattern for kind in kinds for pattern in KINDS[kind]]
    found = {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    return tuple(sorted(found))
