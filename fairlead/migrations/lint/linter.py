"""Looks at each pending migration from every side, and leaves out what its file excuses."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead.exceptions import MigrationError
from fairlead.migrations.conventions import order_of, read_role
from fairlead.migrations.files import Migration
from fairlead.migrations.lint.findings import WARNINGS, Finding, Level, Report
from fairlead.migrations.lint.marks import find_excuses
from fairlead.migrations.lint.rules import HINTS, Match, judge_changes, judge_remarks, judge_step, offset_of
from fairlead.migrations.lint.squawk import Remark, find_remarks
from fairlead.migrations.lint.surface import Surface, take_surface
from fairlead.migrations.lint.trial import Step, Trial, tables_of, try_statements
from fairlead.migrations.runner import Migrator
from fairlead.migrations.statements import (
    Statement,
    find_nontransactional,
    find_transaction_control,
    locate,
    split_statements,
)

if TYPE_CHECKING:
    from psycopg import Connection

#: Given a name, returns where the release that serves has it in its code; raises `MigrationError` when it cannot look.
Uses = Callable[[str], Sequence[str]]
Progress = Callable[[Migration, int, int], None]

_PLACES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What a project accepts, and what is known of where the migrations go.

    `together` says that the pending ones go out at once: what one of them creates, another may change freely. Otherwise
    each is looked at as if those before it had gone out. `accepted` are the versions that need no down, `ignore` the
    rules that are not asked, `run_control` allows files their own BEGIN and COMMIT.
    """

    together: bool = False
    accepted: Collection[str] = ()
    ignore: Collection[str] = ()
    run_control: bool = False
    uses: Uses | None = None


