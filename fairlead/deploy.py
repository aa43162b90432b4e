"""Deploys: preflight, bundle, lock, upload, follow, verify, record. Knows no HTTP and no SQL; composes what does.

Success is claimed only when the platform says SUCCESS and the public URL serves the digest that was built, several
times in a row. Whatever fails, the last thing a deploy does is to find out whether the earlier release still serves.
"""

import contextlib
import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from fairlead import build, bundle, migrations
from fairlead._output import redact
from fairlead._polling import wait_until
from fairlead.bundle import Bundle
from fairlead.config import Config, EnvironmentConfig
from fairlead.exceptions import (
    ApprovalError,
    ConfigurationError,
    DeployError,
    Error,
    LockedError,
    MigrationError,
    PlatformError,
    PreflightError,
    UnsafeDeployError,
)
from fairlead.history import Event, History
from fairlead.railway import Deployment, DeploymentStatus, LogLine, RailwayClient
from fairlead.verification import Probe, Report, Verdict, wait_for_release

_MARK = "fairlead"
#: How long, in seconds, the public URL may take to show the new release, and how long it may show the one before.
_CONFIRMED_IN = 30.0
_REPLACED_IN = 5.0


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
class Target:
    """Where a deploy goes: the platform's client, the ids it needs, and the URL that the public sees."""

    client: RailwayClient
    project_id: str
    environment_id: str
    service_id: str
    public_url: str
    notes: tuple[str, ...] = ()

    def deployments(self) -> tuple[Deployment, ...]:
        """Fetch the latest deployments, newest first."""
        return self.client.fetch_deployments(
            project_id=self.project_id, environment_id=self.environment_id, service_id=self.service_id
        )


@dataclass(frozen=True, slots=True)
class Release:
    """One bundle deployed to one environment."""

    number: int
    digest: str
    version: str
    revision: str
    deployment_id: str = ""
    status: str = ""
    created_at: str = ""

    def to_message(self) -> str:
        """Render the text that the platform keeps with the deployment."""
        return f"{_MARK} release={self.number} digest={self.digest} version={self.version} revision={self.revision}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a deploy ended well: the release that serves, whether it is new, and the seconds that each step took."""

    release: Release
    url: str
    changed: bool
    steps: dict[str, float]
    seconds: float
    notes: tuple[str, ...] = ()


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


def plan(config: Config, environment: EnvironmentConfig, *, from_dirty: bool = False) -> tuple[Bundle, tuple[str, ...]]:
    """Make the bundle that a deploy would send and collect every reason not to send it.

    Touches nothing and asks nobody. Raises `PreflightError` when there is no bundle to speak of.
    """
    info = build.collect(config.root, name=config.name, version=config.version, environ=config.environ)
    problems: list[str] = []
    try:
        made = bundle.make_bundle(config, info)
    except PreflightError as error:
        made, problems = Bundle((), info), list(error.problems)
    try:
        if not migrations.load_migrations(config.migrations.directory):
            problems.append(f"{config.migrations.directory} holds no migration")
    except MigrationError as error:
        problems.append(error.message)
    if environment.branch and info.branch != environment.branch:
        problems.append(f"{environment.name} is deployed from branch {environment.branch}, and this is {info.branch}")
    if info.dirty and environment.platform != "local" and not from_dirty:
        problems.append("the tree has uncommitted changes; commit them, or pass --from-dirty to deploy them marked so")
    return made, tuple(problems)


