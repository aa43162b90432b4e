"""Railway's API: the records, the documents and the one client, which also speaks to the local platform.

The client is loaded when first asked for, so that importing the records costs nothing of the network's libraries.
"""

from typing import TYPE_CHECKING, Any

from fairlead.railway.models import (
    RAILWAY_URL,
    Deployment,
    DeploymentEvent,
    DeploymentStatus,
    LogLine,
    Scope,
    Service,
    ServiceInstance,
    Traffic,
    Upload,
)

if TYPE_CHECKING:
    from fairlead.railway.client import RailwayClient

__all__ = [
    "RAILWAY_URL",
    "Deployment",
    "DeploymentEvent",
    "DeploymentStatus",
    "LogLine",
    "RailwayClient",
    "Scope",
    "Service",
    "ServiceInstance",
    "Traffic",
    "Upload",
]


def __getattr__(name: str) -> Any:
    if name == "RailwayClient":
        from fairlead.railway.client import RailwayClient

        return RailwayClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
