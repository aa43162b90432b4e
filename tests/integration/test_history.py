"""The history under real conditions: several processes at once, a disk that fills up in the middle of a line."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.history import Event, History

ROOT = Path(__file__).parents[2]

APPEND = """
import sys
from pathlib import Path
from fairlead.history import Event, History
history = History(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    history.append(Event(sys.argv[2], "healthy", release=number, detail=sys.argv[2] * 3000))
"""

FILL = """
import resource, signal, sys
from pathlib import Path
from fairlead.exceptions import Error
from fairlead.history import Event, History
history = History(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = history.file.stat().st_size + 20
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    history.append(Event("second", "healthy"))
except Error as error:
    print(error)
"""


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_append_at_once_never_mix_their_lines(tmp_path: Path) -> None:
    names, count = ("a", "b", "c"), 100
    writers = [start(APPEND, tmp_path, name, count) for name in names]
    try:
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=60)
            assert writer.returncode == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    events = History(tmp_path).load()
    assert len(events) == len((tmp_path / "history.jsonl").read_text().splitlines()) == len(names) * count
    for name in names:
        mine = [event for event in events if event.name == name]
        assert [event.release for event in mine] == list(range(count))
        assert {event.detail for event in mine} == {name * 3000}


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system cannot bound the size of files")
def test_event_that_fits_only_in_part_is_reported_and_leaves_nothing_behind(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append(Event("first", "healthy"))
    before = history.file.read_bytes()
    with start(FILL, tmp_path) as process:
        printed, _ = process.communicate(timeout=60)
    assert "cannot be written" in printed
    assert history.file.read_bytes() == before
    history.append(Event("third", "healthy"))
    assert [event.name for event in history.load()] == ["first", "third"]
