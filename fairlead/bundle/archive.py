"""A bundle as a file: the same entries give the same bytes, on any machine and with any compression library."""

import contextlib
import gzip
import hashlib
import io
import os
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fairlead import build
from fairlead.build import BuildInfo
from fairlead.exceptions import Error

EXECUTABLE, PLAIN = 0o755, 0o644

_EPOCH = 315532800  # 1980-01-01: the earliest time that every archive format can hold
# Method 8 (deflate), no flags, no time, no name, no hint at the level, an unknown system: RFC 1952.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LONGEST_BLOCK = 0xFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a bundle: its path inside, its mode there, and its content."""

    path: PurePosixPath
    mode: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """What would be deployed: its files but build-info.json, and the facts that become build-info.json."""

    entries: tuple[Entry, ...]
    info: BuildInfo

    @property
    def digest(self) -> str:
        """The bundle's identity, `sha256:` and 64 hexadecimal digits."""
        return self.info.digest

    def files(self) -> tuple[str, ...]:
        """Return the paths inside, sorted."""
        return tuple(sorted([*(str(entry.path) for entry in self.entries), build.FILE]))

    def write(self, target: Path) -> int:
        """Write the gzipped tar archive to `target`, whole or not at all; return its size in bytes.

        Raises `Error` when it cannot be written; what was at `target` is still there then.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._write(target)
        except OSError as error:
            raise Error(
                f"{target} cannot be written: {error.strerror}", hint="free some space or mend its permissions"
            ) from None

    def _write(self, target: Path) -> int:
        info = Entry(PurePosixPath(build.FILE), PLAIN, self.info.to_json().encode())
        unpacked = io.BytesIO()
        with tarfile.open(fileobj=unpacked, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for entry in sorted([*self.entries, info], key=lambda entry: str(entry.path)):
                archive.addfile(_header(entry), io.BytesIO(entry.content))
        with _replacing(target) as file:
            file.writelines(_gzipped(unpacked.getvalue()))
            return file.tell()


def compute_digest(entries: tuple[Entry, ...]) -> str:
    """Compute the digest of `entries`, in any order; build-info.json, if among them, does not count."""
    lines = sorted(
        f"{entry.mode:o} {len(entry.content)} {hashlib.sha256(entry.content).hexdigest()} {entry.path}\n"
        for entry in entries
        if str(entry.path) != build.FILE
    )
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def read_entries(archive: Path) -> tuple[Entry, ...]:
    """Read the files of an archive made by `Bundle.write`; raise `Error` when it is not one."""
    try:
        # Unpacked to the last byte first: tarfile stops before the checksum at the end.
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes())), mode="r:") as tar:
            members = [member for member in tar if member.isfile()]
            return tuple(
                Entry(PurePosixPath(member.name), member.mode, (tar.extractfile(member) or io.BytesIO()).read())
                for member in members
            )
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise Error(f"{archive} is not a bundle: {error}", hint="make one: invoke build") from None


def _gzipped(content: bytes) -> Iterator[bytes]:
    """Yield `content` as gzip whose blocks are stored, not compressed.

    zlib and zlib-ng, with which Pythons are built, compress the same bytes differently at the same level; stored
    blocks leave nothing to choose. Source: RFC 1951, 3.2.4; RFC 1952, 2.3.
    """
    yield _GZIP_HEADER
    for start in range(0, len(content), _LONGEST_BLOCK):
        block = content[start : start + _LONGEST_BLOCK]
        is_last = start + _LONGEST_BLOCK >= len(content)
        yield struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF) + block
    yield struct.pack("<LL", zlib.crc32(content), len(content) & 0xFFFFFFFF)


def _header(entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(f"./{entry.path}")
    header.size, header.mode, header.mtime = len(entry.content), entry.mode, _EPOCH
    return header


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[io.BufferedWriter]:
    """Open a temporary file beside `target` that takes its place when the block ends well."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
