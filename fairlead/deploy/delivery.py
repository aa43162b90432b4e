"""Sends a parcel to one service, and finds the deployment that it began also where the platform's answer was lost."""

from fairlead._output import size
from fairlead._polling import wait_until
from fairlead.deploy.aftermath import Change
from fairlead.deploy.parcel import Parcel
from fairlead.deploy.preflight import Standing
from fairlead.deploy.releases import Release
from fairlead.deploy.reporting import Clock
from fairlead.deploy.target import Target, TargetService
from fairlead.exceptions import AuthenticationError, PlatformError, RateLimitError, ResponseError
from fairlead.railway import Deployment

#: How long, in seconds, an upload whose answer was lost is looked for, and one that was answered with an error.
_TAKEN_IN = 10.0
_REFUSED_IN = 1.0


def deliver(
    target: Target,
    service: TargetService,
    parcel: Parcel,
    release: Release,
    *,
    standing: Standing,
    clock: Clock,
    canary: float | None = None,
) -> Change:
    """Upload a parcel to a service and return what that changes; raise `PlatformError` where nothing was begun."""
    serving, known = standing.serving(service), standing.known[service.kind]
    before = next((one for one in known if serving is not None and one.id == serving.deployment_id), None)
    with clock.step(service.step("upload")) as detail:
        try:
            deployment_id = target.client.upload(
                parcel.archive,
                project_id=target.project_id,
                environment_id=target.environment_id,
                service_id=service.id,
                message=release.to_message(),
                canary=canary,
                on_progress=clock.reporter.uploaded,
            ).deployment_id
        except (AuthenticationError, RateLimitError):
            raise
        except PlatformError as error:
            deployment_id = _find_taken(target, service, release, known, error)
            clock.reporter.note(f"the upload's answer was lost ({error.message}), but the platform has taken it")
        detail.append(f"{size(parcel.size)}, release {release.number}, {parcel.digest[:19]}…")
    return Change(service, before, deployment_id)


def _find_taken(
    target: Target, service: TargetService, release: Release, known: tuple[Deployment, ...], error: PlatformError
) -> str:
    """Return the deployment that an upload began whose answer was lost; raise the upload's `error` without one."""
    ids, message = {one.id for one in known}, release.to_message()

    def begun(_remaining: float) -> str | None:
        found = target.deployments(service)
        return next((one.id for one in found if one.id not in ids and one.message == message), None)

    patience = _REFUSED_IN if isinstance(error, ResponseError) else _TAKEN_IN
    try:
        return wait_until(begun, timeout=patience, what="the deployment that was uploaded")
    except PlatformError:
        raise error from None