def deploy(
    config: Config,
    environment: EnvironmentConfig,
    *,
    open_target: Callable[[], contextlib.AbstractContextManager[Target]],
    reporter: Reporter,
    approved: bool = False,
    from_dirty: bool = False,
) -> Outcome:
    """Deploy the tree at `config.root` to `environment` and verify it.

    `open_target` gives the platform, started if it is one that Fairlead starts. Raises `PreflightError`,
    `ApprovalError` and `LockedError` before anything was changed, `PlatformError` when the platform cannot be used,
    `DeployError` when the earlier release serves, and `UnsafeDeployError` when nothing vouches for that.
    """
    clock = _Clock(reporter)
    with clock.step("preflight") as detail:
        made, problems = plan(config, environment, from_dirty=from_dirty)
        if problems:
            message = f"the deploy to {environment.name} was refused"
            raise PreflightError(message, problems=problems, hint="mend these and run it again; nothing was changed")
        if environment.approval and not approved:
            hint = "answer the question on a terminal, or pass --auto-confirm"
            raise ApprovalError(f"a deploy to {environment.name} needs approval", hint=hint)
        detail.append(f"{len(made.entries)} files, {made.info.title}")
    with _locked(config, environment), contextlib.ExitStack() as stack:
        with clock.step("platform") as detail:
            target = stack.enter_context(open_target())
            detail.append(target.public_url)
        for note in target.notes:
            reporter.note(note)
        try:
            outcome = _deploy_to(config, target, made, clock)
        except (Error, KeyboardInterrupt) as error:
            _record(config, environment, made, clock, error=error)
            raise
    _record(config, environment, made, clock, outcome=outcome)
    return outcome


def _deploy_to(config: Config, target: Target, made: Bundle, clock: _Clock) -> Outcome:
    known = target.deployments()
    serving = find_serving(known)
    before = _look(config, target, confirmations=1, timeout=2.0)
    if serving is not None and serving.digest == made.digest == before.digest and before.verdict is Verdict.HEALTHY:
        return Outcome(serving, target.public_url, False, clock.steps, clock.seconds, target.notes)
    release = Release(_next_number(known), made.digest, made.info.version, made.info.revision)
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
        raise _aftermath(config, target, before, error) from error
    deployed = Release(
        release.number, release.digest, release.version, release.revision, deployment_id, str(ended.status)
    )
    return Outcome(deployed, target.public_url, True, clock.steps, clock.seconds, target.notes)


def _upload(target: Target, made: Bundle, release: Release, reporter: Reporter, detail: list[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="fairlead-") as folder:
        archive = Path(folder, "bundle.tar.gz")
        size = made.write(archive)
        answer = target.client.upload(
            archive,
            project_id=target.project_id,
            environment_id=target.environment_id,
            service_id=target.service_id,
            message=release.to_message(),
            on_progress=reporter.uploaded,
        )
    detail.append(f"{size / 1000:.0f} kB, release {release.number}, {made.digest[:19]}…")
    return answer.deployment_id


def _follow(config: Config, target: Target, deployment_id: str, reporter: Reporter) -> Deployment:
    """Follow a deployment to its end; return it when it succeeded, raise `DeployError` when it did not."""
    client = target.client
    tails = [_Tail(deployment_id, fetch, reporter) for fetch in (client.fetch_build_logs, client.fetch_deployment_logs)]

    def ended(remaining: float) -> Deployment | None:  # noqa: ARG001 - the client bounds its own calls
        deployment = client.fetch_deployment(deployment_id)
        for tail in tails:
            tail.show()
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
    said = f": {deployment.diagnosis}" if deployment.diagnosis else ""
    raise DeployError(
        f"the deployment ended as {deployment.status}{said}", hint="invoke platform.logs shows what it printed"
    )


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


def _aftermath(config: Config, target: Target, before: Report, error: Error) -> Error:
    """Find out what serves after a failed deploy, and say so in the error that ends it."""
    if before.digest is None:
        return DeployError(f"{error.message}; there is no earlier release", hint=error.hint)
    after = _look(config, target, digest=before.digest, confirmations=config.deploy.confirmations, timeout=_REPLACED_IN)
    if after.verdict is Verdict.HEALTHY:
        return DeployError(
            f"{error.message}; the earlier release still serves ({before.digest[:19]}…)", hint=error.hint
        )
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


def read_releases(deployments: tuple[Deployment, ...]) -> tuple[Release, ...]:
    """Read the releases among a platform's deployments, in their order; what Fairlead did not make is left out."""
    return tuple(release for deployment in deployments if (release := _read_release(deployment)) is not None)


def _read_release(deployment: Deployment) -> Release | None:
    words = (deployment.message or "").split()
    if not words or words[0] != _MARK:
        return None
    facts = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    if not facts.get("release", "").isdigit():
        return None
    return Release(
        number=int(facts["release"]),
        digest=facts.get("digest", ""),
        version=facts.get("version", ""),
        revision=facts.get("revision", ""),
        deployment_id=deployment.id,
        status=str(deployment.status),
        created_at=deployment.created_at.isoformat(timespec="seconds"),
    )


def find_serving(deployments: tuple[Deployment, ...]) -> Release | None:
    """Return the newest release that the platform says is serving."""
    return next((one for one in read_releases(deployments) if one.status == DeploymentStatus.SUCCESS), None)


def _next_number(deployments: tuple[Deployment, ...]) -> int:
    """Return the number after the newest release that once served; a deployment that failed uses none up."""
    served = {"SUCCESS", "REMOVED", "REMOVING", "SLEEPING", "CRASHED"}
    return 1 + max((one.number for one in read_releases(deployments) if one.status in served), default=0)


@contextlib.contextmanager
def _locked(config: Config, environment: EnvironmentConfig) -> Iterator[None]:
    """Hold the environment's deploy lock; it goes with the process, however that ends."""
    file = config.state_dir / "locks" / f"{environment.name}.lock"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        hint = "free some space or mend the folder's permissions"
        raise PlatformError(f"the deploy lock {file} cannot be made: {error.strerror}", hint=hint) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked_by(environment, os.pread(handle, 4096, 0)) from None
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).strftime("%H:%M:%S UTC")}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(owner).encode(), 0)
        yield
    finally:
        os.close(handle)


