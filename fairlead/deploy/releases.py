"""Release numbers, read from and written to the message that the platform keeps with each deployment."""

from dataclasses import dataclass

from fairlead.railway import Deployment, DeploymentStatus

_MARK = "fairlead"


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


def next_number(deployments: tuple[Deployment, ...]) -> int:
    """Return the number after the newest release that once served; a deployment that failed uses none up."""
    served = {"SUCCESS", "REMOVED", "REMOVING", "SLEEPING", "CRASHED"}
    return 1 + max((one.number for one in read_releases(deployments) if one.status in served), default=0)
