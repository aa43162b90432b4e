"""Prints tables at the end of a run: what the test of each row has seen, and whether that is what should be.

A plugin of pytest's, for `-p tests.table`; with pytest-xdist it works where the results meet. A test notes its row with
`note_row`; one that breaks before it could is told by its name, in a table of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

#: What pytest's `record_property` is.
Note = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class _Row:
    table: str
    name: str
    seen: str
    expected: str
    seconds: float
    passed: bool

    def render(self, widths: tuple[int, int]) -> str:
        verdict = "as it should" if self.passed else f"WRONG, expected {self.expected}" if self.expected else "WRONG"
        return f"{self.name:{widths[0]}}  {self.seen:{widths[1]}}  {self.seconds:5.1f} s  {verdict}"


_ROWS = pytest.StashKey[list[_Row]]()
_KEYS = ("table", "row", "seen", "expected")
_BROKEN = "what broke before it could note its row"


def note_row(note: Note, table: str, name: str, *, seen: str, expected: str) -> None:
    """Note, by a test's `record_property`, its row of the table that is called `table`."""
    for key, text in zip(_KEYS, (table, name, seen, expected), strict=True):
        note(key, text)


def pytest_configure(config: pytest.Config) -> None:
    """Begin without a row."""
    config.stash[_ROWS] = []
    config.pluginmanager.register(_Rows(config.stash[_ROWS]), "table rows")


class _Rows:
    def __init__(self, rows: list[_Row]) -> None:
        self._rows = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the row of a test that noted one, and a row for one that failed without."""
        if report.when != "call" and not (report.when == "setup" and report.failed):
            return
        noted: dict[str, Any] = dict(report.user_properties)
        if "row" in noted:
            table, name, seen, expected = (str(noted[key]) for key in _KEYS)
        elif report.failed:
            table, name, seen, expected = _BROKEN, report.nodeid.rpartition("::")[2], "not noted", ""
        else:
            return
        self._rows.append(_Row(table, name, seen, expected, report.duration, report.passed))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print each table, what is not as it should be at its end."""
    tables: dict[str, list[_Row]] = {}
    noted = config.stash[_ROWS]
    for row in sorted(noted, key=lambda row: (row.table == _BROKEN, row.table, not row.passed, row.name)):
        tables.setdefault(row.table, []).append(row)
    for table, rows in tables.items():
        widths = (max(len(row.name) for row in rows), max(len(row.seen) for row in rows))
        terminalreporter.section(table)
        for row in rows:
            terminalreporter.write_line(row.render(widths), green=row.passed, red=not row.passed)
        wrong = sum(not row.passed for row in rows)
        count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        terminalreporter.write_line(f"{count}, {wrong} of them wrong", green=not wrong, red=bool(wrong))
