"""The archive that is sent, kept byte for byte so that another environment can be given the very same one."""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from fairlead import build, bundle
from fairlead.build import BuildInfo
from fairlead.bundle import Bundle
from fairlead.config import Config
from fairlead.exceptions import Error, PreflightError

_KEPT = 10


@dataclass(frozen=True, slots=True)
class Parcel:
    """One archive: the facts of its build, its file, size in bytes and checksum, and how many files are in it."""

    info: BuildInfo
    archive: Path
    size: int
    sha256: str
    files: int

    @property
    def digest(self) -> str:
        """The identity of what is inside."""
        return self.info.digest


def pack(config: Config, made: Bundle) -> Parcel:
    """Write a bundle where archives are kept, in place of an earlier one of the same digest; the oldest go.

    Raises `PreflightError` when it cannot be written.
    """
    archive = _place(config, made.digest)
    try:
        size = made.write(archive)
    except Error as error:
        raise PreflightError(f"the bundle cannot be kept: {error.message}", hint=error.hint) from error
    kept = sorted(archive.parent.glob("*.tar.gz"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in kept[_KEPT:]:
        with contextlib.suppress(OSError):
            file.unlink()
    return Parcel(made.info, archive, size, _checksum(archive), len(made.entries))


def open_parcel(config: Config, digest: str, *, archive: Path | None = None) -> Parcel:
    """Return the archive of a digest, from where archives are kept or from `archive`, looked at file by file.

    Raises `PreflightError` where it is not there, or holds anything else.
    """
    file = archive or _place(config, digest)
    if not file.is_file():
        raise PreflightError(
            f"the bundle {digest} is not here: there is no {file}",
            hint="run this where it was deployed from, or hand its archive over: --bundle FILE",
        )
    try:
        entries = bundle.read_entries(file)
    except Error as error:
        raise PreflightError(error.message, hint="hand over the archive that was deployed") from error
    found = bundle.compute_digest(entries)
    facts = next((entry.content for entry in entries if str(entry.path) == build.FILE), None)
    if found != digest or facts is None:
        what = f"holds {found}" if facts is not None else f"has no {build.FILE}"
        raise PreflightError(f"{file} {what}, not {digest}", hint="hand over the archive that was deployed")
    info = build.parse(facts.decode("utf-8", "replace"))
    if info.digest != digest:
        raise PreflightError(f"{file} calls itself {info.digest}, and it is {digest}")
    return Parcel(info, file, file.stat().st_size, _checksum(file), len(entries) - 1)


def _place(config: Config, digest: str) -> Path:
    return config.state_dir / "bundles" / f"{digest.removeprefix('sha256:')}.tar.gz"


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    os.utime(file)  # the one used last is the last to go
    return checksum
