"""The deploy itself, step by step, and what still serves when a step fails.

Success is claimed only when the platform says SUCCESS and the public URL serves the digest that was built, several
times in a row. Whatever fails, the last thing a deploy does is to find out whether the earlier release still serves.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from fairlead._output import redact, size
from fairlead._polling import wait_until
from fairlead.bundle import Bundle
from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.backup import Backup, Keeper
from fairlead.deploy.lock import hold_lock
from fairlead.deploy.preflight import plan
from fairlead.deploy.releases import Release, find_serving, next_number
from fairlead.deploy.target import Target
from fairlead.exceptions import (
    ApprovalError,
    AuthenticationError,
    DeployError,
    Error,
    PlatformError,
    PreflightError,
    UnsafeDeployError,
)
from fairlead.history import Event, History
from fairlead.railway import Deployment, LogLine
from fairlead.verification import Probe, Report, Verdict, wait_for_release

#: How long, in seconds, the public URL may take to show the new release, and how long it may show the one before.
_CONFIRMED_IN = 30.0
_REPLACED_IN = 5.0
#: How long, in seconds, the platform may not answer while a deployment is followed.
_SILENT_FOR = 30.0


class Reporter(Protocol):
    """What a deploy tells while it runs."""

    def step(self, name: str) -> None:
        """Say that a step begins."""

    def done(self, name: str, seconds: float, detail: str) -> None:
        """Say that a step ended well."""

    def note(self, text: str) -> None:
        """Say something worth knowing."""

    def log(self, line: str) -> None:
        """Pass on a line of the platform's log."""

    def uploaded(self, sent: int, total: int) -> None:
        """Say how many bytes of the bundle were sent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a deploy ended well: the release that serves, whether it is new, and the seconds that each step took.

    `backup` is the one that was made first, where one was asked for.
    """

    release: Release
    url: str
    changed: bool
    steps: dict[str, float]
    seconds: float
    backup: Backup | None = None


@dataclass(slots=True)
class _Clock:
    """Times the steps of one deploy and reports them."""

    reporter: Reporter
    started: float = field(default_factory=time.monotonic)
    steps: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        self.reporter.step(name)
        detail: list[str] = []
        began = time.monotonic()
        try:
            yield detail
        finally:
            self.steps[name] = round(time.monotonic() - began, 3)
        self.reporter.done(name, self.steps[name], "; ".join(detail))

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 3)


def deploy(
    config: Config,
    environment: EnvironmentConfig,
    *,
    open_target: Callable[[], contextlib.AbstractContextManager[Target]],
    reporter: Reporter,
    back_up: Callable[[], Backup] | None = None,
    approved: bool = False,
    from_dirty: bool = False,
) -> Outcome:
    """Deploy the tree at `config.root` to `environment` and verify it.

    `open_target` gives the platform, started if it is one that Fairlead starts. `back_up` backs up the environment's
    database before anything is sent; where it fails, nothing is sent. Raises `PreflightError`,
    `ApprovalError` and `LockedError` before anything was changed, `PlatformError` when the platform cannot be used,
    `DeployError` when the earlier release serves, and `UnsafeDeployError` when nothing vouches for that.
    """
    clock = _Clock(reporter)
    keeper = Keeper(back_up)
    with clock.step("preflight") as detail:
        made, problems = plan(config, environment, from_dirty=from_dirty, backup=back_up is not None)
        if problems:
            message = f"the deploy to {environment.name} was refused"
            raise PreflightError(message, problems=problems, hint="mend these and run it again; nothing was changed")
        if environment.approval and not approved:
            hint = "answer the question on a terminal, or pass --auto-confirm"
            raise ApprovalError(f"a deploy to {environment.name} needs approval", hint=hint)
        detail.append(f"{len(made.entries)} files, {made.info.title}")
    with hold_lock(config, environment), contextlib.ExitStack() as stack:
        with clock.step("platform") as detail:
            target = stack.enter_context(open_target())
            detail.append(target.public_url)
        for note in target.notes:
            reporter.note(note)
        try:
            outcome = _deploy_to(config, target, made, clock, keeper)
        except (Error, KeyboardInterrupt) as error:
            _record(config, environment, made, clock, keeper, error=error)
            raise
    _record(config, environment, made, clock, keeper, outcome=outcome)
    return outcome


def _deploy_to(config: Config, target: Target, made: Bundle, clock: _Clock, keeper: Keeper) -> Outcome:
    known = target.deployments()
    serving = find_serving(known)
    before = _look(config, target, confirmations=1, timeout=2.0)
    if serving is not None and serving.digest == made.digest == before.digest and before.verdict is Verdict.HEALTHY:
        return Outcome(serving, target.public_url, False, clock.steps, clock.seconds)
    release = Release(next_number(known), made.digest, made.info.version, made.info.revision)
    if keeper.back_up is not None:
        with clock.step("backup") as detail:
            if kept := keeper.keep():
                detail.append(f"{kept.file} ({size(kept.size)}, migration {kept.migration or 'none'})")
    with clock.step("upload") as detail:
        deployment_id = _upload(target, made, release, clock.reporter, detail)
    try:
        with clock.step("follow") as detail:
            ended = _follow(config, target, deployment_id, clock.reporter)
            detail.append(f"the platform says {ended.status}")
        with clock.step("verify") as detail:
            _confirm(config, target, made.digest)
            detail.append(f"the digest was served {config.deploy.confirmations} times in a row")
    except (DeployError, PlatformError) as error:
        earlier = before.digest or (serving.digest if serving else None)
        raise _aftermath(config, target, earlier, error) from error
    except KeyboardInterrupt:
        clock.reporter.note(
            f"the platform goes on with deployment {deployment_id}; `invoke releases` shows how it ends"
        )
        raise
    deployed = Release(
        release.number, release.digest, release.version, release.revision, deployment_id, str(ended.status)
    )
    return Outcome(deployed, target.public_url, True, clock.steps, clock.seconds, keeper.made)


