"""Gives every test the fixtures of Fairlead's own pytest plugin, and says which processes coverage is measured in."""

import functools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest_plugins = ["fairlead.pytest_plugin"]

#: What makes coverage measure a process that is started with it.
_MEASURING = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")

#: What a hook of git's tells the programs that it starts, and what a person asks of those that print.
_NOT_FOR_TESTS = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "FORCE_COLOR", "CLICOLOR_FORCE")

#: What the tests of several workers keep in memory at a time, and plenty.
_NEEDED_MEMORY = 3 * 1024**3


def pytest_configure(config: pytest.Config) -> None:
    """Measure the test process, and of those that it starts only the local platform's.

    Measuring doubles the time that a Python process takes to start, and tests start hundreds. What they run is measured
    in the test process as well; the platform's process alone runs code that is reached nowhere else, so some of its
    tests give it these variables back.
    """
    _leave_threads_unmeasured()
    starts_workers = not hasattr(config, "workerinput") and config.getoption("numprocesses", default=None)
    if not starts_workers:
        for name in set(_MEASURING) & set(os.environ):
            os.environ[f"MEASURED_{name}"] = os.environ.pop(name)


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """Have httpx read this machine's certificates once: it does for each of its clients, and takes 70 ms of CPU.

    No test speaks TLS; and a context is the same for all that ask for the same.
    """
    with pytest.MonkeyPatch.context() as patch:
        once = functools.lru_cache(maxsize=8)(httpx.create_ssl_context)
        patch.setattr("httpx._transports.default.create_ssl_context", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_word_from_outside() -> Iterator[None]:
    """Tell what tests start of no other repository, into which they would commit, and of no wish for colours."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _NOT_FOR_TESTS:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def secrets_of_one_test() -> Iterator[None]:
    """Forget after each test what it had masked: the next may print those very words."""
    from fairlead._output import redact

    # Not by `monkeypatch`, which would then be undone after all fixtures of a test, and not before them.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redact, "_secrets", set())
        yield


def _leave_threads_unmeasured() -> None:
    """Keep coverage out of threads on Python 3.11, which spins for ever otherwise, once in some thousand tests.

    Coverage asks greenlet in each thread that it measures, and greenlet cleans up after such a thread in a pending call
    of the main one. A second thread that ends meanwhile asks for attention, which 3.11 cannot give within a pending
    call, and under a trace function its evaluation loop tries again without end (`CHECK_EVAL_BREAKER` at a RESUME).
    """
    if sys.version_info < (3, 12) and sys.gettrace() is not None:
        threading.settrace(None)


@pytest.fixture(scope="session")
def memory_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder in memory, where there is room, that a server's user can pass through; removed with the run.

    A platform keeps its database durable: on a disk, making and removing that takes seconds of each test.
    """
    from fairlead.postgres.temporary import choose_place

    place = choose_place()
    if place == Path(tempfile.gettempdir()) or shutil.disk_usage(place).free < _NEEDED_MEMORY:
        yield tmp_path_factory.mktemp("base")
        return
    for folder in place.glob("fairlead-tests-*"):
        if not _is_used(folder):
            shutil.rmtree(folder, ignore_errors=True)
    base = Path(tempfile.mkdtemp(prefix=f"fairlead-tests-{os.getpid()}-", dir=place))
    base.chmod(0o711)
    yield base
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def memory_path(memory_base: Path) -> Iterator[Path]:
    """Give a folder of this test's own in `memory_base`, removed after it."""
    folder = Path(tempfile.mkdtemp(dir=memory_base))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _is_used(folder: Path) -> bool:
    """Tell whether the run that made a folder, or one of another user, may still go on."""
    if folder.stat().st_uid != os.geteuid():
        return True
    try:
        os.kill(int(folder.name.split("-")[2]), 0)
    except (ProcessLookupError, ValueError):
        return False
    return True
