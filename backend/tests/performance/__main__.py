"""Measures the backend, judges it by `[tool.fairlead.performance]`, and compares it with the base revision.

nox -s performance                         all of it, about two minutes
nox -s performance -- --base v1.4.0        against another revision than where this branch left main
nox -s performance -- --no-base            without one
nox -s performance -- --soak 300           with five minutes of load, for the memory
nox -s performance -- --json               the figures as JSON
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from backend.tests.performance.measuring import Plan, measure
from fairlead import _output, _program, config
from fairlead.gates.performance import figures, load

_Number = TypeVar("_Number", int, float)


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table and return 1 when a budget is broken."""
    options = _parser().parse_args(arguments)
    generator = options.generator or load.choose_generator()
    plan = Plan(
        generator=generator,
        connections=options.connections,
        rounds=options.rounds,
        seconds=options.seconds,
        soak=options.soak,
        base=options.base,
        compared=not options.no_base,
    )
    found = measure(config.load(), plan)
    if options.json:
        _output.result_json({"generator": generator, "figures": [figure.to_json() for figure in found]})
    else:
        _output.table(("figure", "measured", "budget", "verdict", "note"), figures.rows(found))
    if broken := figures.problems(found):
        _output.error("performance is outside its budget", problems=broken, hint="docs/performance.md says what to do")
        return 1
    _output.status("ok", "every figure is within its budget")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s performance --", description=(__doc__ or "").partition("\n")[0])
    count, seconds = _positive(int), _positive(float)
    parser.add_argument("--base", metavar="REVISION", help="compare with this one")
    parser.add_argument("--no-base", action="store_true", help="compare with none")
    parser.add_argument("--soak", type=seconds, default=20.0, help="seconds of load for the memory (%(default)g)")
    parser.add_argument("--rounds", type=count, default=6, help="how often each takes its turn (%(default)s)")
    parser.add_argument("--seconds", type=seconds, default=2.0, help="how long a turn takes (%(default)g)")
    parser.add_argument("--connections", type=count, default=32, help="how many ask at once (%(default)s)")
    parser.add_argument("--generator", choices=("wrk", "own"), help="what makes the load (wrk where it is installed)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _positive(kind: Callable[[str], _Number]) -> Callable[[str], _Number]:
    def read(text: str) -> _Number:
        number = kind(text)
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not above zero")
        return number

    return read


if __name__ == "__main__":
    sys.exit(_program.run(main, sys.argv[1:]))
