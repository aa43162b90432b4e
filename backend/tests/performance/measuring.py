"""The measurements, one after another, on one embedded PostgreSQL: what becomes a figure, and with which budget."""

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from backend.tests.performance import world
from fairlead import _output
from fairlead.config import Config
from fairlead.exceptions import InconclusiveError
from fairlead.gates._history import merged_into
from fairlead.gates.performance import base, load, processes, rounds, serving
from fairlead.gates.performance.figures import Figure
from fairlead.gates.performance.statistics import Estimate, compare_pairs, growth, percentile
from fairlead.postgres import Server, temporary_server

#: How many turns long the steady rate is kept; and the longest that a subject is warmed up, in seconds.
_STEADY_TURNS, _WARM_UP = 3, 1.0
#: What memory may grow by over the second half of the soak and still count as flat: this part of it, or so many MB.
_FLAT_PART, _FLAT_MEGABYTES = 0.02, 1.0
_MOST_CONNECTIONS = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: times are in seconds; `base` names the revision to compare with, where not the usual."""

    generator: load.Generator
    connections: int
    rounds: int
    seconds: float
    soak: float
    base: str | None = None
    compared: bool = True


@dataclass
class Measuring:
    """One run: what is needed throughout it, and the figures that it has come to."""

    loaded: Config
    plan: Plan
    server: Server
    folder: Path
    cores: processes.Cores
    stack: contextlib.ExitStack
    figures: list[Figure] = field(default_factory=list)
    stage: str = ""
    requests: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def serve(self, application: serving.Application) -> serving.Service:
        """Serve an application until the end of the run."""
        return self.stack.enter_context(serving.serve(application, logs=self.folder, cores=self.cores.served))

    def ask(self, target: load.Target, *, seconds: float | None = None) -> load.Load:
        """Put the plan's load on a target."""
        plan = self.plan
        found = load.load_closed(
            target, generator=plan.generator, connections=plan.connections, seconds=seconds or plan.seconds
        )
        return self.count(found)

    def ask_steadily(self, target: load.Target) -> load.Load:
        """Ask for a target at the rate that the budgets name."""
        found = load.load_steadily(
            target,
            connections=self.plan.connections,
            seconds=self.plan.seconds * _STEADY_TURNS,
            rate=self.loaded.performance.cpu_rate,
        )
        return self.count(found)

    def count(self, found: load.Load) -> load.Load:
        """Count a load's failures, whatever it is for: what fails is cheap and quick, and proves nothing."""
        self.requests += found.requests
        if found.failures:
            self.failures[self.stage] = self.failures.get(self.stage, 0) + found.failures
        return found

    def begin(self, stage: str) -> None:
        """Say what is measured next."""
        self.stage = stage
        _output.status("note", stage)

    def warm_up(self, target: load.Target) -> None:
        """Have the connections opened, the statements prepared and the caches filled before anything counts."""
        world.fetch_once(target)
        self.ask(target, seconds=min(_WARM_UP, self.plan.seconds))

    def turn(self, subject: rounds.Subject) -> rounds.Round:
        """Measure one turn of a subject."""
        return rounds.measure_turn(subject, self.ask, processes.cpu_seconds)

    def add(self, name: str, value: float | None, unit: str, budget: float | None = None, *, note: str = "") -> None:
        """Add a figure that may be at most its budget."""
        self.figures.append(Figure(name, value, unit, budget, note=note))


def measure(loaded: Config, plan: Plan) -> list[Figure]:
    """Measure the backend of the working tree; return every figure with its budget."""
    # Whatever cannot be compared is said before two minutes are spent.
    compared = _choose_base(loaded, plan)
    cores = processes.divide_cores(processes.available_cores())
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlead-performance-")))
        stack.enter_context(processes.confined(cores.others))
        server = stack.enter_context(temporary_server())
        run = Measuring(loaded, plan, server, folder, cores, stack)
        other = _unpack_base(run, compared) if compared.commit else None
        tree = world.prepare_tree(server, "ours", loaded.root, Path(sys.executable))
        service = run.serve(tree.application("ours"))
        hot = rounds.Subject(tree.target(service, world.HOT), service.pid)
        statement = _measure_queries(run, tree)
        _measure_answers(run, tree, hot, service, statement)
        _measure_cpu(run, hot)
        if other is not None:
            _compare(run, hot, other, compared)
        elif plan.compared:
            run.add("CPU for an answer, against the base", None, "", note=compared.reason)
        _soak(run, hot)
        _judge_failures(run)
        return run.figures


def _choose_base(loaded: Config, plan: Plan) -> base.Base:
    if not plan.compared:
        return base.Base(None)
    return base.choose_base(loaded.root, paths=world.SERVED, branches=merged_into(loaded), wanted=plan.base)


def _unpack_base(run: Measuring, chosen: base.Base) -> world.Tree:
    commit = chosen.commit or ""
    _output.status("note", f"preparing the base, {chosen.short}")
    target = run.folder / "base"
    base.unpack(run.loaded.root, commit, paths=("backend", "pyproject.toml"), target=target)
    python = base.provide_python(
        target / "backend" / "requirements.txt",
        ours=run.loaded.backend / "requirements.txt",
        cache=run.loaded.state_dir / "performance",
    )
    return world.prepare_tree(run.server, "base", target, python)


