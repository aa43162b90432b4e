"""`migrations.verify` and `migrations.lint`: what is proven of the files on a scratch database."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fairlead import _output
from fairlead.tasks._act import act
from fairlead.tasks.db import database_url

if TYPE_CHECKING:
    from psycopg import Connection

    from fairlead.config import Config
    from fairlead.migrations import Migration
    from fairlead.migrations.lint import Report, Uses


@act()
def verify() -> None:
    """Prove on a scratch database, revision by revision, that every down undoes its up."""
    from fairlead import config, migrations
    from fairlead.exceptions import ConfigurationError

    settings = config.load().migrations
    try:
        seed = settings.seed.read_text("utf-8") if settings.seed else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the seed cannot be read: {error}", hint="see migrations.seed") from None
    with _scratch() as (connection, url), migrations.open_engine(settings, url) as engine:
        found = engine.plan()
        migrations.verify_reversible(
            connection,
            found,
            engine=engine if settings.engine == "alembic" else None,
            seed=seed,
            accepted=settings.baseline_irreversible,
            on_progress=_tell,
        )
    _output.result(f"{len(found)} migrations: up, down and up again leave the schema as it should be")


@act(
    help={
        "env": "what is pending in this environment, which goes out together, against the release that serves there",
        "since": "what is above this version; without it and --env, what is above migrations.lint-since",
        "serving": "the revision of the release that serves, where no environment tells it",
        "sarif": "also write the findings to this file, as SARIF 2.1.0",
        "annotations": "also print the findings as GitHub shows them beside the lines",
        "json": "print JSON for a program to read",
    }
)
def lint(
    env: str = "",
    since: str = "",
    serving: str = "",
    sarif: str = "",
    annotations: bool = False,
    json: bool = False,
) -> None:
    """Say what in the files would block, rewrite or lose data, or break the release that still serves."""
    from pathlib import Path

    from fairlead import config
    from fairlead.exceptions import Error, MigrationError
    from fairlead.migrations import lint as linter

    loaded = config.load()
    _refuse_unlintable(loaded)
    report = _lint_pending(loaded, env, serving) if env else _lint_since(loaded, since, serving)
    if sarif:
        try:
            Path(sarif).write_text(linter.render_sarif(report), "utf-8")
        except OSError as error:
            raise Error(f"{sarif} cannot be written: {error.strerror}", hint="choose another place") from None
    if json:
        _output.result_json(report.as_dict())
    else:
        _output.result(linter.render(report))
        if annotations and report.findings:
            _output.result(linter.render_annotations(report))
    if report.failed:
        raise MigrationError("the migrations cannot go out like this", hint="mend the files, or say why in them")


def lint_new(loaded: "Config", revision: str | None) -> tuple[str, ...]:
    """Return a line for each error that the linter finds in files which the revision that serves does not have.

    Without a revision, or with one that git does not know, all above migrations.lint-since are looked at. What keeps
    it from looking is a line too.
    """
    from fairlead import migrations
    from fairlead.exceptions import Error

    if loaded.migrations.engine == "alembic":
        return ()
    try:
        found = migrations.load_migrations(loaded.migrations.directory)
        since = loaded.migrations.lint_since
        first = migrations.find_migration(found, since).order if since else ()
        known = _files_at(loaded, revision) if revision else frozenset()
        pending = [one for one in found if one.order > first and one.file.name not in known]
        if not pending:
            return ()
        _refuse_unlintable(loaded)
        report = _look_at(loaded, pending, together=True, uses=_find_uses(loaded, revision or "") if known else _unused)
    except Error as error:
        return (f"the migrations could not be linted: {error.message}",)
    return tuple(f"{finding.place}: {finding.rule}: {finding.message}" for finding in report.errors)


def name_versions_at(loaded: "Config", revision: str) -> frozenset[str]:
    """Return the versions of the migrations at a revision; none where git does not know it."""
    return frozenset(name.partition("_")[0] for name in _files_at(loaded, revision))


def _files_at(loaded: "Config", revision: str) -> frozenset[str]:
    """Return the names of the migrations' files at a revision; none where git does not know it."""
    from fairlead._process import run
    from fairlead.exceptions import CommandError

    try:
        done = run(["git", "-C", loaded.migrations.directory, "ls-tree", "--name-only", revision, "."], timeout=30)
    except CommandError:
        return frozenset()
    return frozenset(line.rpartition("/")[2] for line in done.stdout.splitlines())


