"""`deploy`, `promote` and `rollback`: what changes the release that an environment serves."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fairlead import _output
from fairlead.tasks._act import act, confirm
from fairlead.tasks.releases import open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fairlead.approval import Approval
    from fairlead.config import Config, EnvironmentConfig
    from fairlead.deploy import Backup, Candidate, Options, Outcome, Release

_ENV = "the environment: local, staging, production …"
_JSON = "print JSON for a program to read"
_SURE = "say yes to every question; where an approval is needed and nobody sits here, one must have been given"
_WATCH = "watch the new release for so many seconds; 0 does not, and without it the environment says for how long"
_QUIET = "do not show the platform's log"
_MOST_CANARY = 99


@act(
    help={
        "env": _ENV,
        "dry": "print the plan; nothing is changed and nobody is asked",
        "auto-confirm": _SURE,
        "backup": "back the database up first, also where the environment does not ask for it",
        "no-backup": "do not, even where the environment asks for it",
        "from-dirty": "deploy a tree with uncommitted changes, marked so",
        "bundle": "send this archive of the tree, which invoke build wrote, instead of making one",
        "watch": _WATCH,
        "canary": "give the new release this share of the requests, in per cent, until the watch is over; local only",
        "quiet": _QUIET,
        "json": _JSON,
    }
)
def deploy(
    env: str = "local",
    dry: bool = False,
    auto_confirm: bool = False,
    backup: bool = False,
    no_backup: bool = False,
    from_dirty: bool = False,
    bundle: str = "",
    watch: float = -1.0,
    canary: float = 0.0,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Deploy the tree: preflight, bundle, backup, upload, follow, verify, suites, watch, record; undone on failure."""
    from fairlead import config
    from fairlead.exceptions import ConfigurationError

    loaded = config.load()
    environment = loaded.environment(env)
    if backup and no_backup:
        raise ConfigurationError("--backup and --no-backup contradict each other", hint="pass one of them, or neither")
    if canary and not 1 <= canary <= _MOST_CANARY:
        raise ConfigurationError(f"--canary {canary:g} is no share of the requests", hint="give 1 to 99 per cent")
    backup = backup or (environment.backup and not no_backup)
    if dry:
        _show_plan(loaded, environment, backup=backup, from_dirty=from_dirty, json=json)
        return
    from fairlead import deploy as deploying
    from fairlead.tasks._reporting import TerminalReporter

    outcome = deploying.deploy(
        loaded,
        environment,
        open_target=lambda: open_target(loaded, environment),
        reporter=TerminalReporter(quiet=quiet),
        archive=Path(bundle) if bundle else None,
        options=_make_options(
            loaded,
            environment,
            f"Deploy {loaded.name} to {environment.name}?",
            auto_confirm=auto_confirm,
            backup=backup,
            from_dirty=from_dirty,
            watch=watch,
            canary=canary,
        ),
    )
    _show_outcome(environment, outcome, json=json)


