"""Initialised clusters, kept to be copied: initdb costs most of a second, a copy a twentieth of one.

```
<cache>/<key>/data/    a cluster as initdb left it, never started
<cache>/<key>/size     the bytes of its files, by which a whole one is known
```

The key is made of the programs, the options of initdb and the format below. A template holds no secret: its password is
thrown away, and each copy is given one of its own. That copies share a system identifier matters to replication alone,
which none of them takes part in. The cache is private to the user, root's too; a template appears under its name by one
rename, and whatever is wrong with the cache only costs the time of an initdb.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fairlead.postgres.account import Account
from fairlead.postgres.binaries import SHARED_CACHE, Binaries

FORMAT = 1
UNUSED_DAYS = 30.0

_DATA = "data"
_SIZE = "size"
_STAGING = ".new-"
_CHUNK = 1 << 24


def choose_cache(account: Account | None) -> Path | None:
    """Return the folder for templates: this user's, or None where the user has no home."""
    if account is not None:
        return SHARED_CACHE / "clusters"
    try:
        return Path.home() / ".cache" / "fairlead" / "clusters"
    except RuntimeError:
        return None


def make_key(binaries: Binaries, options: Sequence[str]) -> str | None:
    """Return what tells a template from others, or None for programs that cannot be told apart."""
    digest = hashlib.sha256(repr((FORMAT, list(options))).encode())
    try:
        for name in ("initdb", "postgres"):
            facts = binaries.program(name).stat()
            digest.update(repr((name, facts.st_size, facts.st_mtime_ns)).encode())
        digest.update((binaries.folder.parent / "share" / "postgresql" / "postgres.bki").read_bytes())
    except OSError:
        return None
    return digest.hexdigest()[:24]


def copy_template(template: Path, target: Path, account: Account | None) -> bool:
    """Copy the cluster in `template` to `target`, for `account`; return whether there was a whole one."""
    # Missing, being removed, or no room for the copy: initdb tells what is wrong. Only a damaged one is thrown away.
    with contextlib.suppress(OSError):
        if template.stat().st_uid != os.geteuid():
            return False
        written = (template / _SIZE).read_text("utf-8").strip()
        if str(copy_tree(template / _DATA, target, account)) == written:
            os.utime(template)
            return True
        shutil.rmtree(template, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    return False


def keep_template(data: Path, template: Path) -> None:
    """Keep a copy of the cluster `data`, never started, as `template`; a cache that cannot be used is left alone."""
    with contextlib.suppress(OSError):
        cache = template.parent
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if cache.stat().st_uid != os.geteuid():
            return
        remove_unused(cache)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=cache))
        try:
            size = copy_tree(data, staging / _DATA, None)
            (staging / _SIZE).write_text(f"{size}\n", "utf-8")
            staging.rename(template)  # fails where another process was quicker
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def remove_unused(cache: Path, *, days: float = UNUSED_DAYS) -> None:
    """Remove the templates that nobody copied for `days`, and what a killed process left of one an hour ago."""
    now = time.time()
    for folder in cache.iterdir():
        limit = 1 / 24 if folder.name.startswith(_STAGING) else days
        with contextlib.suppress(OSError):
            if now - folder.stat().st_mtime > limit * 86_400:
                shutil.rmtree(folder, ignore_errors=True)


def copy_tree(source: Path, target: Path, account: Account | None) -> int:
    """Copy a cluster's folder, private to `account`; return the bytes of its files."""
    target.mkdir(mode=0o700)
    if account is not None:
        os.chown(target, account.uid, account.gid)
    size = 0
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                size += copy_tree(Path(entry.path), target / entry.name, account)
            else:
                size += _copy_file(entry.path, os.path.join(target, entry.name), account)  # noqa: PTH118 - a thousand
    return size


def sync_tree(folder: Path) -> None:
    """Have everything in `folder`, and its name, on the disk."""
    for path, _, files in os.walk(folder):
        for name in (*files, "."):
            _sync(Path(path, name))
    _sync(folder.parent)


def _copy_file(source: str, target: str, account: Account | None) -> int:
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if account is not None:
                os.fchown(writing, account.uid, account.gid)
            size = 0
            while block := os.read(reading, _CHUNK):
                view = memoryview(block)
                while view:
                    view = view[os.write(writing, view) :]
                size += len(block)
            return size
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
