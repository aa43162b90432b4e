#!/usr/bin/env python3
"""Measure how exactly the verifier holds its deadline, and how soon it confirms a release that becomes ready.

    python benchmarks/verifier.py [RUNS]

Ten runs by default. Each hostile service is a process of its own; the one that gets ready is a whole Python backend
that is started anew each time and tells when it is ready. Every figure has a bound, past which 1 is returned.
"""

import argparse
import asyncio
import contextlib
import functools
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fairlead import config  # noqa: E402 - the checkout is on the path only now
from fairlead.exceptions import DeadlineError  # noqa: E402
from fairlead.localplatform import ports  # noqa: E402
from fairlead.localplatform.proof import prove  # noqa: E402
from fairlead.localplatform.releases import Plan  # noqa: E402
from fairlead.verification import Probe, Report, Verdict, wait_for_release  # noqa: E402
from tests.integration.verification.hostile import SERVICES, full  # noqa: E402

DIGEST = "sha256:right"
PROBES = (Probe("health", "/api/health"), Probe("version", "/api/v1/version"))
MANY = tuple(Probe(str(number), f"/{number}") for number in range(20))
#: The deadline in seconds, and the most that may follow it; the most from ready to confirmed; all in seconds.
TIMEOUT, ALLOWED, CONFIRMED = 0.7, 0.2, 1.0

#: A release that answers 503 or nothing at all for a while after it was started, as its arguments say, and then well.
RELEASE = """
import http.server, json, sys, time
port, digest, listens, ready = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
begun, told = time.monotonic(), False

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "pass", "digest": digest}).encode()
        self.send_response(200 if time.monotonic() >= begun + listens + ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

time.sleep(listens)
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
print(max(time.monotonic(), begun + listens + ready), flush=True)
server.serve_forever()
"""


def main(runs: int) -> int:
    """Print both tables and return 1 when a figure is beyond its bound."""
    print(f"past a deadline of {TIMEOUT:g} s, in ms, of {runs} runs{'median':>14}{'worst':>9}")
    late = [
        row(f"{kind}: {name}", measure, runs, allowed=ALLOWED)
        for name in SERVICES
        for kind, measure in (("verify", overshoot(name, verify)), ("prove", overshoot(name, prove_it)))
        if kind == "verify" or ("TLS" not in name and name != "good, but slow")
    ]
    late.append(row("verify: name that is never found", never_found, runs, allowed=ALLOWED))
    late.append(row("verify: three addresses that hang", three_addresses, runs, allowed=ALLOWED))
    print(f"\nfrom ready to confirmed 3 times, in ms, of {runs} runs{'median':>11}{'worst':>9}")
    for seconds in ((0.0, 0.0), (0.5, 0.0), (3.0, 0.0), (0.0, 0.5), (0.0, 3.0)):
        told = f"listens after {seconds[0]:g} s, well after {sum(seconds):g} s"
        late.append(row(f"verify: {told}", functools.partial(confirm, verify, *seconds), runs, allowed=CONFIRMED))
        late.append(row(f"prove: {told}", functools.partial(confirm, prove_it, *seconds), runs, allowed=CONFIRMED))
    return int(any(late))


def row(name: str, measure: Callable[[], float], runs: int, *, allowed: float) -> bool:
    """Print the median and the worst of so many runs, and tell whether the worst is beyond what is allowed."""
    found = [measure() for _ in range(runs)]
    median, worst = statistics.median(found), max(found)
    late = worst > allowed
    print(f"{name:<50}{median * 1000:9.1f}{worst * 1000:9.1f}{'   TOO LATE' if late else ''}", flush=True)
    return late


# --- the ways to ask ---


def verify(url: str, *, timeout: float, probes: tuple[Probe, ...] = PROBES) -> bool:
    """Ask as a deploy does, patient to the end; tell whether the release was confirmed."""
    report: Report = wait_for_release(url, probes, digest=DIGEST, confirmations=3, timeout=timeout, patience=timeout)
    return report.verdict is Verdict.HEALTHY


def prove_it(url: str, *, timeout: float, probes: tuple[Probe, ...] = PROBES) -> bool:
    """Ask as the local platform does before it lets requests through; tell whether the release was proven."""
    plan = Plan("serve", (), probes[0].path, timeout, "NEVER", 0, DIGEST)
    try:
        asyncio.run(prove(int(url.rpartition(":")[2]), plan, CONFIGURATION, confirmations=3))
    except DeadlineError:
        return False
    return True


def overshoot(name: str, ask: Callable[..., bool]) -> Callable[[], float]:
    """Make the measurement of how long after its deadline asking a hostile service ends."""

    def measure() -> float:
        argv = [sys.executable, "-m", "tests.integration.verification.hostile", name]
        with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            lines: Any = process.stdout
            url = lines.readline().strip()
            try:
                return late(lambda: ask(url, timeout=TIMEOUT, probes=MANY))
            finally:
                process.kill()

    return measure


def late(ask: Callable[[], bool]) -> float:
    """Return how many seconds after its deadline `ask` ends."""
    began = time.monotonic()
    if ask():
        raise SystemExit("a hostile service was found healthy")
    return time.monotonic() - began - TIMEOUT


@contextlib.contextmanager
def looking_up(answer: Callable[..., Any]) -> Iterator[None]:
    """Replace the lookup of names; end what it left behind."""
    before = set(threading.enumerate())
    with mock.patch.object(socket, "getaddrinfo", answer):
        yield
        for thread in set(threading.enumerate()) - before:
            thread.join()


def never_found() -> float:
    """Measure with a name whose lookup takes much longer than there is time."""

    def answer(*_: Any, **__: Any) -> Any:
        time.sleep(TIMEOUT + 1)
        raise socket.gaierror

    with looking_up(answer):
        return late(lambda: verify("http://service.invalid", timeout=TIMEOUT, probes=MANY))


def three_addresses() -> float:
    """Measure with a name of three addresses, each of which takes no connections."""
    with full() as url:
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(url.rpartition(":")[2])))
        with looking_up(lambda *_, **__: [address] * 3):
            return late(lambda: verify("http://service.invalid", timeout=TIMEOUT, probes=MANY))


def confirm(ask: Callable[..., bool], listens: float, ready: float) -> float:
    """Return how many seconds after a release was ready it is confirmed."""
    port = ports.choose_free_port()
    argv = [sys.executable, "-c", RELEASE, str(port), DIGEST, str(listens), str(ready)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            if not ask(f"http://{ports.LOOPBACK}:{port}", timeout=30.0):
                raise SystemExit("a healthy release was not confirmed")
            ended = time.monotonic()
            lines: Any = process.stdout
            return ended - float(lines.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="?", type=int, default=10, help="how often each is measured (10)")
    WANTED = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "pyproject.toml").write_text('[tool.fairlead]\nname = "tiny"\n', "utf-8")
        CONFIGURATION = config.load(Path(scratch), environ={})
        sys.exit(main(WANTED.runs))
