"""What serves after a failed deploy: the earlier release, looked at, or brought back and then looked at."""

import time
from dataclasses import dataclass

from fairlead._polling import wait_until
from fairlead.config import Config
from fairlead.deploy.following import CONFIRMED_IN, follow, look
from fairlead.deploy.lock import Lock
from fairlead.deploy.reporting import Clock
from fairlead.deploy.target import Target, TargetService
from fairlead.exceptions import DeployError, Error, PlatformError, UnsafeDeployError
from fairlead.railway import Deployment, DeploymentStatus
from fairlead.verification import Verdict

#: How long, in seconds, the platform may take to list the deployment that a rollback began.
_BEGUN_IN = 20.0
#: How long, in seconds, it may take to remove a deployment: it is left to finish its requests.
_REMOVED_IN = 60.0


@dataclass(slots=True)
class Change:
    """One service that a deploy sent something to: what served before, and what it got.

    `took_over` says that the platform let the new release take the place of the one before.
    """

    service: TargetService
    before: Deployment | None
    deployment_id: str
    took_over: bool = False


def settle_failure(
    config: Config,
    target: Target,
    changes: list[Change],
    error: Error,
    *,
    earlier: str | None,
    lock: Lock,
    clock: Clock,
) -> Error:
    """Make sure of the earlier release after a failed deploy, and say what serves in the error that ends it.

    `earlier` is the digest that the public URL served before or, where it said nothing, that of the release which the
    platform said was serving; None when there was neither. Where a new release has taken over, every service is rolled
    back, the last one first.
    """
    if earlier is None:
        return DeployError(f"{error.message}; there is no earlier release", hint=error.hint)
    if stranger := _find_stranger(target, changes):
        failure = PlatformError(f"deployment {stranger} of somebody else's took over, so nothing was rolled back")
        return _unsafe(target, error, failure)
    told = f"({earlier[:19]}…)"
    taken = [change for change in reversed(changes) if change.took_over]
    if not taken:
        try:
            _see(config, target, earlier)
        except PlatformError as failure:
            if not changes:
                return _unsafe(target, error, failure)
            # Whatever the platform says of the new release, the earlier one does not serve.
            taken = list(reversed(changes))
        else:
            return DeployError(f"{error.message}; the earlier release still serves {told}", hint=error.hint)
    try:
        with clock.step("rollback") as detail:
            for change in taken:
                roll_back_to(config, target, change.service, change.before, lock=lock, clock=clock)
            _see(config, target, earlier)
            detail.append(f"{earlier[:19]}… serves again")
    except Error as failure:
        return _settle_without_rollback(config, target, error, failure, earlier)
    message = f"{error.message}; it was rolled back, and the earlier release serves again {told}"
    return DeployError(message, hint=error.hint)


def _settle_without_rollback(config: Config, target: Target, error: Error, failure: Error, earlier: str) -> Error:
    """Say what serves where a rollback failed: now and then it is the earlier release all the same."""
    try:
        _see(config, target, earlier)
    except PlatformError:
        return _unsafe(target, error, failure)
    message = f"{error.message}; the earlier release still serves ({earlier[:19]}…), and no rollback could be made: "
    return DeployError(message + failure.message, hint=f"look at {target.public_url}: the platform may think otherwise")


def _find_stranger(target: Target, changes: list[Change]) -> str | None:
    """Return the deployment that took over and is neither this deploy's nor the one before; it is not ours to undo."""
    for change in changes:
        own = {change.deployment_id, change.before.id if change.before is not None else None}
        try:
            found = target.deployments(change.service)
        except PlatformError:
            return None
        newest = next((one for one in found if one.status.is_success and one.meta.get("canary") is None), None)
        if newest is not None and newest.id not in own:
            return newest.id
    return None


def _see(config: Config, target: Target, digest: str) -> None:
    found = look(config, target, digest=digest, confirmations=config.deploy.confirmations, timeout=CONFIRMED_IN)
    if found.verdict is not Verdict.HEALTHY:
        raise PlatformError(found.reason)


def _unsafe(target: Target, error: Error, failure: Error) -> Error:
    message = f"{error.message}; and the earlier release could not be verified: {failure.message}"
    return UnsafeDeployError(message, hint=f"look at {target.public_url} now; docs/runbooks/incident.md")


def roll_back_to(
    config: Config, target: Target, service: TargetService, to: Deployment | None, *, lock: Lock, clock: Clock
) -> Deployment:
    """Have the platform bring back what a deployment was, and follow that to its end.

    The platform answers no more than that it began, so the new deployment is looked for among the latest ones; also
    where its answer was lost, since it may have begun all the same. Raises `DeployError` or `PlatformError`.
    """
    if to is None:
        raise DeployError(f"{service.name} had no release before")
    fresh = _wait_while_removing(target, to)
    if fresh.status.is_success and not fresh.stopped:
        return fresh
    if not fresh.can_rollback:
        raise DeployError(f"the platform no longer has what deployment {to.id} was, and cannot roll back to it")
    known = {one.id for one in target.deployments(service)}
    lock.note(sending=to.message)
    lost: PlatformError | None = None
    try:
        target.client.roll_back(to.id)
    except PlatformError as error:
        lost = error

    def begun(_remaining: float) -> Deployment | None:
        found = (one for one in target.deployments(service) if one.id not in known)
        return next((one for one in found if one.reason in {None, "rollback"} or one.message == to.message), None)

    try:
        new = wait_until(
            begun,
            timeout=_BEGUN_IN if lost is None else 2.0,
            interval=0.02,
            longest_interval=1.0,
            what="the platform to begin the rollback",
        )
    except PlatformError:
        raise lost or PlatformError("the platform took the rollback and shows no deployment of it") from None
    return follow(config, target, new.id, clock.reporter)


def _wait_while_removing(target: Target, to: Deployment) -> Deployment:
    """Fetch a deployment, and again for as long as it is being removed: only then can it be rolled back to."""

    def settled(remaining: float) -> Deployment | None:
        found = target.client.fetch_deployment(to.id)
        removing = found.status == DeploymentStatus.REMOVING and not found.can_rollback
        return None if removing and remaining > 0 else found

    what = f"the platform to remove deployment {to.id}"
    return wait_until(settled, timeout=_REMOVED_IN, longest_interval=2.0, what=what)


def take_up(config: Config, target: Target, lock: Lock, clock: Clock) -> tuple[str, ...]:
    """Bring what a killed act left to its end, before anything else is done; return what is told of it.

    Its deployments in flight are waited for, and its canary is withdrawn.
    """
    left = lock.describe_left()
    if left is not None:
        clock.reporter.note(left)
    for service in target.services:
        for one in target.deployments(service):
            if one.status.is_in_flight and lock.began(one.id, one.message):
                _wait_for(config, target, one, clock)
    for one in target.deployments():
        if one.status.is_success and one.meta.get("canary") is not None:
            clock.reporter.note(f"withdrawing the canary that an earlier deploy left: deployment {one.id}")
            target.settle_canary(one.id, take_over=False)
    return () if left is None else (left,)


def _wait_for(config: Config, target: Target, deployment: Deployment, clock: Clock) -> None:
    with clock.step("wait") as detail:
        began = time.monotonic()
        try:
            how = str(follow(config, target, deployment.id, clock.reporter).status)
        except DeployError as error:
            how = error.message
        detail.append(f"deployment {deployment.id}: {how} after {time.monotonic() - began:.1f} s")
