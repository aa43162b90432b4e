"""Finds the programs that the runners run, and tells what one said last."""

import shutil
import sys
from pathlib import Path
from typing import Final

from fairlead._redaction import redact

_SHOWN: Final = 1000


def find(name: str) -> str | None:
    """Return the path of a program: the one beside this interpreter, as the lock has it, before any on the PATH."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return beside or shutil.which(name)


def last_words(output: str) -> str:
    """Return the end of what a program has said; masked before it is cut, since half a secret is not known as one."""
    return redact(output.strip())[-_SHOWN:]
