"""The Alembic engine: the acts of `Migrator` over a project's own Alembic, run in its own environment and folder."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from fairlead._output import redact
from fairlead.exceptions import CommandError, MigrationError
from fairlead.migrations._alembic_process import AlembicProcess, Ended, Line
from fairlead.migrations._alembic_revisions import Revisions, Teller, read_revisions
from fairlead.migrations.failures import describe_blockers
from fairlead.migrations.files import Migration
from fairlead.migrations.lock import hold_lock
from fairlead.migrations.runner import Progress
from fairlead.migrations.table import Status
from fairlead.migrations.url import connect, normalise_url

_TAIL: Final = 30
#: How long, in seconds, after a lock that was not free.
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 8.0
#: What every driver calls the error of a lock that was not free in time.
_NO_LOCK: Final = "LockNotAvailable"
#: What SQLAlchemy adds to each error.
_BACKGROUND: Final = re.compile(r"\n\(Background on this error at: \S+\)")


class AlembicEngine:
    """A project's Alembic and the database at `url`, which its env.py is given in `url_env` and `sqlalchemy.url`.

    `directory` holds alembic.ini, and `python` is the interpreter that has the project's Alembic. `heads` and `check`
    are `off`, `warning` or `error`. The times are in seconds; the time-outs are set in each session that SQLAlchemy
    opens, and not for what runs in an `autocommit_block`. `on_output` is told what Alembic printed, redacted. Within a
    `with` block all commands run in one process of the project's.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        *,
        python: Path | None = None,
        url_env: str = "DATABASE_URL",
        heads: str = "error",
        check: str = "warning",
        lock_wait: float = 30.0,
        lock_timeout: float | None = 2.0,
        statement_timeout: float | None = None,
        lock_retry: float = 60.0,
        on_output: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._url = url
        self._python = python or Path(sys.executable)
        self._url_env = url_env
        self._heads = heads
        self._check = check
        self._lock_wait = lock_wait
        self._lock_timeout = lock_timeout
        self._statement_timeout = statement_timeout
        self._lock_retry = lock_retry
        self._sleep = sleep
        self._on_output = on_output
        self._process: AlembicProcess | None = None

    def status(self) -> tuple[Status, ...]:
        """Return where every revision stands, those in the database without a file among them; nothing is changed."""
        facts = self._facts()
        applied = facts.line_of(facts.current)
        unknown = applied - set(facts.parents)
        known = [
            Status(m.version, m.name, "applied" if m.version in applied else "pending", m.down_file is not None)
            for m in facts.migrations
        ]
        return (*known, *(Status(version, "", "missing", False) for version in sorted(unknown)))

    def plan(self, *, to: str | None = None) -> tuple[Migration, ...]:
        """Return what `apply` would run, in order; nothing is changed. Raises as `apply` does."""
        return self._plan(self._facts(), to)

    def apply(self, *, to: str | None = None, on_progress: Progress | None = None) -> tuple[Migration, ...]:
        """Apply what is pending, up to and with revision `to`, in one run of Alembic; return what was applied.

        `on_progress` is told of each revision when it begins and when it is done, and of a lock that was not free,
        after which Alembic runs again. Raises `MigrationError` for several heads where they are an error, for a
        revision of the database that has no file, and when a revision fails: what stays is as env.py has its
        transactions, and status tells.
        """
        with self._alone():
            facts = self._facts()
            planned = self._plan(facts, to)
            if planned:
                target = facts.find(to).version if to else "heads"
                self._perform("apply", ["upgrade", target], planned, on_progress)
        return planned

    def plan_revert(self, *, steps: int | None = None, to: str | None = None) -> tuple[Migration, ...]:
        """Return what `revert` would undo, the newest first; nothing is changed. Raises as `revert` does."""
        return self._plan_revert(self._facts(), steps, to)

    def revert(
        self, *, steps: int | None = None, to: str | None = None, on_progress: Progress | None = None
    ) -> tuple[Migration, ...]:
        """Undo the last `steps` revisions (1), or all above revision `to` ("0": every one); return what was undone."""
        with self._alone():
            facts = self._facts()
            planned = self._plan_revert(facts, steps, to)
            if planned:
                self._perform("revert", ["downgrade", facts.below(planned, to)], planned, on_progress)
        return planned

    def baseline(self, version: str) -> tuple[Migration, ...]:
        """Record everything up to revision `version` as applied, without running it; return what was recorded."""
        with self._alone():
            facts = self._facts()
            chosen = facts.find(version)
            recorded = facts.line_of([chosen.version]) - facts.line_of(facts.current)
            if recorded:
                self._run(["stamp", chosen.version])
        return tuple(m for m in facts.migrations if m.version in recorded)

    def new(self, slug: str, *, autogenerate: bool = True) -> tuple[Path, ...]:
        """Make the next revision, filled from the models with `autogenerate`, and return its file."""
        command = ["revision", "-m", slug]
        done = self._run([*command, "--autogenerate"] if autogenerate else command)
        return tuple(Path(line["made"]) for line in done.report if "made" in line)

    def warnings(self) -> tuple[str, ...]:
        """Return what is amiss short of an error: several heads, and models that differ from the database.

        Raises `MigrationError` where the configuration makes an error of it.
        """
        found = []
        with self._started():
            facts = self._facts()
            # What is pending is no difference between models and database: Alembic itself refuses to look.
            looks = self._check != "off" and not facts.pending(None)
            code, said = self._check_models() if looks else (0, "")
        if len(facts.heads) > 1 and self._heads != "off":
            found.append(self._refuse_heads(facts))
        if code != 0 and "does not provide a MetaData object" in said:
            found.append("alembic check was not run: target_metadata of env.py is None")
        elif code != 0 and self._check == "error":
            raise MigrationError(f"alembic check failed: {said}", hint="make a revision: invoke migrations.new SLUG")
        elif code != 0:
            found.append(f"alembic check failed: {said}")
        return tuple(found)

    def _refuse_heads(self, facts: Revisions) -> str:
        told = f"there are {len(facts.heads)} heads: {', '.join(facts.heads)}"
        if self._heads == "error":
            raise MigrationError(told, hint="merge them with: alembic merge heads")
        return told

    def _check_models(self) -> tuple[int, str]:
        done = self._run(["check"], check=False)
        failed = [line for line in done.output.splitlines() if "FAILED:" in line]
        return done.code, redact(failed[-1].partition("FAILED:")[2].strip() if failed else _last_lines(done))

    def _plan(self, facts: Revisions, to: str | None) -> tuple[Migration, ...]:
        self._refuse_missing(facts)
        if len(facts.heads) > 1 and self._heads == "error":
            self._refuse_heads(facts)
        return facts.pending(to)

    def _plan_revert(self, facts: Revisions, steps: int | None, to: str | None) -> tuple[Migration, ...]:
        self._refuse_missing(facts)
        return facts.above(steps, to)

    def _refuse_missing(self, facts: Revisions) -> None:
        if unknown := [revision for revision in facts.current if revision not in facts.parents]:
            raise MigrationError(
                f"the database has revision {', '.join(unknown)}, which no file in {self._directory} makes",
                hint="bring the file back, or use the release that has it",
            )

    def _perform(
        self,
        action: Literal["apply", "revert"],
        command: Sequence[str],
        planned: Sequence[Migration],
        on_progress: Progress | None,
    ) -> None:
        began, pause = time.monotonic(), _FIRST_PAUSE
        teller = Teller(action, planned, on_progress)
        while True:
            done = self._run(command, check=False, on_line=teller.hear)
            if done.code == 0:
                break
            again = teller.running is not None and not teller.outside and _NO_LOCK in done.output
            if not again or time.monotonic() + pause - began > self._lock_retry:
                raise self._failed(command, teller, done)
            teller.wait(pause)
            self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if missed := [m.label for m in planned if m.version not in teller.ran]:
            raise MigrationError(
                f"alembic {command[0]} ended well, and did not run {', '.join(missed)}:\n{_last_lines(done)}",
                hint="see why env.py runs no migrations for this command",
            )

    def _failed(self, command: Sequence[str], teller: Teller, done: Ended) -> MigrationError:
        failed = teller.running
        hint = "mend it; invoke migrations.status tells what stays applied"
        lines = [f"alembic {command[0]} fails:", _last_lines(done)]
        if failed:
            told = next((line for line in done.report if "failed" in line), None)
            places = [f":{line}" for file, line in (told or {}).get("frames", ()) if file == failed.file.name]
            lines[0] = f"{failed.label} ({failed.file}{places[-1] if places else ''}) fails:"
            if told is not None and places:
                lines[1] = redact(_BACKGROUND.sub("", told["failed"]).rstrip())
        if failed and teller.outside:
            lines.append("  it ran outside a transaction: what it did before this is kept, and would run again")
        if failed and _NO_LOCK in done.output:
            with connect(self._url) as connection:
                blockers = describe_blockers(connection, failed.file.read_text("utf-8"), [])
            lines.append(f"  a lock was not free within {self._lock_timeout or 0:g} s: {blockers}")
            hint = "end that session's transaction, or run this again when it is done"
        return MigrationError("\n".join(lines), hint=hint)

    def _facts(self) -> Revisions:
        report = self._run(["facts"]).report
        script = next(line for line in report if "script" in line)
        found = next((line for line in report if "database" in line), None)
        if found is None:
            raise MigrationError("env.py ran no migrations", hint="it should call context.run_migrations()")
        with connect(self._url) as connection:
            ours = connection.execute(
                "SELECT pg_catalog.current_database(),"
                " CAST(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) AS text)"
            ).fetchone()
        hint = f"have it read {self._url_env} or sqlalchemy.url, or set alembic-url-env to what it reads"
        if ours is not None and found["database"] != ours[0]:
            told = f"env.py connects to the database {found['database']} instead of {ours[0]}: nothing was changed"
            raise MigrationError(told, hint=hint)
        if ours is not None and found["started"] != ours[1]:
            told = f"env.py connects to a database {ours[0]} on another server: nothing was changed"
            raise MigrationError(told, hint=hint)
        return read_revisions(script, found["current"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with connect(self._url) as connection, hold_lock(connection, wait=self._lock_wait), self._started():
            yield

    def _run(
        self, command: Sequence[str], *, check: bool = True, on_line: Callable[[Line], None] | None = None
    ) -> Ended:
        """Run a command of Alembic's, or our own, in the project's environment."""
        configured = any((self._directory / name).is_file() for name in ("alembic.ini", "pyproject.toml"))
        if not configured:
            raise MigrationError(
                f"there is no alembic.ini in {self._directory}",
                hint="set directory in [tool.fairlead.migrations] to the folder that holds it",
            )
        with self._started() as process:
            try:
                done = process.run(command, on_line=on_line)
            except CommandError as error:
                raise MigrationError(error.message, hint="set alembic-python in [tool.fairlead.migrations]") from None
        if self._on_output is not None and done.output:
            self._on_output(redact(done.output))
        self._refuse_unusable(done.report)
        if check and done.code != 0:
            raise MigrationError(
                f"alembic {command[0]} ended with exit code {done.code}:\n{_last_lines(done)}",
                hint="mend what its last line names",
            )
        return done

    @contextmanager
    def _started(self) -> Iterator[AlembicProcess]:
        """Give the process that commands run in: the one of the `with` block around, or one for this block alone."""
        if self._process is not None:
            yield self._process
            return
        with AlembicProcess(self._python, self._directory.resolve(), self._environment()) as process:
            self._process = process
            try:
                yield process
            finally:
                self._process = None

    def __enter__(self) -> Self:
        self._until_exit = ExitStack()
        self._until_exit.enter_context(self._started())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._until_exit.close()

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        # What SQLAlchemy is given is a URL; the driver that ours names is kept.
        address = normalise_url(self._url)
        if "://" not in address:
            raise MigrationError("Alembic needs the database's address as a URL", hint="postgresql://user@host/name")
        named = re.match(r"\s*[\"']?[a-z]+(\+\w+)://", self._url)
        address = address.replace("://", f"{named[1] if named else ''}://", 1)
        environment["FAIRLEAD_ALEMBIC_URL"] = environment[self._url_env] = address
        environment["FAIRLEAD_ALEMBIC_URL_ENV"] = self._url_env
        limits = {"lock_timeout": self._lock_timeout, "statement_timeout": self._statement_timeout}
        environment["FAIRLEAD_ALEMBIC_LIMITS"] = json.dumps(
            {name: max(round(seconds * 1000), 1) for name, seconds in limits.items() if seconds is not None}
        )
        environment["FAIRLEAD_ALEMBIC_PARENT"] = str(os.getpid())
        return environment

    def _refuse_unusable(self, report: Sequence[Line]) -> None:
        for line in report:
            if "unusable" in line:
                raise MigrationError(
                    f"{self._python} cannot import alembic: {line['unusable']}",
                    hint="install alembic>=1.20 there, or set alembic-python in [tool.fairlead.migrations]",
                )
            if "too_old" in line:
                raise MigrationError(
                    f"alembic {line['too_old']} is too old: 1.20 or newer is needed",
                    hint=f"{self._python} -m pip install 'alembic>=1.20'",
                )


def _last_lines(done: Ended) -> str:
    return redact("\n".join(done.output.strip().splitlines()[-_TAIL:])) or "it said nothing"
