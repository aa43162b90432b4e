"""The Procfile: which processes a backend is made of, and how each is started."""

from collections.abc import Mapping
from typing import Final

FILE: Final = "Procfile"
#: The kind of process that has the public port; the others answer no requests.
WEB: Final = "web"


def parse(text: str) -> Mapping[str, str]:
    """Read the text of a Procfile: command by kind of process."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {kind.strip(): command.strip() for kind, colon, command in pairs if colon and command.strip()}
