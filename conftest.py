"""Gives every test the fixtures of Fairlead's own pytest plugin, and says which processes coverage is measured in."""

import os

import pytest

pytest_plugins = ["fairlead.pytest_plugin"]

#: What makes coverage measure a process that is started with it.
_MEASURING = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def pytest_configure(config: pytest.Config) -> None:
    """Measure the test process, and of those that it starts only the local platform's.

    Measuring doubles the time that a Python process takes to start, and tests start hundreds. What they run is measured
    in the test process as well; the platform's process alone runs code that is reached nowhere else, so some of its
    tests give it these variables back.
    """
    starts_workers = not hasattr(config, "workerinput") and config.getoption("numprocesses", default=None)
    if not starts_workers:
        for name in set(_MEASURING) & set(os.environ):
            os.environ[f"MEASURED_{name}"] = os.environ.pop(name)