def _measure_queries(run: Measuring, tree: world.Tree) -> dict[str, object]:
    """Measure the hot route's queries as the application sees them; return the statement that reads its row."""
    run.begin(f"queries of {world.HOT}, as the application sees them")
    service = run.serve(tree.observed())
    target = tree.target(service, world.HOT)
    run.warm_up(target)
    world.fetch_queries(service)
    run.ask(target)
    times = world.fetch_queries(service)["times"]
    # What the load left behind is answered before the first of these.
    for _ in range(2):
        world.fetch_queries(service)
        world.fetch_once(target)
    alone = world.fetch_queries(service)
    if not times or not alone["sql"]:
        raise InconclusiveError("the queries could not be measured: none was seen", hint="see observed.py")
    note = f"under the same load; an answer takes {len(alone['times'])} of them"
    run.add("query p95", percentile(times, 95), "ms", run.loaded.performance.query_p95, note=note)
    return alone | {"times": None}


def _measure_answers(
    run: Measuring, tree: world.Tree, hot: rounds.Subject, service: serving.Service, statement: dict[str, object]
) -> None:
    """Measure the API's times, and the hot route against the bare one."""
    plan, budgets = run.plan, run.loaded.performance
    opened = min(max(world.count_connections(tree), 1), _MOST_CONNECTIONS)
    bare = run.serve(world.bare_application(tree, statement, connections=opened))
    subjects = {
        "hot": hot,
        "bare": rounds.Subject(load.Target(f"{bare.url}/row"), bare.pid),
        "health": rounds.Subject(load.Target(service.url + world.HEALTH), service.pid),
    }
    run.begin(f"{plan.rounds} rounds of {', '.join(subjects)}")
    for subject in subjects.values():
        run.warm_up(subject.target)
    found = rounds.take_turns(subjects, run.turn, rounds=plan.rounds)
    for name, path in (("health", world.HEALTH), ("hot", world.HOT)):
        p95, rate, cpu = (rounds.median_of(found[name], value) for value in _VALUES)
        note = f"{rate:.0f} requests/s, {cpu:.2f} ms of CPU each"
        run.add(f"{path} p95", p95, "ms", budgets.api_p95, note=note)
    share = compare_pairs(*([one.load.rate for one in found[name]] for name in ("hot", "bare")))
    rate = rounds.median_of(found["bare"], lambda one: one.load.rate)
    note = f"{_interval(share, lambda times: times * 100)}; the bare route has {rate:.0f} requests/s"
    name = f"{world.HOT} against a bare route"
    run.figures.append(Figure(name, share.median * 100, "%", budgets.share, "at least", note))


_VALUES: tuple[Callable[[rounds.Round], float], ...] = (
    lambda one: one.load.p95,
    lambda one: one.load.rate,
    lambda one: one.cpu,
)


def _measure_cpu(run: Measuring, hot: rounds.Subject) -> None:
    """Measure the share of a core that the hot route takes at a steady rate."""
    budgets = run.loaded.performance
    run.begin(f"{budgets.cpu_rate} requests a second")
    found = rounds.measure_turn(hot, run.ask_steadily, processes.cpu_seconds)
    taken = found.cpu * found.load.requests / 1000 / found.load.seconds
    note = f"of one core; p95 {found.load.p95:.1f} ms, counted from when a request was due"
    run.add(f"CPU at {budgets.cpu_rate} requests/s", taken * 100, "%", budgets.cpu, note=note)


def _compare(run: Measuring, hot: rounds.Subject, other: world.Tree, chosen: base.Base) -> None:
    """Compare the processor time of an answer with the base's, in turns."""
    limit, plan = run.loaded.performance.regression, run.plan
    service = run.serve(other.application("base"))
    subjects = {"ours": hot, "base": rounds.Subject(other.target(service, world.HOT), service.pid)}
    run.begin(f"against {chosen.short}, in turns")
    run.warm_up(subjects["base"].target)
    estimate, taken = rounds.compare_turns(
        subjects, run.turn, rounds=plan.rounds, most=plan.rounds * 3, limit=1 + limit / 100
    )
    note = f"{_interval(estimate, _more)} in {taken} rounds"
    run.add(f"CPU for an answer, against {chosen.short}", _more(estimate.median), "%", limit, note=note)


def _soak(run: Measuring, hot: rounds.Subject) -> None:
    """Put load on the service for longer, and see what memory it takes, and whether that stays what it is."""
    seconds, budgets = run.plan.soak, run.loaded.performance
    run.begin(f"{seconds:g} s of load, for the memory")
    with processes.watch_memory(hot.pid) as watch:
        found = run.ask(hot.target, seconds=seconds)
    taken = [megabytes for _, megabytes in watch.samples]
    run.add("memory", max(taken), "MB", budgets.memory, note=f"the most of {len(taken)} samples")
    note = f"after {_output.duration(seconds)} of load, {found.requests} answers"
    run.add("memory after the soak", taken[-1], "MB", budgets.memory_after, note=note)
    flat = max(_FLAT_MEGABYTES, statistics.median(taken) * _FLAT_PART)
    note = "over the second half of that load"
    run.add("growth of memory", growth(watch.samples), "MB", flat, note=note)


def _judge_failures(run: Measuring) -> None:
    """Add how many answers of all the loads were none or errors, and in which of them."""
    note = "; ".join(f"{stage}: {count}" for stage, count in run.failures.items()) or f"of {run.requests} requests"
    run.add("answers that were none, or errors", sum(run.failures.values()), "", 0, note=note)


def _more(times: float) -> float:
    return (times - 1) * 100


def _interval(estimate: Estimate, shown: Callable[[float], float]) -> str:
    return f"{shown(estimate.low):.0f} to {shown(estimate.high):.0f} %"
