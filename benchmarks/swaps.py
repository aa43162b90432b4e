#!/usr/bin/env python3
"""Replace releases again and again under load, and count the requests that fail: there must be none.

    python benchmarks/swaps.py [--requests 20000] [--swaps 20] [--deploys]

By itself it swaps tiny releases behind the proxy alone; with --deploys each swap is a whole deployment on a local
platform. Half of the clients keep their connections, half open a new one for each request; among the requests are
bodies of known and of unknown length, answers that are streamed, and slow ones that a swap falls into.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402 - the checkout is on the path only now

from fairlead.localplatform import ports  # noqa: E402
from fairlead.localplatform.routing import Target  # noqa: E402
from tests.integration.localplatform import tiny, wire  # noqa: E402

CLIENTS = 4
PATIENCE = 60.0
#: How many seconds a release serves at the least, so that starting them does not take all of the machine.
SERVES = 1.0
RELEASE = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT), "--log-level", "warning", "--no-access-log"]
RELEASE += ["tests.integration.localplatform.echo:application"]
BODY = bytes(range(256)) * 64
ECHO = {"size": len(BODY), "sum": sum(BODY) % 65521}


@dataclass
class Outcome:
    """What the clients saw; `kept` and `fresh` count the requests over kept and over new connections."""

    kept: int = 0
    fresh: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def report(self, swaps: int) -> int:
        """Print the figures and return 1 when a request failed."""
        ordered = sorted(self.times)
        p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
        print(f"{self.kept + self.fresh} requests ({self.kept} over kept connections, {self.fresh} over new ones)")
        print(f"{swaps} swaps, {self.failures.total()} failed requests, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        for kind, count in self.failures.most_common():
            print(f"  {count:6} {kind}")
        return int(bool(self.failures))


#: For each kind of request: method, path, the content if any, and what must be answered.
Kind = tuple[str, str, Any, Callable[[httpx.Response], bool]]


async def _pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(BODY), 5000):
        await asyncio.sleep(0)
        yield BODY[at : at + 5000]


def list_kinds(*, platform: bool) -> list[Kind]:
    """List the requests that clients make in turn, of the tiny platform's backend or of the application above."""

    def echoes(answer: httpx.Response) -> bool:
        return bool(answer.json() == ECHO)

    posts: list[Kind] = [("POST", "/", lambda: BODY, echoes), ("POST", "/", _pieces, echoes)]
    if platform:
        return [
            *posts,
            ("GET", "/api/v1/version", None, lambda answer: "digest" in answer.json()),
            ("GET", "/api/health", None, lambda answer: answer.json() == {"status": "pass"}),
        ]
    streamed = "".join(f"part {number}\n" for number in range(5))
    return [
        *posts,
        ("GET", "/", None, lambda answer: answer.json()["size"] == 0),
        ("HEAD", "/", None, lambda answer: answer.content == b""),
        ("GET", "/nothing", None, lambda answer: answer.status_code == 204),
        ("GET", "/stream", None, lambda answer: answer.text == streamed),
        ("PUT", "/", lambda: BODY, echoes),
        ("GET", "/slow", None, lambda answer: answer.json()["size"] == 0),
    ]


def load(url: str, requests: int, enough: Any, *, platform: bool) -> Outcome:
    """Make at least so many requests, and go on until enough swaps have been made."""
    return asyncio.run(_load(url, requests, enough, list_kinds(platform=platform)))


async def _load(url: str, requests: int, enough: Any, kinds: list[Kind]) -> Outcome:
    outcome = Outcome()

    async def run(client: httpx.AsyncClient, first: int, *, kept: bool) -> None:
        turn = first
        while outcome.kept + outcome.fresh < requests or not enough.is_set():
            # Of slow requests a few do: one in every fifty.
            among = kinds if turn % 50 == first else [kind for kind in kinds if kind[1] != "/slow"]
            await _ask(client, among[turn % len(among)], outcome)
            outcome.kept += kept
            outcome.fresh += not kept
            turn += 1

    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        for number in range(CLIENTS * 2):
            kept = number % 2 == 0
            limits = httpx.Limits(max_keepalive_connections=1 if kept else 0)
            client = httpx.AsyncClient(base_url=url, limits=limits, trust_env=False, verify=False, timeout=PATIENCE)
            tasks.append(run(await stack.enter_async_context(client), number, kept=kept))
        await asyncio.gather(*tasks)
    return outcome


