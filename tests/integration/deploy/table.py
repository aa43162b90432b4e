"""Prints the fault table at the end of a run: each fault, what was seen and whether that is what should be.

A plugin of pytest's, for `-p tests.integration.deploy.table`; with pytest-xdist it works where the results meet.
"""

from typing import Any

import pytest

_ROWS = pytest.StashKey[list[tuple[str, str, str, float, bool]]]()
_SILENT = "not noted"


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty table."""
    config.stash[_ROWS] = []
    config.pluginmanager.register(_Rows(config.stash[_ROWS]), "fault rows")


class _Rows:
    def __init__(self, rows: list[tuple[str, str, str, float, bool]]) -> None:
        self._rows = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the row of a test that noted one; one that broke before it could is told by its name."""
        if report.when != "call" and not (report.when == "setup" and report.failed):
            return
        noted: dict[str, Any] = dict(report.user_properties)
        if "fault" in noted or report.failed:
            fault = noted.get("fault", report.nodeid.rpartition("::")[2])
            seen, expected = noted.get("seen", _SILENT), noted.get("expected", "")
            self._rows.append((fault, seen, expected, report.duration, report.passed))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, what is not as it should be at its end."""
    rows = sorted(config.stash[_ROWS], key=lambda row: (not row[4], row[0].lower()))
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    terminalreporter.section("the fault table: exit code and what serves afterwards")
    for fault, seen, expected, seconds, passed in rows:
        line = f"{fault:{widths[0]}}  {seen:{widths[1]}}  {seconds:5.1f} s  "
        line += "as it should" if passed else f"WRONG, expected {expected}"
        terminalreporter.write_line(line, green=passed, red=not passed)
    wrong = sum(not row[4] for row in rows)
    terminalreporter.write_line(f"{len(rows)} rows, {wrong} of them wrong", green=not wrong, red=bool(wrong))