def lint(
    migrations: Sequence[Migration],
    *,
    pending: Sequence[Migration],
    connection: "Connection[tuple[Any, ...]]",
    root: Path,
    options: Options | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """Look at what the `pending` ones among `migrations` would do to a database that has those before them.

    `connection` leads to an empty scratch database, which holds them all afterwards where none failed. Paths are told
    from `root` on. Raises `MigrationError` when one that is not pending cannot be applied, or squawk is not installed.
    """
    chosen = options or Options()
    control = "run" if chosen.run_control else "refuse"
    migrator = Migrator(connection, migrations, transaction_control=control)
    linter = _Linter(connection, migrator, chosen)
    findings: list[Finding] = []
    for index, migration in enumerate(pending, 1):
        place = migrations.index(migration)
        if place and not linter.stuck:
            migrator.apply(to=migrations[place - 1].version)
        findings += _tell(migration, linter.look_at(migration), root, chosen)
        if on_progress is not None:
            on_progress(migration, index, len(pending))
    return Report(tuple(migration.label for migration in pending), tuple(findings))


class _Linter:
    """Looks at one migration after the other; `stuck` says that one failed, and none after it can be tried."""

    def __init__(self, connection: "Connection[tuple[Any, ...]]", migrator: Migrator, options: Options) -> None:
        self.stuck = False
        self._connection = connection
        self._migrator = migrator
        self._options = options
        self._base: Surface | None = None

    def look_at(self, migration: Migration) -> list[Match]:
        found = list(_judge_file(migration, self._options))
        remarks = find_remarks(migration.sql, transactional=migration.transactional)
        statements = {remark: _statement_at(migration.sql, remark) for remark in remarks}
        if self.stuck:
            found.append(Match("trial-failed", 0, "was not tried, because one before it failed"))
            return [*found, *judge_remarks(statements, {}, migration.sql)]
        begun = take_surface(self._connection)
        if self._base is None or not self._options.together:
            self._base = begun
        blocked = any(match.rule in {"needs-no-transaction", "transaction-control"} for match in found)
        steps: tuple[Step, ...] = ()
        if migration.transactional and not blocked and not find_transaction_control(migration.sql):
            trial = try_statements(self._connection, migration.sql, tables_of(self._base))
            steps = trial.steps
            found += _judge_failure(trial)
        found += [match for step in steps for match in judge_step(step, _remarks_on(step, statements))]
        found += judge_remarks(statements, {step.statement.start: step for step in steps}, migration.sql)
        found += self._apply(migration, found)
        if not self.stuck:
            found += judge_changes(self._base, steps, take_surface(self._connection), begun)
        return found

    def _apply(self, migration: Migration, found: Sequence[Match]) -> Iterator[Match]:
        """Apply it for those after it; what fails in the trial, or may not be sent at all, leaves them untried."""
        if any(match.rule in {"trial-failed", "needs-no-transaction", "transaction-control"} for match in found):
            self.stuck = True
            return
        try:
            self._migrator.apply(to=migration.version)
        except MigrationError as error:
            self.stuck = True
            yield Match(
                "trial-failed", 0, f"cannot be applied to a scratch database: {error.message}", error.hint or ""
            )


def _judge_file(migration: Migration, options: Options) -> Iterator[Match]:
    """Say what can be told of a file without a database."""
    if migration.down_sql is None and migration.order not in {order_of(version) for version in options.accepted}:
        yield Match("missing-down", 0, "there is no down")
    if not options.run_control:
        for statement in find_transaction_control(migration.sql):
            yield Match("transaction-control", statement.start, f"{statement.first_word} is the runner's to say")
    if migration.transactional:
        for statement in find_nontransactional(migration.sql):
            words = " ".join(statement.words[:3])
            yield Match("needs-no-transaction", statement.start, f"{words} … cannot run in a transaction")
        return
    role = read_role(migration.file.name)
    statements = list(split_statements(migration.sql))
    if role is not None and role.style == "plain" and len(statements) > 1:
        told = f"runs outside a transaction, and holds {len(statements)} statements"
        yield Match("several-statements", statements[1].start, told)


def _judge_failure(trial: Trial) -> Iterator[Match]:
    if trial.error is not None:
        said = trial.error.diag.message_primary or str(trial.error).strip()
        offset = trial.failed.start if trial.failed else 0
        yield Match("trial-failed", offset, f"fails on a scratch database: {said}", trial.error.diag.message_hint or "")


def _tell(migration: Migration, matches: Sequence[Match], root: Path, options: Options) -> list[Finding]:
    """Turn what matched into findings, without what the file excuses, and with what is wrong with its excuses."""
    excuses = find_excuses(migration.sql)
    honoured = {excuse.rule: excuse for excuse in excuses if not excuse.flaw}
    path = migration.file.relative_to(root) if migration.file.is_relative_to(root) else migration.file

    def finding(match: Match) -> Finding:
        place = locate(migration.sql, match.offset)
        hint = match.hint or HINTS.get(match.rule, "")
        level: Level = "warning" if match.rule in WARNINGS else "error"
        return Finding(match.rule, path.as_posix(), place.line, place.column, match.message, hint, level)

    taken = [match for match in matches if match.rule == "contract" and "contract" in honoured]
    wanted = [*matches, *(use for match in taken for use in _judge_use(match, options.uses))]
    needed = {match.rule for match in wanted}
    for excuse in excuses:
        flaw = excuse.flaw or ("" if excuse.rule in needed else f"nothing in this file is {excuse.rule}")
        if flaw:
            wanted.append(Match("needless-mark", offset_of(migration.sql, excuse.line, 1), flaw))
    kept = [match for match in wanted if match.rule not in honoured and match.rule not in options.ignore]
    return sorted({finding(match) for match in kept}, key=lambda each: (each.line, each.column, each.rule))


def _judge_use(match: Match, uses: Uses | None) -> Iterator[Match]:
    """Ask whether the release that serves names what a file takes away, which the file says that it is ready for."""
    if uses is None:
        yield Match(
            "use-unknown", match.offset, f"{match.message}; whether the release that serves uses it is not known"
        )
        return
    for name in match.names:
        try:
            places = uses(name)
        except MigrationError as error:
            yield Match("still-used", match.offset, f"{match.message}; {error.message}", error.hint or "")
            continue
        if places:
            more = f" and {len(places) - _PLACES_SHOWN} more" if len(places) > _PLACES_SHOWN else ""
            told = f"{', '.join(places[:_PLACES_SHOWN])}{more}"
            yield Match("still-used", match.offset, f"{match.message}, and the release that serves names it: {told}")


def _statement_at(text: str, remark: Remark) -> Statement | None:
    offset = offset_of(text, remark.line, remark.column)
    return next((one for one in split_statements(text) if one.start <= offset <= one.start + len(one.text)), None)


def _remarks_on(step: Step, statements: Mapping[Remark, Statement | None]) -> list[Remark]:
    return [remark for remark, statement in statements.items() if statement == step.statement]