async def _ask(client: httpx.AsyncClient, kind: Kind, outcome: Outcome) -> None:
    method, path, content, is_right = kind
    began = time.perf_counter()
    try:
        answer = await client.request(method, path, content=content and content())
        if answer.is_error:
            outcome.failures[f"{method} {path}: {answer.status_code} {answer.text[:200]}"] += 1
        elif not is_right(answer):
            outcome.failures[f"{method} {path}: a wrong answer"] += 1
    except httpx.HTTPError as error:
        outcome.failures[f"{method} {path}: {error!r}"] += 1
    outcome.times.append(time.perf_counter() - began)


@contextlib.contextmanager
def start_load(url: str, requests: int, *, platform: bool) -> Iterator[tuple[Any, Any]]:
    """Let a process of its own make requests; give the sign that ends them and the future of their outcome."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(1, mp_context=context) as pool:
        enough = manager.Event()
        try:
            yield enough, pool.submit(load, url, requests, enough, platform=platform)
        finally:
            enough.set()


async def swap_releases(requests: int, swaps: int) -> int:
    """Swap releases behind a proxy until there were enough requests and swaps."""
    done = 0
    async with wire.serve_proxy(patience=3600) as stage:
        running, target = await start_release()
        stage.router.point(target)
        with start_load(f"http://{ports.LOOPBACK}:{stage.port}", requests, platform=False) as (enough, future):
            while not future.done():
                await asyncio.sleep(SERVES)
                after, coming = await start_release()
                stage.router.point(coming)
                done += 1
                if not await target.wait_until_idle(within=PATIENCE):
                    raise SystemExit("a release did not become idle")
                await end_release(running, target)
                running, target = after, coming
                if done >= swaps:
                    enough.set()
            outcome: Outcome = future.result()
        await end_release(running, target)
    return outcome.report(done)


async def start_release() -> tuple[subprocess.Popen[bytes], Target]:
    """Start a release and wait until it answers."""
    port = ports.choose_free_port()
    process = await asyncio.to_thread(subprocess.Popen, [*RELEASE, "--port", str(port)])
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        while process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                await client.get(f"http://{ports.LOOPBACK}:{port}/")
                return process, Target(port, deployment_id=str(process.pid))
            await asyncio.sleep(0.05)
    raise SystemExit("a release cannot be started")


async def end_release(process: "subprocess.Popen[bytes]", target: Target) -> None:
    """End a release as the platform does: by SIGTERM, its connections afterwards."""
    process.terminate()
    await asyncio.to_thread(process.wait, PATIENCE)
    await target.close()


def swap_deployments(requests: int, swaps: int) -> int:
    """Deploy again and again on a local platform of its own until there were enough requests and swaps."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o711)
        project = tiny.make_project(Path(scratch))
        try:
            endpoint = project.start()
            expect_success(project.deploy(tiny.make_bundle("0"), endpoint=endpoint))
            done = 0
            with start_load(endpoint.public_url, requests, platform=True) as (enough, future):
                while not future.done():
                    done += 1
                    expect_success(project.deploy(tiny.make_bundle(str(done)), endpoint=endpoint))
                    if done >= swaps:
                        enough.set()
                outcome: Outcome = future.result()
        finally:
            project.remove()
    return outcome.report(done)


def expect_success(deployment: dict[str, Any]) -> None:
    """End the program unless a deployment succeeded."""
    if deployment["status"] != "SUCCESS":
        raise SystemExit(f"a deployment ended as {deployment}")


def main(requests: int, swaps: int, *, deploys: bool) -> int:
    """Print what was seen and return 1 when a request failed."""
    return swap_deployments(requests, swaps) if deploys else asyncio.run(swap_releases(requests, swaps))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--deploys", action="store_true", help="swap by whole deployments on a local platform")
    given = parser.parse_args()
    sys.exit(main(given.requests, given.swaps, deploys=given.deploys))
