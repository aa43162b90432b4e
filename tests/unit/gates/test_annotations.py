from dataclasses import dataclass

import pytest

from fairlead.gates import annotations

pytest_plugins = ["pytester"]


@dataclass
class Report:
    nodeid: str = "tests/test_a.py::test_b"
    location: tuple[str, int | None, str] = ("tests/test_a.py", 4, "test_b")
    longreprtext: str = "def test_b():\n>   assert 1 == 2\nE   assert 1 == 2\nE   and more"
    failed: bool = True


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (Report(), "::error file=tests/test_a.py,line=5::tests/test_a.py::test_b: assert 1 == 2"),
        (
            Report(longreprtext="", location=("a.py", None, "")),
            "::error file=a.py,line=1::tests/test_a.py::test_b: failed",
        ),
        (
            Report(longreprtext="E  50% of\rit"),
            "::error file=tests/test_a.py,line=5::tests/test_a.py::test_b: 50%25 of",
        ),
    ],
)
def test_a_failure_becomes_a_workflow_command(report: Report, line: str) -> None:
    assert annotations.annotation(report) == line


def test_failures_are_printed_at_the_end_and_passes_are_not(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_good():\n    pass\n\n\ndef test_bad():\n    assert 1 == 2\n")
    result = pytester.runpytest_inprocess("-p", "fairlead.gates.annotations", "-p", "no:xdist")
    result.assert_outcomes(passed=1, failed=1)
    found = [line for line in result.outlines if line.startswith("::error")]
    assert len(found) == 1
    assert "test_bad" in found[0]
