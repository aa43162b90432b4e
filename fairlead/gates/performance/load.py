"""Load on one address, and what came of it: by wrk where it is installed, else by a generator of our own."""

import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from fairlead._process import run
from fairlead.exceptions import CommandError

Generator = Literal["wrk", "own"]

#: What a generator may take beyond the time of its load.
_GRACE: Final = 30.0
_MARK: Final = "measured"
#: wrk takes headers from its script, so that no token stands in a list of processes.
_SCRIPT: Final = """
wrk.headers = {headers}
done = function(summary, latency, requests)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("{mark} %d %.6f %.3f %.3f %d\\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, errors.status + lost))
end
"""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: an address, and the headers to ask with, which may hold a token."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load: answers, in how many seconds, how long they took (ms), and how many were none or errors."""

    requests: int
    seconds: float
    p50: float
    p95: float
    failures: int

    @property
    def rate(self) -> float:
        """Answers for each second."""
        return self.requests / self.seconds


def choose_generator() -> Generator:
    """Take wrk where it is installed, and the generator of our own elsewhere."""
    return "wrk" if shutil.which("wrk") else "own"


def load_closed(target: Target, *, generator: Generator, connections: int, seconds: float) -> Load:
    """Ask over so many connections at once, each again as soon as it has its answer.

    wrk counts in whole seconds; `seconds` are rounded up for it. Raises `CommandError` when the generator fails, or
    when nothing was answered.
    """
    if generator == "own":
        return _generate(target, connections=connections, seconds=seconds, rate=None)
    whole = math.ceil(seconds)
    with tempfile.TemporaryDirectory(prefix="fairlead-wrk-") as folder:
        script = Path(folder) / "report.lua"
        script.write_text(wrk_script(target.headers), "utf-8")
        done = run(wrk_command(target.url, script, connections=connections, seconds=whole), timeout=whole + _GRACE)
    return read_wrk(done.stdout, target.url)


def load_steadily(target: Target, *, connections: int, seconds: float, rate: float) -> Load:
    """Ask `rate` times a second, whatever the answers take; their times count from when they were due.

    Raises `CommandError` when the generator fails, or when nothing was answered.
    """
    return _generate(target, connections=connections, seconds=seconds, rate=rate)


def wrk_command(url: str, script: Path, *, connections: int, seconds: int) -> list[str]:
    """Build wrk's command: one thread, which is enough for one worker."""
    how_much = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    return ["wrk", *how_much, "--script", str(script), url]


def wrk_script(headers: Mapping[str, str]) -> str:
    """Return the script that gives wrk its headers and has it print one line for `read_wrk`."""
    # A text of JSON is one of Lua where both escape alike, and headers hold neither control characters nor others.
    pairs = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    return _SCRIPT.format(headers=f"{{{pairs}}}", mark=_MARK)


def read_wrk(text: str, url: str) -> Load:
    """Read what wrk's script printed; raise `CommandError` when it is not there, or nothing was answered."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 6 and words[0] == _MARK:
            requests, seconds, p50, p95, failures = words[1:]
            return _checked(Load(int(requests), float(seconds), float(p50), float(p95), int(failures)), url)
    raise CommandError(f"wrk did not say what came of its load on {url}", output=text)


def _generate(target: Target, *, connections: int, seconds: float, rate: float | None) -> Load:
    order: dict[str, Any] = {
        "url": target.url,
        "headers": dict(target.headers),
        "connections": connections,
        "seconds": seconds,
        "rate": rate,
    }
    command = [sys.executable, "-m", "fairlead.gates.performance.generator"]
    # The toolkit may lie on the path of this process alone.
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = run(command, env=variables, stdin=json.dumps(order), timeout=seconds + _GRACE)
    return _checked(Load(**json.loads(done.stdout)), target.url)


def _checked(load: Load, url: str) -> Load:
    if load.requests <= 0:
        raise CommandError(f"nothing at {url} answered under load", hint="see what the server said")
    return load
