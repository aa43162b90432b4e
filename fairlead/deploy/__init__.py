"""Deploys, rollbacks and promotions. Knows no HTTP and no SQL; composes what does.

```
preflight   what would be sent, and every reason not to send it
parcel      the archive that is sent, kept so that another environment can be given the very same one
services    how the services are declared to run, and what of that is not live
target      where it goes: the platform's client and ids, opened for Railway and for the local platform
backup      the backup that a deploy asks for, and its refusal where there can be none
account     the account that the suites log in with
lock        one act at a time that changes an environment
releases    release numbers, read from and written to what the platform keeps
sending     a deploy from the reasons not to, to the line in the history
rollout     what a deploy does once nothing speaks against it
following   a deployment on the platform, and its confirmation at the public URL
watch       the new release beside the one before, after it took over
suites      the end-to-end suites of the new release, as `verify` runs them
aftermath   what serves after a failure, and how the earlier release is brought back
rollback    going back to an earlier release on purpose
promotion   giving one environment what another one has verified
```
"""

from fairlead.deploy.backup import Backup
from fairlead.deploy.preflight import plan
from fairlead.deploy.promotion import promote
from fairlead.deploy.record import find_recorded_digest
from fairlead.deploy.releases import Release, find_serving, read_releases
from fairlead.deploy.reporting import Reporter
from fairlead.deploy.rollback import Candidate, list_candidates, roll_back
from fairlead.deploy.rollout import Options, Outcome
from fairlead.deploy.sending import deploy
from fairlead.deploy.suites import find_suites, run_suites
from fairlead.deploy.target import Target, TargetService, open_local, open_railway

__all__ = [
    "Backup",
    "Candidate",
    "Options",
    "Outcome",
    "Release",
    "Reporter",
    "Target",
    "TargetService",
    "deploy",
    "find_recorded_digest",
    "find_serving",
    "find_suites",
    "list_candidates",
    "open_local",
    "open_railway",
    "plan",
    "promote",
    "read_releases",
    "roll_back",
    "run_suites",
]
