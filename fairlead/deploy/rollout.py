"""What a deploy does once nothing speaks against it, step by step, and what still serves when a step fails.

Success is claimed only when the platform says SUCCESS and the public URL serves the digest that was built, several
times in a row. Whatever fails, the last thing a deploy does is to find out whether the earlier release serves, and to
bring it back where a new one has taken its place.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from fairlead._output import size
from fairlead._polling import wait_until
from fairlead.approval import Approval
from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.aftermath import Change, settle_failure
from fairlead.deploy.backup import Backup, Keeper
from fairlead.deploy.following import confirm, follow, look
from fairlead.deploy.lock import Lock
from fairlead.deploy.parcel import Parcel
from fairlead.deploy.preflight import Lint, Standing
from fairlead.deploy.record import Record
from fairlead.deploy.releases import Release, next_number
from fairlead.deploy.reporting import Clock
from fairlead.deploy.target import Target, TargetService
from fairlead.deploy.watch import Watch, fetch_release, fetch_service
from fairlead.exceptions import (
    AuthenticationError,
    DeadlineError,
    DeployError,
    Error,
    InconclusiveError,
    PlatformError,
    RateLimitError,
    ResponseError,
)
from fairlead.railway import Deployment
from fairlead.verification import Verdict

#: How long, in seconds, a canary is watched where nothing says otherwise.
_CANARY_WATCH = 60.0
#: How long, in seconds, an upload whose answer was lost is looked for, and one that was answered with an error.
_TAKEN_IN = 10.0
_REFUSED_IN = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a deploy is done.

    `back_up` backs up the environment's database before anything is sent; where it fails, nothing is sent. `lint` looks
    at the migrations that are new. `approve`, given the digest, returns the approval of an environment that asks for
    one or raises `ApprovalError`. `from_dirty` lets a tree with uncommitted changes go out. `watch` is in seconds, None
    for what the environment says. `canary` is the share of the requests, in per cent, that the new release gets while
    it is watched.
    """

    back_up: Callable[[], Backup] | None = None
    lint: Lint | None = None
    approve: Callable[[str], Approval] | None = None
    from_dirty: bool = False
    watch: float | None = None
    canary: float | None = None


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