def _upload(target: Target, made: Bundle, release: Release, reporter: Reporter, detail: list[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="fairlead-") as folder:
        archive = Path(folder, "bundle.tar.gz")
        written = made.write(archive)
        answer = target.client.upload(
            archive,
            project_id=target.project_id,
            environment_id=target.environment_id,
            service_id=target.service_id,
            message=release.to_message(),
            on_progress=reporter.uploaded,
        )
    detail.append(f"{written / 1000:.0f} kB, release {release.number}, {made.digest[:19]}…")
    return answer.deployment_id


def _follow(config: Config, target: Target, deployment_id: str, reporter: Reporter) -> Deployment:
    """Follow a deployment to its end; return it when it succeeded, raise `DeployError` when it did not."""
    client = target.client
    tails = [_Tail(deployment_id, fetch, reporter) for fetch in (client.fetch_build_logs, client.fetch_deployment_logs)]

    heard = time.monotonic()

    def ended(remaining: float) -> Deployment | None:
        nonlocal heard
        for tail in tails:
            # What a release prints is worth seeing, and no reason to give up its deploy.
            with contextlib.suppress(PlatformError):
                tail.show()
        try:
            deployment = client.fetch_deployment(deployment_id)
        except AuthenticationError:
            raise
        except PlatformError:
            if remaining <= 0 or time.monotonic() - heard > _SILENT_FOR:
                raise
            return None
        heard = time.monotonic()
        return deployment if deployment.status.is_terminal or deployment.status.needs_approval else None

    deployment = wait_until(
        ended,
        timeout=config.deploy.timeout,
        interval=0.05,
        longest_interval=0.5,
        what=f"the platform to finish deployment {deployment_id}",
        hint="raise tool.fairlead.deploy.timeout if it is only slow",
    )
    if deployment.status.is_success:
        return deployment
    why, _, advice = (deployment.diagnosis or "").partition("; next: ")
    said = f": {why}" if why else ""
    hint = advice or "look at the platform's log of this deployment"
    raise DeployError(f"the deployment ended as {deployment.status}{said}", hint=hint)


def _confirm(config: Config, target: Target, digest: str) -> None:
    report = _look(config, target, digest=digest, confirmations=config.deploy.confirmations, timeout=_CONFIRMED_IN)
    if report.verdict is not Verdict.HEALTHY:
        raise DeployError(f"the platform says SUCCESS, but {target.public_url} does not confirm it: {report.reason}")


class _Tail:
    """Passes on the log lines of one deployment that were not shown yet."""

    def __init__(self, deployment_id: str, fetch: Callable[..., tuple[LogLine, ...]], reporter: Reporter) -> None:
        self._deployment_id = deployment_id
        self._fetch = fetch
        self._reporter = reporter
        self._newest: str | None = None

    def show(self) -> None:
        for line in self._fetch(self._deployment_id, since=self._newest):
            self._newest = line.timestamp
            self._reporter.log(line.message)


def _aftermath(config: Config, target: Target, earlier: str | None, error: Error) -> Error:
    """Find out what serves after a failed deploy, and say so in the error that ends it.

    `earlier` is the digest that the public URL served before or, where it said nothing, that of the release which the
    platform said was serving; None when there was neither.
    """
    if earlier is None:
        return DeployError(f"{error.message}; there is no earlier release", hint=error.hint)
    after = _look(config, target, digest=earlier, confirmations=config.deploy.confirmations, timeout=_CONFIRMED_IN)
    if after.verdict is Verdict.HEALTHY:
        return DeployError(f"{error.message}; the earlier release still serves ({earlier[:19]}…)", hint=error.hint)
    message = f"{error.message}; and the earlier release could not be verified: {after.reason}"
    return UnsafeDeployError(message, hint=f"look at {target.public_url} now")


def _look(config: Config, target: Target, *, digest: str | None = None, confirmations: int, timeout: float) -> Report:
    return wait_for_release(
        target.public_url,
        (Probe("health", config.health_path), Probe("version", config.version_path)),
        digest=digest,
        confirmations=confirmations,
        timeout=timeout,
        patience=_REPLACED_IN if digest else 0.0,
    )


def _record(
    config: Config,
    environment: EnvironmentConfig,
    made: Bundle,
    clock: _Clock,
    keeper: Keeper,
    *,
    outcome: Outcome | None = None,
    error: BaseException | None = None,
) -> None:
    if outcome is not None:
        verdict = "healthy" if outcome.changed else "unchanged"
    else:
        verdict = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    History(config.state_dir).append(
        Event(
            name="deploy",
            verdict=verdict,
            environment=environment.name,
            release=outcome.release.number if outcome else None,
            digest=made.digest,
            version=made.info.version,
            revision=made.info.revision,
            actor=made.info.actor,
            duration=clock.seconds,
            steps=clock.steps,
            backup=asdict(keeper.made) if keeper.made else None,
            detail=redact(str(error)) if error is not None else None,
        )
    )
