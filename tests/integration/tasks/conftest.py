"""Where the acts are run: in memory, so that the databases of their platforms are quick to make and to remove."""

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(memory_path: Path) -> Path:
    """A folder of the test's own."""
    return memory_path
