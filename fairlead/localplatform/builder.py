"""Turns a received archive into something that can run: unpacks it safely, and makes the environment of its lock.

An environment is kept under a key made of the lock, the Python version and the machine, and used again while they are
the same. Environments cannot be moved, so one is built where it stays; the marker written last says that it is whole.
Bytecode is left to the first import: compiling every file of every package takes longer than it saves.
"""

import contextlib
import fcntl
import gzip
import hashlib
import io
import os
import platform
import shutil
import stat
import sys
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from fairlead.exceptions import PlatformError

_MOST_BYTES: Final = 512 * 1024 * 1024
_MOST_MEMBERS: Final = 20_000
_LONGEST_PATH: Final = 1_000
_MARKER: Final = ".complete"
_KEPT: Final = 3
_FORMAT: Final = "1"

#: Runs a command in a folder with an environment, its output going to the build log, and returns its exit code.
Run = Callable[[list[str], Path, Mapping[str, str]], int]


def unpack(archive: Path, target: Path, *, most_bytes: int = _MOST_BYTES, most_members: int = _MOST_MEMBERS) -> None:
    """Unpack a gzipped tar archive into the new folder `target`.

    Only plain files and folders are taken, and only below `target`: a link, a device, an absolute path, a path that
    climbs out, a name that comes twice, or more than the bounds allow is refused with `PlatformError`, and nothing is
    left behind then.
    """
    target.mkdir(parents=True)
    try:
        with gzip.open(archive, "rb") as packed:
            # A stream is never read backwards, and no more of it than the bound is ever unpacked.
            bounded = _Bounded(packed, most_bytes + most_members * 2048)
            with tarfile.open(fileobj=bounded, mode="r|", errorlevel=2) as tar:
                _extract(tar, target, most_bytes=most_bytes, most_members=most_members)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise PlatformError(
            f"the archive is damaged or not a gzipped tar archive: {error}", hint="build and deploy it again"
        ) from None
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _extract(tar: tarfile.TarFile, target: Path, *, most_bytes: int, most_members: int) -> None:
    seen: set[PurePosixPath] = set()
    total = 0
    for number, member in enumerate(tar):
        path = _check_path(member.name)
        total += member.size
        if total > most_bytes:
            raise _refused(f"it unpacks to more than {most_bytes} bytes")
        if number >= most_members:
            raise _refused(f"it holds more than {most_members} entries")
        if member.isdir():
            with _in_the_way(member):
                (target / path).mkdir(parents=True, exist_ok=True)
            continue
        if not member.isreg():
            raise _refused(f"{member.name!r} is neither a plain file nor a folder")
        if path in seen or path == PurePosixPath():
            raise _refused(f"{member.name!r} comes twice or names no file")
        seen.add(path)
        _write(tar, member, target / path)
    if not seen:
        raise _refused("it holds no file")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, file: Path) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise _refused(f"{member.name!r} has no content")
    with _in_the_way(member):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as opened:
            shutil.copyfileobj(source, opened)
    file.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)


@contextlib.contextmanager
def _in_the_way(member: tarfile.TarInfo) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _refused(f"{member.name!r} stands where another entry does") from None


def _check_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or len(name) > _LONGEST_PATH:
        raise _refused(f"the path {name[:200]!r} leads out of the release's folder or is no path")
    return path


def _refused(why: str) -> PlatformError:
    return PlatformError(f"the archive was refused: {why}", hint="build the bundle with: invoke build")


class _Bounded(io.BytesIO):
    """Lets a reader have no more than so many bytes of a file."""

    def __init__(self, file: gzip.GzipFile, bound: int) -> None:
        super().__init__()
        self._file = file
        self._left = bound

    def read(self, size: int | None = -1) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _refused("it unpacks to more than it may")
        return data


class Environments:
    """The environments of releases, in `directory`; `python` is the interpreter they are made from."""

    def __init__(self, directory: Path, *, python: str = sys.executable) -> None:
        self._directory = directory
        self._python = python

    def path(self, lock: Path) -> Path:
        """Return where the environment of a lock lies, built or not."""
        try:
            content = lock.read_bytes()
        except OSError as error:
            raise PlatformError(
                f"the bundle has no readable {lock.name}: {error.strerror}",
                hint=f'add "{lock.name}" to [tool.fairlead.bundle] include',
            ) from None
        parts = (_FORMAT, sys.version, sys.base_prefix, platform.system(), platform.machine())
        return self._directory / hashlib.sha256("\n".join(parts).encode() + b"\n" + content).hexdigest()[:32]

    def prepare(self, lock: Path, *, run: Run, variables: Mapping[str, str], report: Callable[[str], None]) -> Path:
        """Return the environment of a lock, building it when it is not there yet.

        Safe when two do so at once: the second waits for the first. Raises `PlatformError` when it cannot be built.
        """
        environment = self.path(lock)
        self._directory.mkdir(parents=True, exist_ok=True)
        with _locked(environment.with_suffix(".lock")):
            if (environment / _MARKER).is_file() and (environment / "bin" / "python").exists():
                report("the environment is there already: the lock has not changed")
                os.utime(environment / _MARKER)
                return environment
            try:
                self._build(environment, lock, run, variables, report)
            except BaseException:
                shutil.rmtree(environment, ignore_errors=True)
                raise
        return environment

    def prune(self, *, used: Collection[Path] = (), kept: int = _KEPT) -> tuple[Path, ...]:
        """Remove environments that were not used lately: all but the last `kept` and those in `used`."""
        found = [path for path in self._directory.glob("*") if path.is_dir() and path not in used]
        found.sort(key=_last_used, reverse=True)
        removed = []
        for environment in found[kept:]:
            with contextlib.suppress(OSError), _locked(environment.with_suffix(".lock")):
                (environment / _MARKER).unlink(missing_ok=True)
                shutil.rmtree(environment)
                removed.append(environment)
        return tuple(removed)

    def _build(
        self,
        environment: Path,
        lock: Path,
        run: Run,
        variables: Mapping[str, str],
        report: Callable[[str], None],
    ) -> None:
        report(f"making the environment of {lock.name} for Python {platform.python_version()}")
        shutil.rmtree(environment, ignore_errors=True)
        for argv in make_install_commands(find_uv(), environment, lock, python=self._python):
            code = run(argv, lock.parent, variables)
            if code != 0:
                raise PlatformError(
                    f"the packages of {lock.name} could not be installed: uv ended with exit code {code}",
                    hint="read the build log above; it names the package",
                )
        (environment / _MARKER).touch()


def make_install_commands(uv: str, environment: Path, lock: Path, *, python: str) -> tuple[list[str], ...]:
    """Return the commands that make an environment and install a hashed lock into it."""
    interpreter = str(environment / "bin" / "python")
    return (
        [uv, "venv", "--quiet", "--no-project", "--no-config", "--python", python, str(environment)],
        [uv, "pip", "install", "--require-hashes", "--python", interpreter, "--requirement", str(lock)],
    )


def find_uv() -> str:
    """Return the path of the uv program that was installed with Fairlead."""
    import uv

    try:
        return os.fspath(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise PlatformError(
            f"uv is not installed: {error}", hint="python3 -m pip install -r requirements.txt"
        ) from None


def _last_used(environment: Path) -> float:
    try:
        return (environment / _MARKER).stat().st_mtime
    except OSError:
        return 0.0


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
