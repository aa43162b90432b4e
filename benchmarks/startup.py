#!/usr/bin/env python3
"""Measure what listing costs: `invoke --list` and `nox -l` here, against an empty tasks file and an empty noxfile.

    python benchmarks/startup.py [ROUNDS]

Medians of ten rounds by default. The commands take turns within each round, so that a busy machine slows all alike.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
#: The most that listing may cost beyond an empty file, in milliseconds.
ALLOWED = {"invoke --list": 60, "nox -l": 30}


def main(rounds: int) -> int:
    """Print the medians and return 1 when a difference is larger than it may be."""
    with tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch)
        (empty / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n", "utf-8")
        (empty / "noxfile.py").write_text("import nox\n\n\n@nox.session\ndef nothing(session):\n    pass\n", "utf-8")
        commands = {"invoke --list": [str(BIN / "invoke"), "--list"], "nox -l": [str(BIN / "nox"), "-l"]}
        times: dict[tuple[str, Path], list[float]] = {(name, at): [] for name in commands for at in (empty, ROOT)}
        for turn in range(rounds + 1):
            for (name, folder), found in times.items():
                elapsed = run(commands[name], folder)
                if turn:  # the first round warms the caches
                    found.append(elapsed)
    worst = 0
    for name, allowed in ALLOWED.items():
        ours, theirs = (statistics.median(times[name, folder]) for folder in (ROOT, empty))
        worst |= ours - theirs > allowed
        print(
            f"{name:<14} {ours:6.0f} ms   empty {theirs:6.0f} ms   {ours - theirs:+5.0f} ms   (at most +{allowed} ms)"
        )
    return int(worst)


def run(command: list[str], folder: Path) -> float:
    """Run a command in a folder and return how long it took, in milliseconds."""
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="?", type=int, default=10, help="how often each is measured (10)")
    sys.exit(main(parser.parse_args().runs))