def _locked_by(environment: EnvironmentConfig, text: bytes) -> LockedError:
    owner: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        owner = json.loads(text)
    who = f"process {owner['pid']} on {owner['host']} since {owner['since']}" if owner else "another process"
    return LockedError(f"{environment.name} is being deployed by {who}", hint="wait for it to end, then run this again")


def _record(
    config: Config,
    environment: EnvironmentConfig,
    made: Bundle,
    clock: _Clock,
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
            detail=redact(str(error)) if error is not None else None,
        )
    )


@contextlib.contextmanager
def open_railway(config: Config, environment: EnvironmentConfig) -> Iterator[Target]:
    """Open the Railway environment that `environment` names, with the token from its variable."""
    variable = environment.token_env or "RAILWAY_TOKEN"
    token = config.environ.get(variable)
    if not token:
        raise ConfigurationError(f"{variable} is not set", hint=f"set it to a project token of {environment.name}")
    if not environment.url:
        where = f"tool.fairlead.environments.{environment.name}.url"
        raise ConfigurationError(f"{where} is missing", hint="a deploy is verified at its public URL")
    with RailwayClient(token) as client:
        scope = client.fetch_project_token()
        name = environment.services.get("web") or config.name
        service = next((one for one in scope.services if name in {one.name, one.id}), None)
        if service is None:
            known = ", ".join(sorted(one.name for one in scope.services)) or "none"
            hint = f"name one in [tool.fairlead.environments.{environment.name}] services; the project has: {known}"
            raise PlatformError(f"project {scope.project_name} has no service {name!r}", hint=hint)
        yield Target(client, scope.project_id, scope.environment_id, service.id, environment.url)


@contextlib.contextmanager
def open_local(config: Config, *, start: bool = True) -> Iterator[Target]:
    """Open the local platform; started if it does not run, or with `start` off refused with `PlatformError`."""
    from fairlead import localplatform

    endpoint = localplatform.start(config) if start else localplatform.find(config)
    if endpoint is None:
        raise PlatformError(
            "the local platform is not running", hint="invoke platform.up, or invoke deploy --env local"
        )
    notes = []
    if endpoint.port != endpoint.wanted_port:
        notes.append(f"port {endpoint.wanted_port} is taken by another program; serving on {endpoint.port} instead")
    with RailwayClient(endpoint.token, url=endpoint.api_url) as client:
        yield Target(
            client, endpoint.project_id, endpoint.environment_id, endpoint.service_id, endpoint.public_url, tuple(notes)
        )
