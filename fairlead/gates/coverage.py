"""Judges coverage.py's JSON report against the thresholds of `[tool.fairlead.coverage]`.

Four measures, each reported and each enforced:

- statements: of all statements, those that ran
- branches: of all ways out of a condition, those that were taken
- functions: of all functions, those of which at least one statement ran
- lines: of all lines that statements stand on, those whose statement ran; a call spread over ten lines counts ten

Of the lines in single folders more may be asked (`folders`), so that one part cannot hide behind another.
"""

import ast
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fairlead import _output, _program, config
from fairlead.config import CoverageConfig
from fairlead.exceptions import CommandError, ConfigurationError

MEASURES: Final = ("statements", "branches", "functions", "lines")
_WORST: Final = 5


@dataclass(frozen=True, slots=True)
class Measure:
    """How much of one thing there is and how much of it was covered."""

    covered: int
    total: int

    @property
    def percent(self) -> float:
        """The covered part in per cent; of nothing, everything is covered."""
        return 100.0 if self.total == 0 else 100.0 * self.covered / self.total

    def __add__(self, other: "Measure") -> "Measure":
        return Measure(self.covered + other.covered, self.total + other.total)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The four measures of each file; `total` sums them up."""

    files: Mapping[str, Mapping[str, Measure]] = field(repr=False)

    def total(self, name: str) -> Measure:
        """Sum one measure over all files."""
        return sum((file[name] for file in self.files.values()), Measure(0, 0))

    def within(self, folder: str) -> "Coverage":
        """Return the part of it that is about the files below a folder."""
        start = folder.rstrip("/") + "/"
        return Coverage({path: file for path, file in self.files.items() if path.startswith(start)})

    def worst(self, name: str, *, count: int = _WORST) -> list[tuple[str, Measure]]:
        """Return the files that lack most of one measure, the worst first."""
        lacking = [(path, file[name]) for path, file in self.files.items() if file[name].covered < file[name].total]
        return sorted(lacking, key=lambda item: (item[1].covered - item[1].total, item[0]))[:count]


def read_report(text: str, *, root: Path) -> Coverage:
    """Read the text of coverage.py's JSON report on files below `root`.

    Raises `ConfigurationError` when the report lacks what a measure needs: no file, no branches, no functions.
    """
    try:
        report: dict[str, Any] = json.loads(text)
        if not report["meta"]["branch_coverage"]:
            raise _unusable("branches were not measured")
        files = {path: _read_file(facts, _line_counts(root / path)) for path, facts in report["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(f"{type(error).__name__}: {error}") from None
    if not any(file["statements"].covered for file in files.values()):
        raise _unusable("no statement of any file ran")
    return Coverage(files)


def shortfalls(coverage: Coverage, thresholds: CoverageConfig) -> list[str]:
    """Describe each measure that lies below its threshold, with the files that lack most of it."""
    found = []
    for label, name, part, threshold in _demands(coverage, thresholds):
        total = part.total(name)
        if not part.files:
            found.append(f"{label}: no file of it was measured")
        elif total.percent < threshold:
            worst = "; ".join(
                f"{path} {measure.percent:.0f} % ({measure.total - measure.covered} missing)"
                for path, measure in part.worst(name)
            )
            found.append(f"{label}: {total.percent:.2f} % is below {threshold:g} %; most is missing in {worst}")
    return found


def render(coverage: Coverage, thresholds: CoverageConfig) -> str:
    """Return the table of the four measures, and of the lines in each folder that more is asked of."""
    demands = _demands(coverage, thresholds)
    width = max(len(label) for label, *_ in demands) + 2
    lines = [f"{'measure':<{width}}{'covered':>9}{'of':>9}{'per cent':>10}{'at least':>10}"]
    for label, name, part, threshold in demands:
        total = part.total(name)
        lines.append(f"{label:<{width}}{total.covered:>9}{total.total:>9}{total.percent:>10.2f}{threshold:>10g}")
    return "\n".join(lines)


def judge(arguments: Sequence[str]) -> int:
    """Judge the report that the only argument names; 0 when every threshold is reached, else 1."""
    if len(arguments) != 1:
        raise ConfigurationError("name one report", hint="python -m fairlead.gates.coverage REPORT.json")
    loaded = config.load()
    try:
        text = Path(arguments[0]).read_text("utf-8")
    except OSError as error:
        raise CommandError(f"coverage could not be checked: {arguments[0]}: {error.strerror}") from None
    coverage = read_report(text, root=loaded.root)
    _output.result(render(coverage, loaded.coverage))
    missing = shortfalls(coverage, loaded.coverage)
    if missing:
        _output.error("coverage is below its threshold", problems=missing, hint="nox -s tests, then test what is named")
        return 1
    _output.status("ok", f"coverage of {len(coverage.files)} files reaches every threshold")
    return 0


def _read_file(facts: Mapping[str, Any], line_counts: Mapping[int, int]) -> dict[str, Measure]:
    summary = facts["summary"]
    executed, missing = facts["executed_lines"], facts["missing_lines"]
    functions = [function["summary"] for name, function in facts["functions"].items() if name]
    covered = sum(line_counts.get(line, 1) for line in executed)
    return {
        "statements": Measure(summary["covered_lines"], summary["num_statements"]),
        "branches": Measure(summary["covered_branches"], summary["num_branches"]),
        "functions": Measure(
            sum(1 for function in functions if function["covered_lines"]),
            sum(1 for function in functions if function["num_statements"]),
        ),
        "lines": Measure(covered, covered + sum(line_counts.get(line, 1) for line in missing)),
    }


def _line_counts(path: Path) -> dict[int, int]:
    """Say on how many lines each statement of a file stands; of a compound statement only its head counts."""
    counts: dict[int, int] = {}
    for node in ast.walk(ast.parse(path.read_bytes())) if path.is_file() else ():
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            counts[node.lineno] = max(counts.get(node.lineno, 1), last - node.lineno + 1)
    return counts


def _demands(coverage: Coverage, thresholds: CoverageConfig) -> list[tuple[str, str, Coverage, float]]:
    """Return what is asked: how it is called, the measure, the part of the files it is about, and how much at least."""
    whole = [(name, name, coverage, float(getattr(thresholds, name))) for name in MEASURES]
    folders = [
        (f"lines of {folder}", "lines", coverage.within(folder), threshold)
        for folder, threshold in thresholds.folders.items()
    ]
    return [*whole, *folders]


def _unusable(why: str) -> CommandError:
    return CommandError(
        f"coverage could not be checked: the report is not usable ({why})",
        hint="nox -s tests runs the tests and measures anew",
    )


if __name__ == "__main__":
    sys.exit(_program.run(judge, sys.argv[1:]))
