"""What Fairlead's own programs do without when they import a library."""

import sys
from typing import Any


def skip_command_line_of_httpx() -> None:
    """Let this process import httpx without its command line, which brings rich and click along.

    They are a fifth of an act's start. For the programs of Fairlead alone: nobody else's process is changed.
    """
    nothing: Any = None
    sys.modules.setdefault("httpx._main", nothing)
