"""Subjects that take turns under the same load, so that a busy machine slows all of them alike."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fairlead.gates.performance.load import Load, Target
from fairlead.gates.performance.statistics import Estimate, compare_pairs


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a target, and the process that answers there."""

    target: Target
    pid: int


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of a subject: what came of the load, and the processor time that each answer took, in milliseconds."""

    load: Load
    cpu: float


Turn = Callable[[Subject], Round]


def measure_turn(subject: Subject, load: Callable[[Target], Load], clock: Callable[[int], float]) -> Round:
    """Put one load on a subject; `clock` tells the processor time that a process has taken, in seconds."""
    before = clock(subject.pid)
    found = load(subject.target)
    return Round(found, (clock(subject.pid) - before) / found.requests * 1000)


def take_turns(subjects: Mapping[str, Subject], turn: Turn, *, rounds: int) -> dict[str, list[Round]]:
    """Let each subject take its turn in each of `rounds`, forwards and backwards in turn.

    So each pair of subjects is measured side by side, and a drift of the machine favours neither.
    """
    found: dict[str, list[Round]] = {name: [] for name in subjects}
    for number in range(rounds):
        order = list(subjects)
        for name in order if number % 2 == 0 else reversed(order):
            found[name].append(turn(subjects[name]))
    return found


def median_of(rounds: Sequence[Round], value: Callable[[Round], float]) -> float:
    """Return the median of one value over rounds."""
    return statistics.median(value(one) for one in rounds)


def compare_turns(
    subjects: Mapping[str, Subject], turn: Turn, *, rounds: int, most: int, limit: float
) -> tuple[Estimate, int]:
    """Estimate how many times the second subject's processor time for an answer the first one takes.

    They take turns for `rounds`, and while the interval spans `limit`, so that noise may yet decide, for up to `most`.
    Return the estimate and how many rounds it took.
    """
    ours, theirs = subjects
    found = take_turns(subjects, turn, rounds=rounds)
    while True:
        pairs = [[one.cpu for one in found[name]] for name in (ours, theirs)]
        estimate, taken = compare_pairs(*pairs), len(pairs[0])
        if taken >= most or not estimate.spans(limit):
            return estimate, taken
        for name, more in take_turns(subjects, turn, rounds=2).items():
            found[name] += more
