"""Finds the programs that the runners run."""

import shutil
import sys
from pathlib import Path


def find(name: str) -> str | None:
    """Return the path of a program: the one beside this interpreter, as the lock has it, before any on the PATH."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return beside or shutil.which(name)
