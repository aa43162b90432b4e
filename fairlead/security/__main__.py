"""The security gate's program: `python -m fairlead.security`; `--help` tells its options."""

import argparse
import concurrent.futures
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fairlead import _output, _program, build, config
from fairlead._filelock import hold_file
from fairlead._locks import LOCKS
from fairlead.exceptions import Error, InconclusiveError, LockedError
from fairlead.security import (
    actionlint,
    advisories,
    audit,
    bandit,
    children,
    detect_secrets,
    hadolint,
    kingfisher,
    licences,
    rebaseline,
    results,
    safety,
    sbom,
    schemas,
    trivy,
    zizmor,
)
from fairlead.security.judge import judge
from fairlead.security.locked import Locked, read_locked
from fairlead.security.report import Scan

#: Tools that a person's machine may lack, and CI's must not.
_REQUIRED_IN_CI: Final = frozenset({trivy.NAME})
#: What the names of the threads begin with that run the tools.
_RUNNER: Final = "security-runner"
#: Tools that run where they are asked for alone: with `--history`, and by `image.scan`.
_ELSEWHERE: Final = frozenset({kingfisher.HISTORY, trivy.IMAGE})


@dataclass(frozen=True, slots=True)
class Order:
    """What the tools look at: the project, its locks' packages, and where, or in what, advisories are looked up."""

    loaded: config.Config
    locked: dict[str, Locked]
    osv_url: str
    database: advisories.Database | None = None

    @property
    def root(self) -> Path:
        """The repository's folder."""
        return self.loaded.root


def _scan_code(order: Order) -> Scan:
    backend = order.loaded.backend
    programs = (path for path in (backend / "app", *sorted(backend.glob("*.py"))))
    return bandit.scan(order.root, ["fairlead", *(path.relative_to(order.root).as_posix() for path in programs)])


#: Every tool by its name, those that take longest first; they run side by side.
RUNNERS: Final[dict[str, Callable[[Order], Scan]]] = {
    "bandit": _scan_code,
    "detect-secrets": lambda order: detect_secrets.scan(order.root),
    "safety": lambda order: safety.scan(
        order.root, LOCKS, expected=order.locked, url=order.osv_url, database=order.database
    ),
    "pip-audit": lambda order: audit.scan(
        order.root, LOCKS, expected=order.locked, url=order.osv_url, database=order.database
    ),
    "kingfisher": lambda order: kingfisher.scan(order.root),
    "check-jsonschema": lambda order: schemas.scan(order.root),
    "zizmor": lambda order: zizmor.scan(order.root),
    "actionlint": lambda order: actionlint.scan(order.root),
    "hadolint": lambda order: hadolint.scan(order.root),
    "trivy": lambda order: trivy.scan(order.root, expected=order.locked),
    "licences": lambda order: licences.scan(order.locked, order.loaded.security),
    "sbom": lambda order: sbom.scan(order.loaded, order.loaded.state_dir / results.FOLDER),
}


def main(arguments: Sequence[str]) -> int:
    """Run every tool, say what each found and what it could not look at, and return the exit code."""
    return _program.run(_gate, arguments)


def _gate(arguments: Sequence[str]) -> int:
    flags = _parser().parse_args(arguments)
    flags.only = [name for name in RUNNERS if name in flags.only]
    loaded = config.load()
    if flags.write_baseline:
        unjudged = rebaseline.write(loaded.root, history=flags.history)
        _output.status("ok", f"the baseline of secrets is written; {unjudged} of its entries have to be judged")
        return 0
    folder = loaded.state_dir / results.FOLDER
    with hold_file(folder.with_suffix(".lock"), name="lock of the security gate", refuse=_refuse):
        results.clear(folder)
        with _ordered(loaded, flags) as order:
            runners = {name: runner for name, runner in RUNNERS.items() if name in (flags.only or RUNNERS)}
            if flags.history:
                runners[kingfisher.HISTORY] = lambda order: kingfisher.scan(order.root, history=True)
            scans = _run(order, runners)
        return _conclude(loaded, scans, flags)


