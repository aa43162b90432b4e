"""What arguments processes have been started with: a secret among them is read by anybody on the machine."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self


class Watch:
    """Reads the arguments of a process and of all that descend from it, or of every one, again and again while open."""

    def __init__(self, pid: int | None = None) -> None:
        self.seen: set[bytes] = set()
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._ended.wait(0.01):
            for process in Path("/proc").glob("[0-9]*") if self._pid is None else _find_family(self._pid):
                with contextlib.suppress(OSError):
                    self.seen.add((process / "cmdline").read_bytes())


def _find_family(pid: int) -> Iterator[Path]:
    family = [pid]
    for one in family:
        process = Path(f"/proc/{one}")
        yield process
        with contextlib.suppress(OSError):
            for task in process.glob("task/*/children"):
                family += [int(child) for child in task.read_text().split()]
