"""From the reasons not to deploy to the line in the history: what stands around a rollout."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from fairlead.approval import Approval
from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.aftermath import take_up
from fairlead.deploy.lock import hold_lock
from fairlead.deploy.parcel import Parcel, open_parcel, pack
from fairlead.deploy.preflight import inspect, plan
from fairlead.deploy.record import Record
from fairlead.deploy.reporting import Clock, Reporter
from fairlead.deploy.rollout import Options, Outcome, Rollout
from fairlead.deploy.target import Target, name_missing_access
from fairlead.exceptions import ApprovalError, Error, PlatformError, PreflightError

Opener = Callable[[], contextlib.AbstractContextManager[Target]]


def deploy(
    config: Config,
    environment: EnvironmentConfig,
    *,
    open_target: Opener,
    reporter: Reporter,
    archive: Path | None = None,
    options: Options,
) -> Outcome:
    """Deploy the tree at `config.root` to `environment` and verify it.

    `archive` is the file to send in place of one that is made here: a bundle of this very tree, looked at file by file.
    `open_target` gives the platform, started if it is one that Fairlead starts. Raises `PreflightError`,
    `ApprovalError` and `LockedError` before anything was changed, `PlatformError` when the platform cannot be used,
    `DeployError` when the earlier release serves, `UnsafeDeployError` when nothing vouches for that, and
    `InconclusiveError` when the new release serves and the watch could not tell whether it is as good.
    """
    clock = Clock(reporter)
    with clock.step("preflight") as detail:
        made, problems = plan(config, environment, from_dirty=options.from_dirty, backup=options.back_up is not None)
        problems += _refuse_canary(environment, options)
        given, refused = _open_given(config, made.info.digest, archive)
        problems += refused
        detail.append(f"{len(made.entries)} files, {made.info.title}")
    if environment.promote_from is not None:
        reporter.note(
            f"this deploys the tree; what {environment.promote_from} has verified goes out by: invoke promote"
        )
    return send(
        config,
        environment,
        made.info.digest,
        pack_parcel=lambda: given or pack(config, made),
        record=Record(config, environment, "deploy", info=made.info if given is None else given.info),
        open_target=open_target,
        clock=clock,
        problems=problems,
        options=options,
    )


def _open_given(config: Config, digest: str, archive: Path | None) -> tuple[Parcel | None, tuple[str, ...]]:
    try:
        return None if archive is None else open_parcel(config, digest, archive=archive), ()
    except PreflightError as error:
        return None, (error.message,)


def send(
    config: Config,
    environment: EnvironmentConfig,
    digest: str,
    *,
    pack_parcel: Callable[[], Parcel],
    record: Record,
    open_target: Opener,
    clock: Clock,
    problems: tuple[str, ...] = (),
    options: Options,
) -> Outcome:
    """Send one parcel to an environment and see it through, as `deploy` says; `problems` are those found already."""
    if problems and (environment.platform == "local" or name_missing_access(config, environment)):
        raise _refused(environment, problems, digest, options)
    with hold_lock(config, environment, reason=record.name) as lock, contextlib.ExitStack() as stack:
        with clock.step("platform") as detail:
            try:
                target = stack.enter_context(open_target())
                record.notes += take_up(config, target, lock, clock)
                standing = inspect(config, environment, target, lock=lock, lint=options.lint)
            except PlatformError as error:
                if not problems:
                    raise
                raise _refused(environment, (*problems, error.message), digest, options) from error
            detail.append(target.public_url)
        if problems or standing.problems:
            raise _refused(environment, (*problems, *standing.problems), digest, options)
        for note in (*target.notes, *standing.describe_differences()):
            clock.reporter.note(note)
        record.approval = _approve(environment, digest, options)
        try:
            rollout = Rollout(config, environment, target, lock, clock, record, options)
            outcome = rollout.run(pack_parcel, digest, standing)
        except (Error, KeyboardInterrupt) as error:
            record.write_failure(error, clock)
            raise
    record.write("healthy" if outcome.changed or outcome.verified else "unchanged", clock)
    return outcome


def _approve(environment: EnvironmentConfig, digest: str, options: Options) -> Approval | None:
    if not environment.approval:
        return None
    if options.approve is None:
        hint = f"invoke approve {digest} --env {environment.name}"
        raise ApprovalError(f"a deploy to {environment.name} needs approval", hint=hint)
    return options.approve(digest)


def _refused(environment: EnvironmentConfig, problems: tuple[str, ...], digest: str, options: Options) -> Error:
    """Return the error that tells every problem, a missing approval among them where nobody sits here to be asked."""
    reasons = list(problems)
    if digest and not options.asks:
        try:
            _approve(environment, digest, options)
        except ApprovalError as error:
            reasons.append(error.message)
    message = f"the deploy to {environment.name} was refused"
    return PreflightError(message, problems=tuple(reasons), hint="mend these and run it again; nothing was changed")


def _refuse_canary(environment: EnvironmentConfig, options: Options) -> tuple[str, ...]:
    if options.canary is None or environment.platform == "local":
        return ()
    return ("--canary: Railway has no way to give a release a share of the requests; leave it out, and watch instead",)
