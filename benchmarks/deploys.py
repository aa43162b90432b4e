#!/usr/bin/env python3
"""Measure deploys, rollbacks and watches on a local platform, each act a process, under a steady load.

    python benchmarks/deploys.py [--backend] [--runs 3] [--quick]

A tiny shop of the standard library is deployed again and again; with --backend this repository's own backend besides.
`confirmed` is the time from the moment a release listens until `deploy` says that it serves. A watched release is
asked by a load that the one before has answered for as long as the judge needs: counted is what the bad release
answered in all: before the watch, in it, and until the one before served again. --quick leaves the watches out.
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.open_load import Load, start_load  # noqa: E402 - the checkout is on the path only now
from benchmarks.projects import Project, copy_backend, make_shop, run  # noqa: E402

#: Seconds: the whole process of a rollback, and from a release that listens to the word that it serves.
ROLLBACK, CONFIRMED = 2.0, 1.0
#: Requests that a bad release may answer besides those of one interval, where 5 % fail; and where 1 % instead of 0.2 %.
BAD, WORSE = 500, 5_000
#: What the release before must have answered for that, and the seconds of an interval of a local watch.
BEFORE_BAD, BEFORE_WORSE, INTERVAL = 4_000, 10_000, 1
RATES = (300, 100)


@dataclass
class Table:
    """The figures, printed as they come; `missed` counts those that are beyond their limit."""

    missed: int = 0

    def title(self, text: str) -> None:
        """Begin a part."""
        print(f"\n{text}", flush=True)

    def seconds(self, name: str, values: Sequence[float], *, limit: float | None = None) -> None:
        """Print the median and the span of some times; the longest must not be beyond the limit."""
        spread = f"{statistics.median(values):8.3f} s   {min(values):.3f} to {max(values):.3f} s of {len(values)}"
        self.line(name, spread, None if limit is None else max(values) <= limit, f"at most {limit} s")

    def count(self, name: str, value: int, *, limit: int, detail: str = "") -> None:
        """Print a count that must not be beyond its limit."""
        self.line(name, f"{value:8}     {detail}", value <= limit, f"at most {limit}")

    def line(self, name: str, figure: str, met: bool | None = None, limit: str = "") -> None:
        """Print a line; `met` says whether it is within its limit, None that it has none."""
        self.missed += met is False
        verdict = "" if met is None else f"   {limit}: {'met' if met else 'MISSED'}"
        print(f"  {name:<34} {figure:<40}{verdict}", flush=True)


def measure_acts(project: Project, table: Table, *, runs: int) -> str:
    """Time deploys and rollbacks of a project; return its public URL."""
    project.change()
    first = project.deploy().expect(0)
    table.seconds("first deploy", [first.seconds])
    deploys, confirmed, steps, unchanged = [], [], [], []
    for _ in range(runs + 1):
        label = project.change()
        done = project.deploy().expect(0)
        steps.append(json.loads(done.stdout)["steps"])
        deploys.append(done.seconds)
        confirmed.append(done.said_at - (project.listening_since(label) or project.logged_since()))
        unchanged.append(project.deploy().expect(0).seconds)
    table.seconds("deploy of a change", deploys)
    for name in steps[0]:
        table.seconds(f"  {name}", [one[name] for one in steps])
    told = [sum(one.values()) for one in steps]
    table.seconds("  start, end and what is between", [whole - sum_ for whole, sum_ in zip(deploys, told, strict=True)])
    table.seconds("confirmed after it listens", confirmed, limit=CONFIRMED)
    table.seconds("deploy of no change", unchanged)
    last = int(json.loads(first.stdout)["release"]["number"]) + runs + 1
    warm = [project.act("rollback", str(last - 1 + turn % 2), "--quiet").expect(0).seconds for turn in range(runs)]
    table.seconds("rollback, warm: a pointer swap", warm, limit=ROLLBACK)
    cold = [project.act("rollback", str(last - 2), "--quiet").expect(0).seconds]
    table.seconds("rollback, cold: started anew", cold)
    table.seconds("releases", [project.act("releases").expect(0).seconds for _ in range(runs)])
    return str(json.loads(first.stdout)["url"])


def measure_listing(table: Table, *, runs: int) -> None:
    """Time `invoke --list` in this repository."""
    invoke = Path(sys.executable).parent / "invoke"
    if invoke.exists():
        table.seconds("invoke --list", [run([str(invoke), "--list"], ROOT).expect(0).seconds for _ in range(runs)])


def swap_under_load(project: Project, table: Table, url: str, *, rate: float, path: str, runs: int) -> None:
    """Deploy and roll back under load; not one request may fail."""
    with start_load(url, rate, path=path) as load:
        load.wait_for(int(rate))
        number = 0
        for _ in range(runs):
            project.change()
            number = json.loads(project.deploy().expect(0).stdout)["release"]["number"]
            project.act("rollback", str(number - 1), "--quiet").expect(0)
            project.act("rollback", str(number), "--quiet").expect(0)
        load.wait_for(int(rate))
    _tell_failures(table, f"failed in {runs} deploys, {2 * runs} rollbacks", load)


def try_canaries(project: Project, table: Table, url: str, *, rate: float) -> None:
    """Let one canary take over and withdraw a bad one, under load; not one request may fail that was not meant to."""
    with start_load(url, rate) as load:
        load.wait_for(int(rate))
        project.change()
        good = project.deploy("--canary", "50", "--watch", "12")
        load.wait_for(int(rate))
        label = project.change(bad=0.05)
        bad = project.deploy("--canary", "20", "--watch", "60")
        load.wait_for(int(rate))
    table.line("a good canary of 50 %", f"exit code {good.code}", good.code == 0, "takes over, 0")
    table.line("a canary of 20 % with 5 % errors", f"exit code {bad.code}", bad.code == 13, "withdrawn, 13")
    answered = f"{load.answers[label]} requests, {load.planted[label]} of them failed"
    table.line("  it answered", answered)
    _tell_failures(table, "failed besides", load)


def _tell_failures(table: Table, name: str, load: Load) -> None:
    detail = f"of {load.requests} requests, half over new connections"
    table.count(name, load.failures.total(), limit=0, detail=detail)
    for kind, count in load.failures.most_common(5):
        print(f"    {count:6} {kind}")
    if load.left_out:
        print(f"    {load.left_out:6} more were not made: too many had no answer yet")


def watch_releases(project: Project, table: Table, url: str, *, rate: int, runs: int) -> None:
    """Watch good releases and bad ones of 5 % errors in turn."""
    verdicts: Counter[int] = Counter()
    with start_load(url, rate) as load:
        for turn in range(runs):
            load.wait_for(BEFORE_BAD)
            good = project.change()
            watched = project.deploy("--watch", "12").expect(0, 5, 13)
            verdicts[watched.code] += 1
            if watched.code:
                print(f"    {watched.error}", flush=True)
            if (left := BEFORE_BAD - load.answers[good]) > 0:
                load.wait_for(left)
            _watch_bad(project, table, load, f"{rate}/s: 5 % of it failed, {turn + 1}", bad=0.05, limit=BAD)
        # What the release before answered until it was replaced is still known, though it came back by a rollback.
        _watch_bad(project, table, load, f"{rate}/s: 5 %, right after a rollback", bad=0.05, limit=BAD)
    told = f"{verdicts[0]} confirmed, {verdicts[5]} held, {verdicts[13]} rolled back of {runs}"
    table.line(f"{rate}/s: a good release, watched 12 s", told, not verdicts[13], "none rolled back")
    _tell_failures(table, f"{rate}/s: failed besides", load)


def watch_bad_release(project: Project, table: Table, url: str, *, rate: int) -> None:
    """Watch a release of which 5 % fails where nothing did."""
    with start_load(url, rate) as load:
        before = project.change()
        project.deploy().expect(0)
        load.wait_for(BEFORE_BAD, of=before)
        _watch_bad(project, table, load, f"{rate}/s: 5 % of it failed", bad=0.05, limit=BAD)


def watch_worse_release(project: Project, table: Table, url: str, *, rate: int) -> None:
    """Watch a release of which 1 % fails where 0.2 % did."""
    with start_load(url, rate) as load:
        before = project.change(bad=0.002)
        project.deploy().expect(0)
        load.wait_for(BEFORE_WORSE, of=before)
        _watch_bad(project, table, load, f"{rate}/s: 1 % failed, not 0.2 %", bad=0.01, limit=WORSE)


def _watch_bad(project: Project, table: Table, load: Load, name: str, *, bad: float, limit: int) -> None:
    label = project.change(bad=bad)
    began = time.monotonic()
    done = project.deploy("--watch", "60").expect(0, 5, 13)
    took = time.monotonic() - began
    answered, failed = load.answers[label], load.planted[label]
    if done.code == 13:
        most = limit + int(load.rate * INTERVAL)
        table.count(name, answered, limit=most, detail=f"requests, {failed} failed, {took:.1f} s in all")
    else:
        table.line(name, f"exit code {done.code} after {answered} requests, {failed} failed", False, "rolled back, 13")


def main(runs: int, *, backend: bool, quick: bool) -> int:
    """Print the figures and return 1 when one is beyond its limit."""
    table = Table()
    with make_shop() as shop:
        table.title("the tiny shop")
        url = measure_acts(shop, table, runs=runs)
        measure_listing(table, runs=runs)
        table.title("under load")
        swap_under_load(shop, table, url, rate=RATES[0], path="/", runs=runs)
        try_canaries(shop, table, url, rate=RATES[0])
        if not quick:
            table.title("watched")
            watch_releases(shop, table, url, rate=RATES[0], runs=runs)
            watch_bad_release(shop, table, url, rate=RATES[1])
            watch_worse_release(shop, table, url, rate=RATES[0])
    if backend:
        with copy_backend() as project:
            table.title("this repository's backend")
            url = measure_acts(project, table, runs=runs)
            swap_under_load(project, table, url, rate=RATES[1], path="/api/health", runs=1)
    return int(bool(table.missed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--backend", action="store_true", help="measure this repository's own backend besides")
    parser.add_argument("--quick", action="store_true", help="leave the watches out, which take minutes")
    given = parser.parse_args()
    sys.exit(main(given.runs, backend=given.backend, quick=given.quick))
