"""The line that shows how far a backup or a restore is."""

import io
import sys

import pytest

from fairlead.tasks import db


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_is_replaced_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with db._progress("written") as tell:
        assert tell is not None
        for count in (999_900, 1_000_000, 1_000_000_000_000):
            tell(count)
    *lines, blank, end = terminal.getvalue().split("\r")
    assert [line.split(" in ")[0] for line in lines] == [
        "· 999.9 kB written",
        "· 1.0 MB written",
        "· 1000.0 GB written",
    ]
    assert len(lines[1]) >= len(lines[0]), "what is shorter covers what was longer"
    assert (blank.strip(), len(blank), end) == ("", max(map(len, lines)), "")


def test_progress_is_gone_when_a_backup_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())

    def fail() -> None:
        with db._progress("written") as tell:
            assert tell is not None
            tell(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert terminal.getvalue().split("\r")[-2].strip() == ""


def test_where_nobody_looks_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", piped := io.StringIO())
    with db._progress("restored") as tell:
        assert tell is None
    assert piped.getvalue() == ""
