"""Subjects that take turns."""

from collections.abc import Iterator

import pytest

from fairlead.gates.performance.load import Load, Target
from fairlead.gates.performance.rounds import Round, Subject, compare_turns, measure_turn, median_of, take_turns

SUBJECTS = {"ours": Subject(Target("http://ours"), 1), "base": Subject(Target("http://base"), 2)}
LOAD = Load(requests=500, seconds=2.0, p50=1.0, p95=2.0, failures=0)


def test_a_turn_tells_the_processor_time_of_each_answer() -> None:
    clock: Iterator[float] = iter([10.0, 11.0])
    found = measure_turn(SUBJECTS["ours"], lambda _target: LOAD, lambda _pid: next(clock))
    assert found == Round(LOAD, 2.0)
    assert found.load.rate == 250.0


def test_turns_go_forwards_and_backwards() -> None:
    asked: list[str] = []

    def turn(subject: Subject) -> Round:
        asked.append(subject.target.url.removeprefix("http://"))
        return Round(LOAD, float(len(asked)))

    found = take_turns(SUBJECTS, turn, rounds=3)
    assert asked == ["ours", "base", "base", "ours", "ours", "base"]
    assert {name: [one.cpu for one in each] for name, each in found.items()} == {"ours": [1, 4, 5], "base": [2, 3, 6]}
    assert median_of(found["ours"], lambda one: one.cpu) == 4


@pytest.mark.parametrize(
    ("ratios", "median", "taken"),
    [
        ([1.0] * 6, 1.0, 6),
        ([2.0] * 6, 2.0, 6),
        # One pair beyond the limit keeps the interval across it; more pairs settle it.
        ([1.0] * 5 + [1.4] + [1.0] * 12, 1.0, 10),
        # Noise on both sides for ever: the median decides after the last of the rounds.
        ([1.0, 1.5] * 9, 1.25, 18),
    ],
)
def test_there_are_more_rounds_while_noise_could_still_decide(ratios: list[float], median: float, taken: int) -> None:
    left = {1: iter(ratios), 2: iter([1.0] * len(ratios))}
    found, rounds = compare_turns(
        SUBJECTS, lambda subject: Round(LOAD, next(left[subject.pid])), rounds=6, most=18, limit=1.25
    )
    assert rounds == taken
    assert found.median == pytest.approx(median)
