"""Receives an uploaded archive into a file: bounded in size and in silence, and nothing is left when it fails."""

import contextlib
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Final

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

MAXIMUM: Final = 200 * 1024 * 1024
SILENCE: Final = 60.0
_GZIP: Final = b"\x1f\x8b"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class UploadRefusedError(Exception):
    """An upload that is not taken: the HTTP status to answer with, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def save(request: Request, folder: Path, *, maximum: int = MAXIMUM, silence: float = SILENCE) -> Path:
    """Write the gzip archive in the request's body to a new file in `folder` and return its path.

    `maximum` is in bytes; `silence` is how long, in seconds, the client may send nothing. Raises
    `UploadRefusedError` for an archive that is too large, no gzip, cut short, too slow or does not fit on the disk;
    the file is removed then.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > maximum:
        await drain(request, maximum=maximum, silence=silence)
        raise _too_large(maximum)
    with _disk_faults(folder):
        # Not awaited: a request that is cancelled meanwhile would never learn of its file.
        descriptor, path = _new_file(folder)
    try:
        with _disk_faults(folder):
            file = os.fdopen(descriptor, "wb")
            try:
                await _copy(request, file, maximum=maximum, silence=silence)
                await anyio.to_thread.run_sync(file.flush)
            finally:
                # What could not be flushed cannot be flushed by closing either; the first fault is the one to tell.
                with contextlib.suppress(OSError):
                    file.close()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


async def drain(request: Request, *, maximum: int = MAXIMUM, silence: float = SILENCE) -> None:
    """Read and forget up to `maximum` bytes of the body, so that a client still sending gets to read the refusal."""
    seen = 0
    with contextlib.suppress(UploadRefusedError):
        async for chunk in _chunks(request, silence):
            seen += len(chunk)
            if seen > maximum:
                return


def _new_file(folder: Path) -> tuple[int, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="upload-", suffix=".tar.gz")
    return descriptor, Path(name)


async def _copy(request: Request, file: IO[bytes], *, maximum: int, silence: float) -> None:
    size = 0
    head = b""
    async for chunk in _chunks(request, silence):
        size += len(chunk)
        if size > maximum:
            raise _too_large(maximum)
        if len(head) < len(_GZIP):
            head = (head + chunk)[: len(_GZIP)]
        # The rest of what is no archive is read all the same, so that the client gets to read why.
        if _GZIP.startswith(head):
            await anyio.to_thread.run_sync(file.write, chunk)
    if head != _GZIP:
        raise UploadRefusedError(400, "the body is no gzip archive; a bundle is a .tar.gz")


async def _chunks(request: Request, silence: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(silence):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise UploadRefusedError(408, f"nothing was sent for {silence:g} s, so the upload was given up") from None
        except ClientDisconnect:
            raise UploadRefusedError(400, "the client went away before the archive was complete") from None
        if chunk is None:
            return
        if chunk:
            yield chunk


@contextlib.contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UploadRefusedError(
                507, f"the disk that holds {folder} is full; make room and deploy again"
            ) from error
        raise UploadRefusedError(500, f"the archive cannot be kept in {folder}: {error.strerror or error}") from error


def _too_large(maximum: int) -> UploadRefusedError:
    return UploadRefusedError(413, f"the archive is larger than {maximum / 1e6:.0f} MB, the most that is taken")
