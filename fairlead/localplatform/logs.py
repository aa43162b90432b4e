"""Log lines of deployments: append-only files of bounded size, one for each deployment and stream.

A file that has grown to its bound is set aside and a new one begun; the one set aside before is dropped. A line cut
short by a crash is skipped when reading.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fairlead._output import redact
from fairlead.localplatform.records import LogLine, now

_BOUND: Final = 2_000_000
_LONGEST_LINE: Final = 8_000
_SEVERITIES: Final = (("error", ("ERROR", "CRITICAL", "FATAL", "Traceback")), ("warn", ("WARNING", "WARN")))


class Logs:
    """The log files in `directory`. Safe to use from several threads."""

    def __init__(self, directory: Path, *, bound: int = _BOUND) -> None:
        self._directory = directory
        self._bound = bound
        self._lock = threading.Lock()

    def append(self, deployment_id: str, stream: str, messages: Iterable[str], *, severity: str | None = None) -> None:
        """Write lines down with the present time, secrets masked; a full disk loses them without failing anything."""
        time = now()
        lines = []
        for message in messages:
            text = redact(message.rstrip("\r\n").replace("\0", ""))[:_LONGEST_LINE]
            lines.append(json.dumps([time, text, severity or _severity(text)], ensure_ascii=False) + "\n")
        if not lines:
            return
        file = self._file(deployment_id, stream)
        with self._lock, contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if file.exists() and file.stat().st_size >= self._bound:
                file.replace(_aside(file))
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8", errors="replace") as opened:
                opened.writelines(lines)

    def read(
        self, deployment_id: str, *, stream: str | None = None, limit: int = 500, since: str | None = None
    ) -> tuple[LogLine, ...]:
        """Return the last `limit` lines in the order they were printed, of one stream or of both.

        `since` is an ISO time; only lines after it are returned.
        """
        streams = ("build", "deploy") if stream is None else (stream,)
        with self._lock:
            lines = [line for name in streams for line in self._lines(deployment_id, name)]
        if len(streams) > 1:
            lines.sort(key=lambda line: line.timestamp)
        if since is not None:
            lines = [line for line in lines if line.timestamp > since]
        return tuple(lines[-limit:]) if limit > 0 else ()

    def remove(self, deployment_id: str) -> None:
        """Delete a deployment's log lines."""
        for stream in ("build", "deploy"):
            file = self._file(deployment_id, stream)
            with self._lock, contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
                _aside(file).unlink(missing_ok=True)

    def _lines(self, deployment_id: str, stream: str) -> Iterator[LogLine]:
        file = self._file(deployment_id, stream)
        for part in (_aside(file), file):
            with contextlib.suppress(FileNotFoundError):
                for text in part.read_text("utf-8", errors="replace").split("\n"):
                    with contextlib.suppress(ValueError):
                        timestamp, message, severity = json.loads(text)
                        yield LogLine(timestamp, message, severity, stream)

    def _file(self, deployment_id: str, stream: str) -> Path:
        return self._directory / f"{deployment_id}.{stream}.jsonl"


def _aside(file: Path) -> Path:
    return file.with_name(file.name + ".1")


def _severity(text: str) -> str:
    start = text[:80]
    for severity, words in _SEVERITIES:
        if any(word in start for word in words):
            return severity
    return "info"
