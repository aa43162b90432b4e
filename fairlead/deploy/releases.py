"""Releases, read from and written to the message that the platform keeps with each deployment."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from fairlead.railway import Deployment, DeploymentStatus

_MARK = "fairlead"
_SERVED = frozenset({"SUCCESS", "REMOVED", "REMOVING", "SLEEPING", "CRASHED"})


@dataclass(frozen=True, slots=True)
class Release:
    """One bundle deployed to one environment.

    `reason` is "rollback" where it came back, `canary` its share of the requests, in per cent, while it is a canary.
    """

    number: int
    digest: str
    version: str
    revision: str
    by: str = ""
    dirty: bool = False
    deployment_id: str = ""
    status: str = ""
    created_at: str = ""
    reason: str = ""
    can_rollback: bool = False
    canary: float | None = None

    def to_message(self) -> str:
        """Render the text that the platform keeps with the deployment."""
        facts = {
            "release": str(self.number),
            "digest": self.digest,
            "version": self.version,
            "revision": self.revision,
            "by": self.by,
            "dirty": "yes" if self.dirty else "",
        }
        return " ".join([_MARK, *(f"{name}={quote(fact, safe=':+')}" for name, fact in facts.items() if fact)])


def read_releases(deployments: tuple[Deployment, ...]) -> tuple[Release, ...]:
    """Read the releases among a platform's deployments, in their order; what Fairlead did not make is left out."""
    return tuple(release for deployment in deployments if (release := read_release(deployment)) is not None)


def read_release(deployment: Deployment) -> Release | None:
    """Read the release that a deployment is of; None where Fairlead did not make it."""
    words = (deployment.message or "").split()
    if not words or words[0] != _MARK:
        return None
    facts = {name: unquote(fact) for name, _, fact in (word.partition("=") for word in words[1:]) if fact}
    if not facts.get("release", "").isdecimal():
        return None
    canary = deployment.meta.get("canary")
    return Release(
        number=int(facts["release"]),
        digest=facts.get("digest", ""),
        version=facts.get("version", ""),
        revision=facts.get("revision", ""),
        by=facts.get("by", ""),
        dirty=facts.get("dirty") == "yes",
        deployment_id=deployment.id,
        status=str(deployment.status),
        created_at=deployment.created_at.isoformat(timespec="seconds"),
        reason=deployment.reason or "",
        can_rollback=deployment.can_rollback,
        canary=float(canary) if isinstance(canary, int | float) else None,
    )


def find_serving(deployments: tuple[Deployment, ...]) -> Release | None:
    """Return the newest release that the platform says is serving; a canary serves only beside one.

    Where none is, the one that sleeps for want of requests serves: its URL wakes it.
    """
    releases = [one for one in read_releases(deployments) if one.canary is None]
    for status in (DeploymentStatus.SUCCESS, DeploymentStatus.SLEEPING):
        if found := next((one for one in releases if one.status == status), None):
            return found
    return None


def find_previous(deployments: tuple[Deployment, ...], digest: str) -> Deployment | None:
    """Return the newest deployment of another digest that can be gone back to."""
    releases = {one.deployment_id for one in read_releases(deployments) if one.can_rollback and one.digest != digest}
    return next((one for one in deployments if one.id in releases), None)


def next_number(deployments: tuple[Deployment, ...]) -> int:
    """Return the number after the newest release that once served; a deployment that failed uses none up."""
    return 1 + max((one.number for one in read_releases(deployments) if one.status in _SERVED), default=0)
