"""What was measured against what is allowed: verdicts, the table, JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["ok", "broken", "told"]
Bound = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure with its budget; None of a budget is a figure that is told and not judged.

    `note` says what else there is to know: an interval, how it was measured, why there is nothing.
    """

    name: str
    value: float | None
    unit: str
    budget: float | None = None
    bound: Bound = "at most"
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Tell whether the budget holds; where there is one and nothing was measured, it does not."""
        if self.budget is None:
            return "told"
        if self.value is None:
            return "broken"
        holds = self.value <= self.budget if self.bound == "at most" else self.value >= self.budget
        return "ok" if holds else "broken"

    def to_json(self) -> dict[str, Any]:
        """Return the figure as JSON has it."""
        return {
            "name": self.name,
            "value": None if self.value is None else round(self.value, 3),
            "unit": self.unit,
            "budget": self.budget,
            "bound": None if self.budget is None else self.bound,
            "verdict": self.verdict,
            "note": self.note,
        }


def rows(figures: Sequence[Figure]) -> list[list[str]]:
    """Return the rows of the table: figure, value, budget, verdict, note."""
    return [
        [
            figure.name,
            "none" if figure.value is None else _quantity(figure.value, figure.unit),
            "" if figure.budget is None else f"{figure.bound} {_quantity(figure.budget, figure.unit)}",
            {"ok": "ok", "broken": "BROKEN", "told": ""}[figure.verdict],
            figure.note,
        ]
        for figure in figures
    ]


def problems(figures: Sequence[Figure]) -> list[str]:
    """Say of each broken budget what was measured and what is allowed."""
    found = []
    for figure in figures:
        if figure.verdict == "broken" and figure.budget is not None:
            value = "nothing was measured" if figure.value is None else _quantity(figure.value, figure.unit)
            told = f" ({figure.note})" if figure.note else ""
            found.append(f"{figure.name}: {value}, {figure.bound} {_quantity(figure.budget, figure.unit)}{told}")
    return found


def _quantity(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 or value % 1 == 0 else 1 if abs(value) >= 10 else 2
    return f"{round(value, digits) + 0.0:.{digits}f} {unit}".rstrip()  # + 0.0: no minus before a zero
