"""What all planted defects share: a copy of the repository, and which of their tests a worker gets together."""

from pathlib import Path
from typing import Any

import pytest

from tests.planted.copies import make_copy


@pytest.fixture
def copy(memory_path: Path) -> Path:
    """A copy of the repository, without what the gates and a person's own tools left in it.

    In memory, where there is room: on a disk, making and removing it takes longer than some gates.
    """
    return make_copy(memory_path / "a copy")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Give the rows of one run of the security gate to one worker, and everything else to whoever is free.

    That is what `--dist loadgroup` is for: of pytest-xdist 3.8 on pytest 9.2 it groups nothing.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("[")[0] if "/test_security.py::" in nodeid else nodeid

    return Scheduling(config, log)
