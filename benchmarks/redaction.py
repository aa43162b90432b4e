#!/usr/bin/env python3
"""Measure what masking costs: a log of so many megabytes, and one of twice the length, with secrets registered.

    python benchmarks/redaction.py [MEGABYTES]

The longer log may take at most three times as long: more would say that masking looks at texts again and again.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairlead._redaction import Redactor

ROUNDS = 5
#: How many times as long a log of twice the length may take.
ALLOWED = 3.0
LINE = "2026-01-01T12:00:00Z INFO app.request: GET /api/things?page={0} 200 in {0} ms, token count {0}, id {1}\n"


def main(megabytes: float) -> int:
    """Print the best of some rounds and return 1 when the longer log takes too long for its length."""
    worst = 0
    for count in (0, 10, 50):
        redactor = Redactor()
        known = [secrets.token_urlsafe(24) for _ in range(count)]
        for secret in known:
            redactor.register(secret)
        log = make_log(int(megabytes * 1e6), known)
        redactor("what is searched for is worked out once")
        short, long = (min(run(redactor, text) for _ in range(ROUNDS)) for text in (log, log + log))
        ratio = long / short
        worst |= ratio > ALLOWED
        print(
            f"{count:>3} secrets   {short:6.2f} s   twice the length {long:6.2f} s   x{ratio:.2f} (at most x{ALLOWED})"
        )
    return int(worst)


def make_log(length: int, known: list[str]) -> str:
    """Make a log of so many bytes, in which each secret stands now and then."""
    lines, size = list[str](), 0
    while size < length:
        number = len(lines)
        told = known[number % len(known)] if known and number % 100 == 0 else f"{number:032x}"
        lines.append(LINE.format(number, told))
        size += len(lines[-1])
    return "".join(lines)


def run(redactor: Redactor, text: str) -> float:
    """Mask a text and return how long it took, in seconds."""
    start = time.perf_counter()
    redactor(text)
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("megabytes", nargs="?", type=float, default=2, help="how long the shorter log is (2)")
    sys.exit(main(parser.parse_args().megabytes))
