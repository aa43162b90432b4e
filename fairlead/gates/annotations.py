"""A pytest plugin that prints each failure as an annotation of GitHub's, so that it shows beside its line.

Loaded by `-p fairlead.gates.annotations` when `GITHUB_ACTIONS` is set.
"""

from typing import Protocol

from fairlead import _output


class Report(Protocol):
    """What the plugin needs of pytest's report."""

    @property
    def failed(self) -> bool: ...  # noqa: D102 - a property of pytest's
    @property
    def nodeid(self) -> str: ...  # noqa: D102 - a property of pytest's
    @property
    def location(self) -> tuple[str, int | None, str]: ...  # noqa: D102 - a property of pytest's
    @property
    def longreprtext(self) -> str: ...  # noqa: D102 - a property of pytest's


def annotation(report: Report) -> str:
    """Return the workflow command for a failed test: its file, its line, and the last line of what it says."""
    path, line, _ = report.location
    lines = [text for text in report.longreprtext.splitlines() if text.startswith("E ")]
    message = f"{report.nodeid}: {(lines or ['failed'])[0].removeprefix('E').strip()}"
    return _output.annotation("error", message, path=path, line=(line or 0) + 1)


class _Printer:
    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report: Report) -> None:
        if report.failed:
            self.found.append(annotation(report))

    def pytest_terminal_summary(self, terminalreporter: "_Terminal") -> None:
        for line in self.found:
            terminalreporter.write_line(line)


class _Terminal(Protocol):
    def write_line(self, line: str) -> None: ...


class _Plugins(Protocol):
    def register(self, plugin: object, name: str) -> object: ...


class _PytestConfig(Protocol):
    @property
    def pluginmanager(self) -> _Plugins: ...


def pytest_configure(config: _PytestConfig) -> None:
    """Register the printer in the process that reports; the workers of pytest-xdist leave it to that one."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Printer(), "fairlead-annotations")
