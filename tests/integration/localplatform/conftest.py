"""A local platform of one's own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.localplatform import Endpoint
from tests.integration.localplatform.tiny import Project, make_bundle, make_project


@pytest.fixture
def tmp_path(memory_path: Path) -> Path:
    """Where these tests keep their platforms: in memory."""
    return memory_path


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A repository whose platform is stopped afterwards, whatever happened."""
    made = make_project(tmp_path)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def serving(memory_base: Path) -> Iterator[tuple[Project, Endpoint]]:
    """A platform, shared by a module's tests, on which the release "base" serves."""
    folder = Path(tempfile.mkdtemp(dir=memory_base))
    folder.chmod(0o711)
    made = make_project(folder)
    made.measured = True
    try:
        endpoint = made.start()
        assert made.deploy(make_bundle("base"), endpoint=endpoint)["status"] == "SUCCESS"
        yield made, endpoint
    finally:
        made.remove()