@act(
    help={
        "from": "the environment that has verified it",
        "to": "the environment that gets it",
        "bundle": "the archive, where it was not deployed from here",
        "auto-confirm": _SURE,
        "no-backup": "do not back the database up, even where the environment asks for it",
        "watch": _WATCH,
        "quiet": _QUIET,
        "json": _JSON,
    }
)
def promote(
    from_: str = "staging",
    to: str = "production",
    bundle: str = "",
    auto_confirm: bool = False,
    no_backup: bool = False,
    watch: float = -1.0,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Deploy to one environment the very bundle, byte for byte, that another one has verified."""
    from fairlead import config
    from fairlead import deploy as deploying
    from fairlead.tasks._reporting import TerminalReporter

    loaded = config.load()
    source, environment = loaded.environment(from_), loaded.environment(to)
    outcome = deploying.promote(
        loaded,
        source,
        environment,
        open_source=lambda: open_target(loaded, source, start=False),
        open_target=lambda: open_target(loaded, environment),
        reporter=TerminalReporter(quiet=quiet),
        archive=Path(bundle) if bundle else None,
        options=_make_options(
            loaded,
            environment,
            f"Promote {loaded.name} from {source.name} to {environment.name}?",
            auto_confirm=auto_confirm,
            backup=environment.backup and not no_backup,
            watch=watch,
        ),
    )
    _show_outcome(environment, outcome, json=json)


@act(
    positional=["release"],
    help={
        "release": "a release number, a version such as v1.2.3, or the begin of a digest; without it they are listed",
        "env": _ENV,
        "auto-confirm": "do not ask in an environment that needs approval",
        "quiet": _QUIET,
        "json": _JSON,
    },
)
def rollback(
    release: str = "", env: str = "local", auto_confirm: bool = False, quiet: bool = False, json: bool = False
) -> None:
    """Go back to an earlier release and verify it; without a release, list what there is to go back to."""
    from fairlead import config
    from fairlead import deploy as deploying
    from fairlead.tasks._reporting import TerminalReporter

    loaded = config.load()
    environment = loaded.environment(env)
    if not release:
        _list_candidates(loaded, environment, json=json)
        return

    def approve(candidate: "Candidate") -> None:
        if environment.approval:
            found = candidate.release
            question = f"Go back to release {found.number} ({found.version}) in {environment.name}?"
            confirm(question, auto_confirm=auto_confirm)

    outcome = deploying.roll_back(
        loaded,
        environment,
        release,
        open_target=lambda: open_target(loaded, environment, start=False),
        reporter=TerminalReporter(quiet=quiet),
        approve=approve,
        applied_since=lambda found: _name_applied_since(loaded, environment, found),
    )
    _show_outcome(environment, outcome, json=json)


def _make_options(
    loaded: "Config",
    environment: "EnvironmentConfig",
    question: str,
    *,
    auto_confirm: bool,
    backup: bool,
    watch: float,
    from_dirty: bool = False,
    canary: float = 0.0,
) -> "Options":
    from fairlead.deploy import Options
    from fairlead.tasks.migration_checks import lint_new

    return Options(
        back_up=(lambda: _back_up(loaded, environment)) if backup else None,
        lint=lambda revision: lint_new(loaded, revision),
        asks=_is_attended(loaded) and not auto_confirm,
        approve=_make_approver(loaded, environment, question, auto_confirm=auto_confirm),
        from_dirty=from_dirty,
        watch=watch if watch >= 0 else None,
        canary=canary or None,
    )


def _make_approver(
    loaded: "Config", environment: "EnvironmentConfig", question: str, *, auto_confirm: bool
) -> "Callable[[str], Approval]":
    """Return how a deploy is approved: by a person on this terminal, or by an approval that was given elsewhere."""

    def approve(digest: str) -> "Approval":
        from fairlead import approval, build

        if auto_confirm and not _is_attended(loaded):
            return approval.require(environment.name, digest, environ=loaded.environ)
        confirm(question, auto_confirm=auto_confirm)
        return approval.Approval(environment.name, approver=build.user(), how="terminal", digest=digest)

    return approve


def _is_attended(loaded: "Config") -> bool:
    """Tell whether a person sits here; some machines that build give jobs a terminal, and say that they are CI."""
    return sys.stdin.isatty() and not loaded.in_ci


def _back_up(loaded: "Config", environment: "EnvironmentConfig") -> "Backup":
    from fairlead.deploy import Backup
    from fairlead.tasks.db import make_backup

    file, manifest = make_backup(loaded, environment)
    return Backup(str(file), manifest.size, manifest.migration)


def _list_candidates(loaded: "Config", environment: "EnvironmentConfig", *, json: bool) -> None:
    import dataclasses

    from fairlead import deploy as deploying

    with open_target(loaded, environment, start=False) as target:
        found = deploying.list_candidates(loaded, environment, target)
    if json:
        _output.result_json([{**dataclasses.asdict(one.release), "verdict": one.verdict} for one in found])
        return
    if not found:
        _output.status("note", f"{environment.name} has no earlier release to go back to")
        return
    rows = [
        (
            str(one.release.number),
            one.release.version,
            one.release.digest[:19],
            one.release.created_at,
            one.release.by or "-",
            one.verdict or "-",
        )
        for one in found
    ]
    _output.table(("release", "version", "digest", "deployed", "by", "verdict"), rows)
    _output.status("note", f"go back: invoke rollback {found[0].release.number} --env {environment.name}")


def _name_applied_since(loaded: "Config", environment: "EnvironmentConfig", release: "Release") -> "Sequence[str]":
    """Name the migrations that were applied since a release; they stay, and the release gone back to must cope.

    Those are the ones that its revision does not have; where git does not know it, those applied after it was made.
    """
    from datetime import datetime

    from fairlead import migrations
    from fairlead.exceptions import Error
    from fairlead.tasks.db import database_url
    from fairlead.tasks.migration_checks import name_versions_at

    try:
        with migrations.open_engine(loaded.migrations, database_url(loaded, environment)) as engine:
            found = engine.status()
    except Error as error:
        return (f"which migrations were applied since could not be checked: {error.message}",)
    since = datetime.fromisoformat(release.created_at)
    known = name_versions_at(loaded, release.revision)
    return tuple(
        f"migration {row.version} {row.name} was applied since and stays; it has "
        + ("a down: invoke migrations.down" if row.reversible else "no down")
        for row in found
        if row.applied_at is not None and (row.version not in known if known else row.applied_at > since)
    )


def _show_plan(
    loaded: "Config", environment: "EnvironmentConfig", *, backup: bool, from_dirty: bool, json: bool
) -> None:
    from fairlead import deploy as deploying
    from fairlead.exceptions import PreflightError

    made, problems = deploying.plan(loaded, environment, from_dirty=from_dirty, backup=backup)
    if json:
        facts = {
            "environment": environment.name,
            "platform": environment.platform,
            "digest": made.digest,
            "files": made.files(),
            "backup": backup,
            "suites": environment.suites,
        }
        _output.result_json({**facts, "problems": problems})
    else:
        _output.result(f"would deploy {made.info.title} to {environment.name} ({environment.platform})")
        _output.result(f"  digest {made.digest or 'none'}, {len(made.entries)} files")
        watched = f"suites ({environment.suites}), " if environment.suites != "off" else ""
        watched += "watch, " if environment.watch else ""
        _output.result(f"  then: {'backup, ' if backup else ''}upload, follow, verify, {watched}record")
    if problems:
        raise PreflightError(f"a deploy to {environment.name} would be refused", problems=problems)


def _show_outcome(environment: "EnvironmentConfig", outcome: "Outcome", *, json: bool) -> None:
    import dataclasses

    release = outcome.release
    if json:
        _output.result_json({**dataclasses.asdict(outcome), "environment": environment.name})
        return
    if not outcome.changed:
        said = f"release {release.number} already serves {release.digest} at {outcome.url}"
        _output.result(f"nothing changed: {said}{', and was verified now' if outcome.verified else ''}")
        return
    steps = "  ".join(f"{name} {_output.duration(seconds)}" for name, seconds in outcome.steps.items())
    _output.result(f"release {release.number} serves at {outcome.url}")
    _output.result(f"  version {release.version}, {release.digest}")
    if outcome.backup is not None:
        _output.result(f"  backup {outcome.backup.file}")
    _output.result(f"  {steps}  total {_output.duration(outcome.seconds)}")
    if environment.platform == "local":
        _output.result(f"next: curl {outcome.url}/api/health    invoke platform.logs    invoke platform.down")
    else:
        _output.result(f"next: invoke verify --env {environment.name}    invoke releases --env {environment.name}")