def _refuse(_handle: int) -> LockedError:
    message = "another run of the security gate is at work in this tree, and each writes its report to the same place"
    return LockedError(message, hint="wait for it to end, or end it")


def _conclude(loaded: config.Config, scans: Sequence[Scan], flags: argparse.Namespace) -> int:
    """Judge the scans, say what they come to, write it down, and return the exit code."""
    judgement = judge(
        scans,
        exceptions=loaded.security.ignore,
        today=datetime.now(UTC).date(),
        required=_REQUIRED_IN_CI - set(flags.without) if loaded.in_ci else (),
        elsewhere=_ELSEWHERE,
        partial=bool(flags.only),
    )
    # Told before anything is written: a full disk is no reason to say nothing.
    results.tell(judgement)
    if flags.only:
        _output.status("note", f"nothing but {', '.join(flags.only)} was asked for: this says nothing of the rest")
    facts = build.collect(loaded.root, name=loaded.name, version=loaded.version, environ=loaded.environ)
    folder = loaded.state_dir / results.FOLDER
    try:
        results.write(folder, judgement, revision=facts.revision, dirty=facts.dirty, only=flags.only)
    except InconclusiveError as error:
        _output.report(error)
        return judgement.exit_code or error.exit_code
    return judgement.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nox -s security --", description="Scan code, locks, secrets, workflows and images; list what is shipped."
    )
    parser.add_argument("--advisories", type=Path, metavar="PATH", help="a file or folder to audit against, no network")
    parser.add_argument("--osv-url", default=audit.OSV_URL, metavar="URL", help=f"default: {audit.OSV_URL}")
    parser.add_argument("--history", action="store_true", help="look for secrets in all that was ever committed, too")
    parser.add_argument(
        "--write-baseline", action="store_true", help="write .secrets.baseline from what is found now, and stop"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=sorted(_REQUIRED_IN_CI),
        metavar="TOOL",
        help="a tool that this machine cannot have, which fails under CI unless it is named here",
    )
    parser.add_argument(
        "--only", action="append", default=[], choices=sorted(RUNNERS), metavar="TOOL", help="run that tool alone"
    )
    return parser


@contextlib.contextmanager
def _ordered(loaded: config.Config, flags: argparse.Namespace) -> Iterator[Order]:
    locked = read_locked(loaded.root)
    if flags.advisories is None:
        yield Order(loaded, locked, flags.osv_url)
        return
    database = advisories.load(flags.advisories)
    _output.status("note", f"auditing against the {len(database)} advisories in {flags.advisories}")
    with advisories.serve(database) as url:
        yield Order(loaded, locked, url, database)


def _run(order: Order, runners: Mapping[str, Callable[[Order], Scan]]) -> list[Scan]:
    """Run the tools side by side, as many as there are cores, and tell of each that passes as it ends."""
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix=_RUNNER)
    try:
        running = [pool.submit(_scan, name, runner, order) for name, runner in runners.items()]
        left = set(running)
        while left:
            # Never for long: a Ctrl-C that comes just before a wait begins is seen when it ends.
            ended, left = concurrent.futures.wait(left, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED)
            for scan in (future.result() for future in ended):
                if scan.passed:
                    _output.status("ok", f"{scan.tool}: {scan.looked_at}, nothing found")
        return [future.result() for future in running]
    except BaseException:
        # By their names: the pool does not know of a thread in whose start it was broken off.
        pool.shutdown(wait=False, cancel_futures=True)
        children.end(threads=_RUNNER)
        raise
    finally:
        pool.shutdown()


def _scan(name: str, runner: Callable[[Order], Scan], order: Order) -> Scan:
    """Run one tool; a runner that fails has not looked, and says nothing of the others."""
    try:
        return runner(order)
    except Error as error:
        return Scan(name, "nothing", gaps=(error.message,))
    except OSError as error:
        return Scan(name, "nothing", gaps=(str(error),))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other tools are to be heard
        _output.trace(error)
        return Scan(name, "nothing", gaps=(f"its runner failed: {type(error).__name__}: {error}",))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
