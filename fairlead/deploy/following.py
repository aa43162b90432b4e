"""Follows a deployment to its end, and confirms at the public URL what the platform says of it."""

import contextlib
import time
from collections.abc import Callable

from fairlead._polling import wait_until
from fairlead.config import Config
from fairlead.deploy.reporting import Reporter
from fairlead.deploy.target import Target
from fairlead.exceptions import AuthenticationError, DeployError, PlatformError
from fairlead.localplatform.forwarding import DEPLOYMENT_HEADER
from fairlead.railway import Deployment, LogLine
from fairlead.verification import Probe, Report, Verdict, wait_for_release

#: How long, in seconds, the public URL may take to show the new release, and how long it may show the one before.
CONFIRMED_IN = 30.0
REPLACED_IN = 5.0
#: How long, in seconds, the platform may not answer while a deployment is followed.
_SILENT_FOR = 30.0


def follow(config: Config, target: Target, deployment_id: str, reporter: Reporter) -> Deployment:
    """Follow a deployment to its end; return it when it succeeded, raise `DeployError` when it did not."""
    client = target.client
    tails = [_Tail(deployment_id, fetch, reporter) for fetch in (client.fetch_build_logs, client.fetch_deployment_logs)]
    steps = _Steps(target, deployment_id, reporter)
    silence = _Silence()

    def ended(remaining: float) -> Deployment | None:
        for show in (steps.show, *(tail.show for tail in tails)):
            # What is told on the way is worth seeing, and no reason to give up the deploy.
            with contextlib.suppress(PlatformError):
                show()
        try:
            deployment = client.fetch_deployment(deployment_id)
        except AuthenticationError:
            raise
        except PlatformError:
            if remaining <= 0 or silence.is_too_long():
                raise
            return None
        silence.end()
        return deployment if deployment.status.is_terminal or deployment.status.needs_approval else None

    deployment = wait_until(
        ended,
        timeout=config.deploy.timeout,
        interval=0.02 if target.local else 0.05,
        longest_interval=0.1 if target.local else 3.0,
        what=f"the platform to finish deployment {deployment_id}",
        hint="raise tool.fairlead.deploy.timeout if it is only slow",
    )
    if deployment.status.is_success:
        return deployment
    why, _, advice = (deployment.diagnosis or steps.failure or "").partition("; next: ")
    said = f": {why}" if why else ""
    hint = advice or "look at the platform's log of this deployment"
    if deployment.status.needs_approval:
        hint = "somebody has to approve it on the platform; this deploy does not wait for that"
    raise DeployError(f"the deployment ended as {deployment.status}{said}", hint=hint)


def confirm(config: Config, target: Target, digest: str, *, deployment_id: str | None = None) -> None:
    """Raise `DeployError` unless the public URL serves `digest`, healthy, several times in a row, and passes the smoke.

    With `deployment_id` that very release is asked, whatever share of the requests it gets.
    """
    report = look(
        config,
        target,
        digest=digest,
        confirmations=config.deploy.confirmations,
        timeout=CONFIRMED_IN,
        deployment_id=deployment_id,
    )
    if report.verdict is not Verdict.HEALTHY:
        raise DeployError(f"the platform says SUCCESS, but {target.public_url} does not confirm it: {report.reason}")
    if not config.deploy.smoke:
        return
    smoke = wait_for_release(
        target.public_url,
        tuple(Probe("smoke", path) for path in config.deploy.smoke),
        digest=None,
        confirmations=1,
        timeout=CONFIRMED_IN,
        patience=0.0,
        headers=_name(deployment_id),
    )
    if smoke.verdict is not Verdict.HEALTHY:
        raise DeployError(f"{target.public_url} serves the new release, and its smoke test fails: {smoke.reason}")


def look(
    config: Config,
    target: Target,
    *,
    digest: str | None = None,
    confirmations: int,
    timeout: float,
    deployment_id: str | None = None,
) -> Report:
    """Ask the public URL for its health and version until both are right, or `timeout` seconds are over.

    With `deployment_id` that very release is asked, as the local platform lets it be.
    """
    return wait_for_release(
        target.public_url,
        (Probe("health", config.health_path), Probe("version", config.version_path)),
        digest=digest,
        confirmations=confirmations,
        timeout=timeout,
        patience=REPLACED_IN if digest else 0.0,
        headers=_name(deployment_id),
    )


def _name(deployment_id: str | None) -> dict[str, str]:
    return {DEPLOYMENT_HEADER.decode(): deployment_id} if deployment_id else {}


class _Silence:
    """How long the platform has not answered, from the first question on that it left open."""

    def __init__(self) -> None:
        self._since: float | None = None

    def is_too_long(self) -> bool:
        """Note one more question that was left open; tell whether that has gone on for too long."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since > _SILENT_FOR

    def end(self) -> None:
        """Note that the platform has answered."""
        self._since = None


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


class _Steps:
    """Tells of the platform's steps as they begin, and remembers why one failed."""

    def __init__(self, target: Target, deployment_id: str, reporter: Reporter) -> None:
        self._target = target
        self._deployment_id = deployment_id
        self._reporter = reporter
        self._told: set[str] = set()
        self.failure: str | None = None

    def show(self) -> None:
        for event in self._target.client.fetch_events(self._deployment_id):
            if event.id not in self._told and not event.skipped:
                self._told.add(event.id)
                self._reporter.log(f"[{event.step.lower().replace('_', ' ')}]")
            if event.error:
                self.failure = f"{event.step}: {event.error}"
