"""Names the files of GitHub's that are scanned, by what they are."""

import posixpath
import re
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


#: A workflow, or an action, uses what lies in a folder of the repository.
_USES: Final = re.compile(r"""\buses\s*:\s*["']?\./([^\s"'#]*)""")


def find(root: Path, *kinds: str) -> tuple[str, ...]:
    """Return the files of these kinds, sorted, relative to `root`: all that lie there, tracked or about to be.

    Actions are those in their usual place, and wherever else a workflow takes one from.
    """
    patterns = [pattern for kind in kinds for pattern in KINDS[kind]]
    found = {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    return tuple(sorted(found | (_find_used(root) if "actions" in kinds else set())))


def _find_used(root: Path) -> set[str]:
    found: set[str] = set()
    left = list(find(root, "workflows"))
    while left:
        # What is not UTF-8 is refused by the tools themselves.
        for folder in _USES.findall((root / left.pop()).read_text("utf-8", "replace")):
            names = {posixpath.normpath(posixpath.join(folder, name)) for name in ("action.yml", "action.yaml")}
            new = {name for name in names - found if (root / name).is_file()}
            found |= new
            left += new
    return found