class Rollout:
    """One deploy that has begun: what it sent so far, and what served before."""

    def __init__(
        self,
        config: Config,
        environment: EnvironmentConfig,
        target: Target,
        lock: Lock,
        clock: Clock,
        record: Record,
        options: Options,
    ) -> None:
        self._config = config
        self._target = target
        self._lock = lock
        self._clock = clock
        self._record = record
        self._options = options
        self._watch = environment.watch if options.watch is None else options.watch
        self._changes: list[Change] = []

    def run(self, pack_parcel: Callable[[], Parcel], digest: str, standing: Standing) -> Outcome:
        """Send what is to be sent and see it through; the errors are those of `fairlead.deploy.sending.deploy`."""
        config, target, clock = self._config, self._target, self._clock
        serving = standing.serving(target.web)
        before = look(config, target, confirmations=1, timeout=2.0)
        current = {service.kind: one for service in target.services if (one := standing.serving(service)) is not None}
        up_to_date = {kind for kind, release in current.items() if release.digest == digest}
        if before.digest != digest or before.verdict is not Verdict.HEALTHY:
            up_to_date.discard(target.web.kind)
        if serving is not None and len(up_to_date) == len(target.services):
            self._record.release = serving.number
            return Outcome(serving, target.public_url, False, clock.steps, clock.seconds)
        parcel = pack_parcel()
        info = parcel.info
        number = next_number(standing.known[target.web.kind])
        release = Release(number, digest, info.version, info.revision, by=info.actor, dirty=info.dirty)
        if target.web.kind in up_to_date and serving is not None:
            release = serving
        self._record.archive = parcel.sha256
        self._back_up()
        earlier = before.digest or (serving.digest if serving else None)
        try:
            status = self._send_all(parcel, release, standing, up_to_date)
            verdict = self._look_on(digest)
        except (DeployError, PlatformError) as error:
            self._give_up(error)
            raise settle_failure(config, target, self._changes, error, earlier=earlier, clock=clock) from error
        except KeyboardInterrupt:
            begun = ", ".join(change.deployment_id for change in self._changes)
            if begun:
                clock.reporter.note(
                    f"the platform goes on with deployment {begun}; `invoke releases` shows how it ends"
                )
            raise
        self._record.release = release.number
        deployed = replace(release, deployment_id=self._changes[0].deployment_id, status=status)
        if verdict is not None:
            raise verdict
        return Outcome(deployed, target.public_url, True, clock.steps, clock.seconds, self._record.backup)

    def _back_up(self) -> None:
        keeper = Keeper(self._options.back_up)
        if keeper.back_up is None:
            return
        with self._clock.step("backup") as detail:
            if kept := keeper.keep():
                self._record.backup = kept
                detail.append(f"{kept.file} ({size(kept.size)}, migration {kept.migration or 'none'})")

    def _send_all(self, parcel: Parcel, release: Release, standing: Standing, up_to_date: set[str]) -> str:
        """Send the parcel to each service that does not have it, the web first; return what the platform says last."""
        status = ""
        for service in self._target.services:
            if service.kind in up_to_date:
                continue
            web = service == self._target.web
            label = "" if web else f" {service.kind}"
            change = self._upload(parcel, release, service, standing, label)
            with self._clock.step(f"follow{label}") as detail:
                ended = follow(self._config, self._target, change.deployment_id, self._clock.reporter)
                change.took_over = self._options.canary is None or not web
                status = str(ended.status)
                detail.append(f"the platform says {status}")
            if web:
                with self._clock.step("verify") as detail:
                    named = change.deployment_id if self._options.canary is not None else None
                    confirm(self._config, self._target, parcel.digest, deployment_id=named)
                    detail.append(f"the digest was served {self._config.deploy.confirmations} times in a row")
        return status

    def _upload(
        self, parcel: Parcel, release: Release, service: TargetService, standing: Standing, label: str
    ) -> Change:
        target = self._target
        serving = standing.serving(service)
        known = standing.known[service.kind]
        before = next((one for one in known if serving is not None and one.id == serving.deployment_id), None)
        with self._clock.step(f"upload{label}") as detail:
            try:
                answer = target.client.upload(
                    parcel.archive,
                    project_id=target.project_id,
                    environment_id=target.environment_id,
                    service_id=service.id,
                    message=release.to_message(),
                    canary=self._options.canary if service == target.web else None,
                    on_progress=self._clock.reporter.uploaded,
                )
                change = Change(service, before, answer.deployment_id)
            except (AuthenticationError, RateLimitError):
                raise
            except PlatformError as error:
                change = Change(service, before, self._find_taken(release, service, known, error))
            self._changes.append(change)
            self._lock.note(deployments=[one.deployment_id for one in self._changes])
            detail.append(f"{size(parcel.size)}, release {release.number}, {parcel.digest[:19]}…")
        return change

    def _find_taken(
        self, release: Release, service: TargetService, known: tuple[Deployment, ...], error: PlatformError
    ) -> str:
        """Return the deployment that an upload began whose answer was lost; raise the upload's `error` without one."""
        ids, message = {one.id for one in known}, release.to_message()

        def begun(_remaining: float) -> str | None:
            found = self._target.deployments(service)
            return next((one.id for one in found if one.id not in ids and one.message == message), None)

        patience = _REFUSED_IN if isinstance(error, ResponseError) else _TAKEN_IN
        try:
            deployment_id = wait_until(begun, timeout=patience, what="the deployment that was uploaded")
        except PlatformError:
            raise error from None
        self._clock.reporter.note(f"the upload's answer was lost ({error.message}), but the platform has taken it")
        return deployment_id

    def _give_up(self, error: Error) -> None:
        """Have the platform end what it may still be working on, so that it does not take over after all."""
        canary = self._options.canary is not None
        if not self._changes or self._changes[-1].took_over:
            return
        place, deployment_id = self._target, self._changes[-1].deployment_id
        with contextlib.suppress(PlatformError):
            if canary and self._changes[-1].service == place.web:
                place.client.settle_canary(
                    deployment_id, take_over=False, project_id=place.project_id, environment_id=place.environment_id
                )
            elif isinstance(error, DeadlineError) or place.client.fetch_deployment(deployment_id).status.is_in_flight:
                place.client.cancel(deployment_id)

    def _look_on(self, digest: str) -> InconclusiveError | None:
        """Watch the new release, let a canary take over; return why the watch could not tell, where it could not."""
        web = next((change for change in self._changes if change.service == self._target.web), None)
        if web is None or (not self._watch and self._options.canary is None):
            return None
        with self._clock.step("watch") as detail:
            judgement = self._make_watch(digest, web).run(self._clock.reporter)
            detail.append(f"{judgement.verdict}: {judgement.reason}")
        if self._options.canary is not None:
            return self._settle_canary(digest, web, judgement.reason, healthy=judgement.verdict is Verdict.HEALTHY)
        if judgement.verdict is Verdict.HEALTHY:
            return None
        hint = f"it goes on serving; watch it: {self._target.public_url}, or go back: invoke rollback"
        return InconclusiveError(
            f"the new release serves, and whether it is as good is open: {judgement.reason}", hint=hint
        )

    def _make_watch(self, digest: str, web: Change) -> Watch:
        target = self._target
        if self._options.canary is None:
            after = before = fetch_service(target)
            if target.local and web.before is not None:
                before = fetch_release(target, web.before.id)
            return Watch(self._config, target, digest=digest, seconds=self._watch, before=before, after=after)
        earlier = web.before.id if web.before is not None else ""
        return Watch(
            self._config,
            target,
            digest=digest,
            seconds=self._watch or _CANARY_WATCH,
            before=fetch_release(target, earlier),
            after=fetch_release(target, web.deployment_id),
            beside=True,
            deployment_id=web.deployment_id,
        )

    def _settle_canary(self, digest: str, web: Change, reason: str, *, healthy: bool) -> InconclusiveError | None:
        target = self._target
        with self._clock.step("take over" if healthy else "withdraw"):
            target.client.settle_canary(
                web.deployment_id, take_over=healthy, project_id=target.project_id, environment_id=target.environment_id
            )
            if healthy:
                web.took_over = True
                confirm(self._config, target, digest)
                return None
        return InconclusiveError(
            f"the canary was withdrawn, and the earlier release serves: {reason}",
            hint="watch for longer (--watch), or give it a larger share (--canary)",
        )
