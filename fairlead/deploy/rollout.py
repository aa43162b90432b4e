"""What a deploy does once nothing speaks against it, step by step, and what still serves when a step fails.

Success is claimed only when the platform says SUCCESS and the public URL serves the digest that was built, several
times in a row. Whatever fails, the last thing a deploy does is to find out whether the earlier release serves, and to
bring it back where a new one has taken its place.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fairlead._output import size
from fairlead.approval import Approval
from fairlead.config import Config, EnvironmentConfig
from fairlead.deploy.aftermath import Change, settle_failure
from fairlead.deploy.backup import Backup, make_backup
from fairlead.deploy.delivery import deliver
from fairlead.deploy.following import confirm, follow, look
from fairlead.deploy.lock import Lock
from fairlead.deploy.parcel import Parcel
from fairlead.deploy.preflight import Lint, Standing
from fairlead.deploy.record import Record
from fairlead.deploy.releases import Release, find_previous, next_number, read_release
from fairlead.deploy.reporting import Clock
from fairlead.deploy.suites import check_release
from fairlead.deploy.target import Target, TargetService
from fairlead.deploy.watch import Watch, fetch_release, fetch_same, fetch_service
from fairlead.exceptions import (
    DeadlineError,
    DeployError,
    Error,
    InconclusiveError,
    PlatformError,
)
from fairlead.railway import settings
from fairlead.verification import Judgement, Verdict

#: How long, in seconds, a canary is watched where nothing says otherwise.
_CANARY_WATCH = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a deploy is done.

    `back_up` backs up the environment's database before anything is sent; where it fails, nothing is sent. `lint` looks
    at the migrations that are new. `approve`, given the digest, returns the approval of an environment that asks for
    one or raises `ApprovalError`; `asks` says that it asks a person. `from_dirty` lets a tree with uncommitted changes
    go out. `watch` is in seconds, None for what the environment says. `canary` is the share of the requests, in per
    cent, that the new release gets while it is watched.
    """

    back_up: Callable[[], Backup] | None = None
    lint: Lint | None = None
    approve: Callable[[str], Approval] | None = None
    asks: bool = False
    from_dirty: bool = False
    watch: float | None = None
    canary: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a deploy ended well: the release that serves, whether it is new, and the seconds that each step took.

    `backup` is the one that was made first, where one was asked for. `verified` says that a release which was there
    already was looked at in full.
    """

    release: Release
    url: str
    changed: bool
    steps: dict[str, float]
    seconds: float
    backup: Backup | None = None
    verified: bool = False


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
        self._environment = environment
        self._target = target
        self._lock = lock
        self._clock = clock
        self._record = record
        self._options = options
        self._watch = environment.watch if options.watch is None else options.watch
        self._changes: list[Change] = []
        self._status = ""

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
            return self._keep(serving, standing)
        parcel = pack_parcel()
        info = parcel.info
        number = next_number(standing.known[target.web.kind])
        release = Release(number, digest, info.version, info.revision, by=info.actor, dirty=info.dirty)
        if target.web.kind in up_to_date and serving is not None:
            release = serving
        self._record.archive = parcel.sha256
        self._back_up()
        self._set_up(standing)
        earlier = before.digest or (serving.digest if serving else None)
        suspect: Change | None = None
        if target.web.kind in up_to_date and not self._record.recall(digest):
            suspect, earlier = self._suspect(target.web, standing, digest)
        with self._settled(earlier):
            doubt = self._send(parcel, release, standing, up_to_date, suspect=suspect)
        self._record.release = release.number
        if doubt is not None:
            raise doubt
        deployed = replace(release, deployment_id=self._changes[0].deployment_id, status=self._status)
        return Outcome(deployed, target.public_url, True, clock.steps, clock.seconds, self._record.backup)

    def _keep(self, serving: Release, standing: Standing) -> Outcome:
        """Leave what serves as it is, once it is known to be good: by the record here, or by looking at it in full.

        A deploy that was killed while it verified leaves a release that serves and that nobody has found good, and
        one may have been found good when the environment asked for fewer suites, or for none.
        """
        target, clock = self._target, self._clock
        self._record.release = serving.number
        kept = Outcome(serving, target.public_url, False, clock.steps, clock.seconds)
        if self._record.recall(serving.digest):
            return kept
        asked = "" if self._environment.suites == "off" else f" by its suites ({self._environment.suites})"
        told = f"release {serving.number} serves already, and is not known to be good{asked}: it is verified now"
        clock.reporter.note(told)
        (web, earlier), *_ = [self._suspect(service, standing, serving.digest) for service in target.services]
        with self._settled(earlier):
            self._verify(serving.digest)
            doubt = _join(self._check_suites(serving.digest), self._watch_service(serving.digest, web))
        if doubt is not None:
            raise doubt
        return replace(kept, steps=clock.steps, seconds=clock.seconds, verified=True)

    def _suspect(self, service: TargetService, standing: Standing, digest: str) -> tuple[Change, str | None]:
        """Take what a service serves already for something that this deploy sent, to be undone if it is no good.

        Returns that change, and the digest of what it is undone to.
        """
        current = standing.serving(service)
        to = find_previous(standing.known[service.kind], digest)
        change = Change(service, to, current.deployment_id if current is not None else "", took_over=True)
        self._changes.append(change)
        earlier = read_release(to) if to is not None else None
        return change, earlier.digest if earlier is not None else None

    @contextlib.contextmanager
    def _settled(self, earlier: str | None) -> Iterator[None]:
        """Make sure of the earlier release, of that digest, where the block fails."""
        try:
            yield
        except (DeployError, PlatformError) as error:
            self._give_up(error)
            raise settle_failure(
                self._config,
                self._target,
                self._changes,
                error,
                earlier=earlier,
                lock=self._lock,
                clock=self._clock,
            ) from error
        except KeyboardInterrupt:
            begun = ", ".join(change.deployment_id for change in self._changes)
            if begun:
                self._clock.reporter.note(
                    f"the platform goes on with deployment {begun}; `invoke releases` shows how it ends"
                )
            raise

    def _back_up(self) -> None:
        if self._options.back_up is None:
            return
        with self._clock.step("backup") as detail:
            kept = self._record.backup = make_backup(self._options.back_up)
            detail.append(f"{kept.file} ({size(kept.size)}, migration {kept.migration or 'none'})")

    def _set_up(self, standing: Standing) -> None:
        """Change the settings of the services that are not as they are declared; they hold from the next deployment."""
        target = self._target
        for service in target.services:
            differences = standing.differences.get(service.kind, ())
            if differences:
                with self._clock.step(f"settings {service.kind}") as detail:
                    target.client.update_service_instance(
                        settings.make_update(differences),
                        environment_id=target.environment_id,
                        service_id=service.id,
                    )
                    detail.append("; ".join(one.name for one in differences))

    def _send(
        self,
        parcel: Parcel,
        release: Release,
        standing: Standing,
        up_to_date: set[str],
        *,
        suspect: Change | None = None,
    ) -> InconclusiveError | None:
        """Send the parcel to each service that does not have it, the web first; return what was left open.

        `suspect` is the web's release where it serves already and nobody has found it good.
        """
        target, canary = self._target, self._options.canary
        pending = [service for service in target.services if service.kind not in up_to_date]
        web = suspect
        if suspect is not None:
            self._verify(parcel.digest)
        if target.web in pending:
            pending.remove(target.web)
            web = self._deliver(target.web, parcel, release, standing, canary=canary)
            self._verify(parcel.digest, deployment_id=web.deployment_id if canary is not None else None)
            if canary is not None and (doubt := self._try_canary(parcel.digest, web)) is not None:
                return doubt
        # The other services follow all the same where nothing can be said: two releases side by side are no better.
        doubt = self._check_suites(parcel.digest) if web is not None else None
        for service in pending:
            self._deliver(service, parcel, release, standing)
        watched = web is not None and (canary is None or web is suspect)
        return _join(doubt, self._watch_service(parcel.digest, web) if web is not None and watched else None)

    def _deliver(
        self,
        service: TargetService,
        parcel: Parcel,
        release: Release,
        standing: Standing,
        *,
        canary: float | None = None,
    ) -> Change:
        clock, target = self._clock, self._target
        self._lock.note(sending=release.to_message())
        change = deliver(target, service, parcel, release, standing=standing, clock=clock, canary=canary)
        self._changes.append(change)
        self._lock.note(deployments=[one.deployment_id for one in self._changes])
        with clock.step(service.step("follow")) as detail:
            ended = follow(self._config, target, change.deployment_id, clock.reporter)
            change.took_over = canary is None
            self._status = str(ended.status)
            detail.append(f"the platform says {ended.status}")
        return change

    def _verify(self, digest: str, *, deployment_id: str | None = None) -> None:
        with self._clock.step("verify") as detail:
            confirm(self._config, self._target, digest, deployment_id=deployment_id)
            detail.append(f"the digest was served {self._config.deploy.confirmations} times in a row")

    def _check_suites(self, digest: str) -> InconclusiveError | None:
        return check_release(
            self._config, self._environment, self._target, digest, clock=self._clock, record=self._record
        )

    def _give_up(self, error: Error) -> None:
        """Have the platform end what it may still be working on, so that it does not take over after all."""
        place = self._target
        for change in self._changes:
            if change.took_over:
                continue
            with contextlib.suppress(PlatformError):
                deployment = place.client.fetch_deployment(change.deployment_id)
                if deployment.meta.get("canary") is not None and deployment.status.is_success:
                    place.settle_canary(change.deployment_id, take_over=False)
                elif isinstance(error, DeadlineError) or deployment.status.is_in_flight:
                    place.client.cancel(change.deployment_id)

    def _watch_service(self, digest: str, web: Change) -> InconclusiveError | None:
        """Watch the release that took over; return why nothing can be said of it, where that is so."""
        if not self._watch:
            return None
        target = self._target
        after = before = fetch_service(target)
        if target.local and web.before is not None:
            before = fetch_same(target, web.before)
            after = fetch_release(target, web.deployment_id)
        judgement = self._look_on(
            Watch(self._config, target, digest=digest, seconds=self._watch, before=before, after=after)
        )
        if judgement.verdict is Verdict.HEALTHY:
            return None
        back = f"invoke rollback --env {self._record.environment.name}"
        return InconclusiveError(
            f"the new release serves, and whether it is as good is open: {judgement.reason}",
            hint=f"it goes on serving at {target.public_url}; to go back: {back}",
        )

    def _try_canary(self, digest: str, web: Change) -> InconclusiveError | None:
        """Watch the canary beside the release that serves, and let it take over; return why it may not, if so."""
        target = self._target
        watch = Watch(
            self._config,
            target,
            digest=digest,
            seconds=self._watch or _CANARY_WATCH,
            before=fetch_release(target, web.before.id if web.before is not None else ""),
            after=fetch_release(target, web.deployment_id),
            beside=True,
            deployment_id=web.deployment_id,
        )
        judgement = self._look_on(watch)
        healthy = judgement.verdict is Verdict.HEALTHY
        with self._clock.step("take over" if healthy else "withdraw"):
            target.settle_canary(web.deployment_id, take_over=healthy)
            if healthy:
                web.took_over = True
                confirm(self._config, target, digest)
                return None
        return InconclusiveError(
            f"the canary was withdrawn, and the earlier release serves: {judgement.reason}",
            hint="watch for longer (--watch), or give it a larger share (--canary)",
        )

    def _look_on(self, watch: Watch) -> Judgement:
        with self._clock.step("watch") as detail:
            judgement = watch.run(self._clock.reporter)
            detail.append(f"{judgement.verdict}: {judgement.reason}")
        return judgement


def _join(*doubts: InconclusiveError | None) -> InconclusiveError | None:
    """Make one of what was left open; None where nothing was."""
    left = [one for one in doubts if one is not None]
    return InconclusiveError("; ".join(one.message for one in left), hint=left[0].hint) if left else None
