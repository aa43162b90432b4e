"""Deploys: preflight, bundle, lock, upload, follow, verify, record. Knows no HTTP and no SQL; composes what does.

```
preflight   what would be sent, and every reason not to send it
target      where it goes: the platform's client and ids, opened for Railway and for the local platform
backup      the backup that a deploy asks for, and its refusal where there can be none
lock        one deploy for each environment at a time
releases    release numbers, read from and written to what the platform keeps
rollout     the deploy itself
```
"""

from fairlead.deploy.backup import Backup
from fairlead.deploy.preflight import plan
from fairlead.deploy.releases import Release, find_serving, read_releases
from fairlead.deploy.rollout import Outcome, Reporter, deploy
from fairlead.deploy.target import Target, open_local, open_railway

__all__ = [
    "Backup",
    "Outcome",
    "Release",
    "Reporter",
    "Target",
    "deploy",
    "find_serving",
    "open_local",
    "open_railway",
    "plan",
    "read_releases",
]