def tell_risks(loaded: "Config", planned: "Sequence[Migration]") -> None:
    """Print what the linter finds in files that are about to run; say so where it cannot look."""
    from fairlead.exceptions import Error
    from fairlead.migrations import lint as linter

    try:
        _refuse_unlintable(loaded)
        report = _look_at(loaded, planned, together=True)
    except Error as error:
        _output.status("warn", f"the risk was not looked at: {error.message}")
        return
    _output.result(linter.render(report))


def _refuse_unlintable(loaded: "Config") -> None:
    from fairlead.exceptions import ConfigurationError, MigrationError
    from fairlead.migrations.lint import RULES

    if loaded.migrations.engine == "alembic":
        raise MigrationError(
            "migrations.lint reads SQL files, and Alembic's revisions are programs",
            hint="invoke migrations.verify walks them all the same",
        )
    strange = [rule for rule in loaded.migrations.lint_ignore if rule not in RULES and not rule.startswith("squawk/")]
    if strange:
        raise ConfigurationError(
            f"migrations.lint-ignore names {', '.join(strange)}, which is no rule",
            hint=f"the rules are {', '.join(RULES)}, and squawk/NAME",
        )


def _lint_since(loaded: "Config", since: str, serving: str) -> "Report":
    """Look at each file above a version as if those before it had gone out."""
    from fairlead import migrations

    found = migrations.load_migrations(loaded.migrations.directory)
    since = since or loaded.migrations.lint_since or ""
    first = migrations.find_migration(found, since).order if since else ()
    pending = [migration for migration in found if migration.order > first]
    return _look_at(loaded, pending, uses=_find_uses(loaded, serving) if serving else None)


def _lint_pending(loaded: "Config", env: str, serving: str) -> "Report":
    """Look at what would go out together to an environment, and at the code that serves there."""
    from fairlead import migrations

    address = database_url(loaded, loaded.environment(env))
    with migrations.open_engine(loaded.migrations, address) as engine:
        pending = engine.plan()
    revision = serving or _serving_revision(loaded, env)
    return _look_at(loaded, pending, together=True, uses=_find_uses(loaded, revision) if revision else _unused)


def _look_at(
    loaded: "Config", pending: "Sequence[Migration]", *, together: bool = False, uses: "Uses | None" = None
) -> "Report":
    from fairlead import migrations
    from fairlead.migrations import lint as linter

    settings = loaded.migrations
    options = linter.Options(
        together=together,
        accepted=tuple(settings.baseline_irreversible),
        ignore=settings.lint_ignore,
        run_control=settings.transaction_control == "run",
        uses=uses,
    )
    found = migrations.load_migrations(settings.directory)
    with _scratch() as (connection, _):
        return linter.lint(
            found, pending=pending, connection=connection, root=loaded.root, options=options, on_progress=_tell
        )


def _find_uses(loaded: "Config", revision: str) -> "Uses":
    from fairlead.migrations.lint import find_uses

    return find_uses(loaded.root, revision, within=loaded.backend, without=loaded.migrations.directory)


def _unused(_name: str) -> "Sequence[str]":
    """Find no use of anything: no release serves, and none can break."""
    return ()


def _serving_revision(loaded: "Config", env: str) -> str:
    """Return the revision that the platform says is serving; nothing has it where no release serves yet."""
    from fairlead import deploy
    from fairlead.tasks.releases import open_target

    with open_target(loaded, loaded.environment(env), start=False) as target:
        release = deploy.find_serving(target.deployments())
    return release.revision if release else ""


@contextlib.contextmanager
def _scratch() -> "Iterator[tuple[Connection[tuple[Any, ...]], str]]":
    """Give a connection to an empty database on a server of its own, and its address."""
    from fairlead import migrations, postgres

    with postgres.temporary_server() as server, postgres.scratch_database(server) as name:
        url = server.url(name)
        with migrations.connect(url) as connection:
            yield connection, url


def _tell(migration: "Migration", index: int, total: int) -> None:
    if sys.stderr.isatty():
        _output.status("dim", f"{index}/{total} {migration.label}")
