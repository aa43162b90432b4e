"""The loopback platform: runs releases of this repository on this machine, behind Railway's API.

What the acts use is loaded when first asked for, so that listing commands stays quick.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fairlead.localplatform.commands import (
        call_in_release,
        prepare_environment,
        release_environment,
        run_in_release,
    )
    from fairlead.localplatform.daemon import find, start, stop
    from fairlead.localplatform.endpoint import Endpoint

__all__ = [
    "Endpoint",
    "call_in_release",
    "find",
    "prepare_environment",
    "release_environment",
    "run_in_release",
    "start",
    "stop",
]

_HOMES: Final = {
    "Endpoint": "endpoint",
    "find": "daemon",
    "start": "daemon",
    "stop": "daemon",
    "call_in_release": "commands",
    "prepare_environment": "commands",
    "release_environment": "commands",
    "run_in_release": "commands",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
