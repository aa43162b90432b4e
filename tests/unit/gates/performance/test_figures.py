"""What was measured against what is allowed."""

import pytest

from fairlead.gates.performance.figures import Figure, problems, rows


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("p95", 199.9, "ms", 200), "ok"),
        (Figure("p95", 200.0, "ms", 200), "ok"),
        (Figure("p95", 200.1, "ms", 200), "broken"),
        (Figure("failures", 0, "", 0), "ok"),
        (Figure("failures", 1, "", 0), "broken"),
        (Figure("share", 60.0, "%", 60, "at least"), "ok"),
        (Figure("share", 59.9, "%", 60, "at least"), "broken"),
        (Figure("p95", float("nan"), "ms", 200), "broken"),
        (Figure("p95", None, "ms", 200), "broken"),
        (Figure("base", None, ""), "told"),
        (Figure("rate", 12.0, "/s"), "told"),
    ],
)
def test_a_figure_is_judged_by_its_budget(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict
    assert bool(problems([figure])) is (verdict == "broken")


@pytest.mark.parametrize(
    ("figure", "row"),
    [
        (Figure("p95", 23.456, "ms", 200), ["p95", "23.5 ms", "at most 200 ms", "ok", ""]),
        (Figure("p95", 1234.5, "ms", 200.5), ["p95", "1234 ms", "at most 200 ms", "BROKEN", ""]),
        (Figure("growth", -0.001, "MB", 1.5), ["growth", "0.00 MB", "at most 1.50 MB", "ok", ""]),
        (
            Figure("share", 61.0, "%", 60, "at least", "58 to 63 %"),
            ["share", "61 %", "at least 60 %", "ok", "58 to 63 %"],
        ),
        (Figure("base", None, "", note="no commit"), ["base", "none", "", "", "no commit"]),
    ],
)
def test_a_row_says_figure_value_budget_verdict_and_note(figure: Figure, row: list[str]) -> None:
    assert rows([figure]) == [row]


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (Figure("p95", 250.0, "ms", 200), "p95: 250 ms, at most 200 ms"),
        (Figure("p95", None, "ms", 200), "p95: nothing was measured, at most 200 ms"),
        (Figure("share", 31.0, "%", 60, "at least", "25 to 37 %"), "share: 31 %, at least 60 % (25 to 37 %)"),
    ],
)
def test_a_broken_budget_is_told_with_what_was_measured(figure: Figure, said: str) -> None:
    assert problems([figure]) == [said]


def test_json_has_every_figure_with_its_verdict() -> None:
    assert Figure("p95", 23.45678, "ms", 200).to_json() == {
        "name": "p95",
        "value": 23.457,
        "unit": "ms",
        "budget": 200,
        "bound": "at most",
        "verdict": "ok",
        "note": "",
    }
    assert Figure("base", None, "").to_json()["bound"] is None
