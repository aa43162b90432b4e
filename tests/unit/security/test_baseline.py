import json
from pathlib import Path

import pytest

from fairlead.exceptions import ConfigurationError
from fairlead.security import baseline
from fairlead.security.baseline import Entry, Secret

SECRET = Secret("GitHub Token", "a.py", 3, "d1")
JUDGED = Entry("GitHub Token", "a.py", "d1", "an example", judged=True)
PAST = Entry("GitHub Token", "a.py", "d1", "revoked", judged=True, past=True)


def rules(
    secrets: list[Secret], entries: list[Entry], *, complete: bool = True, history: bool = False
) -> list[tuple[str, str]]:
    findings = baseline.judge(secrets, entries, complete=complete, history=history)
    return [(finding.rule, finding.place) for finding in findings]


def test_a_secret_that_nothing_excuses_is_a_finding() -> None:
    assert rules([SECRET], []) == [("github-token", "a.py:3")]


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (JUDGED, []),
        (Entry("GitHub Token", "a.py", "d1"), [("unjudged-baseline-entry", baseline.FILE)]),
        (Entry("GitHub Token", "a.py", "d1", "", judged=True), [("unjudged-baseline-entry", baseline.FILE)]),
        (Entry("GitHub Token", "a.py", "d1", "an example"), [("unjudged-baseline-entry", baseline.FILE)]),
        (PAST, [("github-token", "a.py:3")]),
        (
            Entry("GitHub Token", "a.py", "other", "an example", judged=True),
            [("github-token", "a.py:3"), ("stale-baseline-entry", baseline.FILE)],
        ),
        (
            Entry("GitHub Token", "b.py", "d1", "an example", judged=True),
            [("github-token", "a.py:3"), ("stale-baseline-entry", baseline.FILE)],
        ),
    ],
)
def test_an_entry_excuses_one_secret_once_a_person_has_said_why(entry: Entry, found: list[tuple[str, str]]) -> None:
    assert rules([SECRET], [entry]) == found


def test_an_entry_excuses_its_secret_on_whatever_line() -> None:
    assert rules([Secret("GitHub Token", "a.py", 30, "d1")], [JUDGED]) == []


def test_one_secret_on_two_lines_is_two_findings() -> None:
    again = Secret("GitHub Token", "a.py", 9, "d1")
    assert rules([again, SECRET], []) == [("github-token", "a.py:3"), ("github-token", "a.py:9")]


def test_an_entry_is_not_called_stale_where_not_everything_was_looked_at() -> None:
    assert rules([], [JUDGED]) == [("stale-baseline-entry", baseline.FILE)]
    assert rules([], [JUDGED], complete=False) == []


def test_an_entry_for_a_line_that_is_marked_is_stale() -> None:
    marked = Secret("GitHub Token", "a.py", 3, "d1", excuse="an example")
    assert rules([marked], []) == []
    assert rules([marked], [JUDGED]) == [("stale-baseline-entry", baseline.FILE)]


def test_in_the_history_a_secret_is_told_of_once_and_excused_by_either_kind_of_entry() -> None:
    versions = [Secret("GitHub Token", "a.py", line, "d1", past=f"{line}" * 40) for line in (3, 5)]
    assert len(rules(versions, [], history=True)) == 1
    assert rules(versions, [JUDGED], history=True) == []
    assert rules(versions, [PAST], history=True) == []
    assert rules([], [PAST], history=True) == [("stale-baseline-entry", baseline.FILE)]
    assert rules([], [PAST]) == []


def test_a_finding_tells_neither_the_secret_nor_its_digest() -> None:
    digest = baseline.digest("correct horse battery staple")
    shown = repr(baseline.judge([Secret("GitHub Token", "a.py", 3, digest)], [], complete=True))
    assert digest not in shown
    assert digest[:12] not in shown


@pytest.mark.parametrize(
    ("lines", "excuse"),
    [
        (["x", "key  # pragma: allowlist secret - an example of the docs"], "an example of the docs"),
        (["x", "key  # pragma: allowlist secret: an example"], "an example"),
        (["x", "key <!-- pragma: allowlist secret - an example -->"], "an example"),
        (["# pragma: allowlist nextline secret - an example", "key"], "an example"),
        (["x", "key  # pragma: allowlist secret"], ""),
        (["x", "key  # pragma: allowlist secret -"], ""),
        (["key  # pragma: allowlist secret - an example", "key"], ""),
        (["x", "key  # pragma: allowlist nextline secret - an example"], ""),
        (["x", "key"], ""),
        ([], ""),
    ],
)
def test_a_mark_excuses_its_line_and_says_why(lines: list[str], excuse: str) -> None:
    assert baseline.find_excuse(lines, 2) == excuse


def test_a_baseline_written_anew_keeps_what_people_said_and_judges_nothing_itself(tmp_path: Path) -> None:
    new = Secret("AWS Access Key", "b.py", 1, "d2")
    marked = Secret("AWS Access Key", "c.py", 1, "d3", excuse="an example")
    past = PAST.to_secret()
    old = Secret("GitHub Token", "old.py", 0, "d4", past="o" * 40)
    text = baseline.render([past, SECRET, new, marked, old], [JUDGED], {"version": "1"})
    (tmp_path / baseline.FILE).write_text(text)
    assert set(baseline.load(tmp_path)) == {
        JUDGED,
        Entry("AWS Access Key", "b.py", "d2"),
        Entry("GitHub Token", "old.py", "d4", past=True),
    }
    assert json.loads(text)["version"] == "1"


def test_without_a_baseline_there_are_no_entries(tmp_path: Path) -> None:
    assert baseline.load(tmp_path) == ()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"results": []}', '{"results": {"a.py": [{"type": "x"}]}}'])
def test_a_broken_baseline_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / baseline.FILE).write_text(content)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        baseline.load(tmp_path)
