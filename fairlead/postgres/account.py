"""Which user the server runs as, and what that user can reach.

PostgreSQL refuses to run as root. Started by root it runs as the user `postgres`, or else `nobody`. No folder is opened
up for that: what such a user cannot reach is kept elsewhere (see `binaries` and `cluster`).
"""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from fairlead import _process
from fairlead.exceptions import PlatformError

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged user of this machine, by numeric ids."""

    name: str
    uid: int
    gid: int


def pick_account() -> Account | None:
    """Return the user to run the server as, or None where that is simply the current one."""
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise PlatformError(
        "PostgreSQL does not run as root, and this machine has neither a user `postgres` nor a user `nobody`",
        hint="run this as an ordinary user, or create the user `postgres`",
    )


def reaches(account: Account | None, path: Path) -> bool:
    """Tell whether `account` can enter the folder, or execute the file, at `path`, by having it try."""
    if account is None:
        return os.access(path, os.X_OK)
    argv = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
    return _process.spawn(argv, cwd=Path("/"), user=account.uid, group=account.gid).wait() == 0
