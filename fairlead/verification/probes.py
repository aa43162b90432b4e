"""Asks a live service: one request, one answer, within one deadline.

A probe says whether the service can be reached at all, which is not the same as whether it is well: a refused
connection and a 503 lead to different verdicts.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from fairlead._http import make_client
from fairlead._polling import wait_until
from fairlead.exceptions import DeadlineError
from fairlead.verification.judge import Report, Verdict, judge

if TYPE_CHECKING:
    import httpx

_LARGEST_BODY = 1_000_000
_LONGEST_ASK = 10.0
_SHORTEST_ASK = 0.05

# A new connection each time: one kept open may lead to the release before.
_HEADERS = {"Cache-Control": "no-cache", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Probe:
    """A question to a live service: a path that must answer 200 with a JSON object."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: whether anything did, after how many seconds, and what was wrong with it, if something was."""

    probe: Probe
    reached: bool
    seconds: float
    status: int | None = None
    body: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def digest(self) -> str | None:
        """The digest in the body, where there is one."""
        value = (self.body or {}).get("digest")
        return value if isinstance(value, str) else None

    @property
    def sentence(self) -> str:
        """Say in a few words how this probe went."""
        return f"{self.probe.path}: {self.problem or 'well'}"


def ask(
    client: "httpx.Client", probe: Probe, *, timeout: float, headers: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    """Ask one probe on a connection of its own, with these headers besides its own.

    `timeout` is in seconds and bounds the whole exchange, however slowly head or body drip in.
    """
    import httpx

    started = time.monotonic()
    response: httpx.Response | None = None
    late = False

    def answer(problem: str) -> Answer:
        # Once the head has come the service was reached, whatever becomes of the body.
        status = None if response is None else response.status_code
        return Answer(probe, response is not None, time.monotonic() - started, status, problem=problem)

    with _Deadline(timeout) as deadline:
        request = client.build_request("GET", probe.path, headers={**headers, **_HEADERS}, timeout=timeout)
        request.extensions["trace"] = deadline.watch
        content = bytearray()
        try:
            response = client.send(request, stream=True)
            with contextlib.closing(response):
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > _LARGEST_BODY:
                        return answer("its answer is larger than a probe's can be")
        except (httpx.HTTPError, UnicodeError, OverflowError) as error:  # the last two: no such host name, no such port
            late = deadline.passed or isinstance(error, httpx.TimeoutException)
            if not late:
                return answer(f"no answer ({_reason(error)})" if response is None else "its answer cannot be read")
    if response is None or late or deadline.passed:
        what = "no answer" if response is None else "its answer was not complete"
        return answer(f"{what} within {timeout:g} s")
    return _read(probe, response, bytes(content), time.monotonic() - started)


class _Deadline:
    """Shuts down the connection of one request when its time is over: httpx bounds each read, not their sum."""

    def __init__(self, timeout: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(timeout, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the connection that httpx opens; called by it as the request's `trace`."""
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
            if self.passed:
                self._end()

    def _end(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self.passed = True
            if self._socket is not None:
                # The plain socket's method: a TLS socket's own would change it under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _read(probe: Probe, response: "httpx.Response", content: bytes, seconds: float) -> Answer:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if response.status_code != 200:
        return Answer(
            probe,
            True,
            seconds,
            response.status_code,
            body if isinstance(body, dict) else None,
            f"status {response.status_code}{_failing(body)}",
        )
    if not isinstance(body, dict):
        return Answer(probe, True, seconds, 200, None, "its answer is not a JSON object")
    if body.get("status") == "fail":
        return Answer(probe, True, seconds, 200, body, f"says it fails{_failing(body)}")
    return Answer(probe, True, seconds, 200, body)


def _failing(body: Any) -> str:
    checks = body.get("checks") if isinstance(body, dict) else None
    if not isinstance(checks, dict):
        return ""
    names = [name for name, check in checks.items() if isinstance(check, dict) and check.get("status") == "fail"]
    return f" ({', '.join(names)} fails)" if names else ""


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "connection refused" if "refused" in text.lower() else text


def wait_for_release(
    url: str,
    probes: Sequence[Probe],
    *,
    digest: str | None,
    confirmations: int,
    timeout: float,
    patience: float = 0.0,
    headers: Mapping[str, str] = MappingProxyType({}),
    transport: "httpx.BaseTransport | None" = None,
    on_report: Callable[[Report], None] | None = None,
) -> Report:
    """Ask every probe at `url` until `confirmations` rounds in a row are healthy and serve `digest`.

    `timeout` is in seconds and bounds everything. Answers are taken as final once they were not healthy for `patience`
    seconds on end; the report of the last round is returned, never a healthy one that was not confirmed.
    """
    rounds: list[Report] = []
    deadline = time.monotonic() + timeout
    last_well = time.monotonic()
    with make_client(url, timeout=timeout, transport=transport) as client:

        def ask_in_time(probe: Probe) -> Answer:
            left = max(min(deadline - time.monotonic(), _LONGEST_ASK), _SHORTEST_ASK)
            return ask(client, probe, timeout=left, headers=headers)

        def confirm(_: float) -> Report | None:
            nonlocal last_well
            answers = [ask_in_time(probe) for probe in probes]
            report = judge(answers, digest=digest)
            if on_report is not None:
                on_report(report)
            rounds.append(report)
            if report.verdict is not Verdict.HEALTHY:
                return report if time.monotonic() - last_well >= patience else None
            last_well = time.monotonic()
            recent = rounds[-confirmations:]
            confirmed = len(recent) == confirmations and all(one.verdict is Verdict.HEALTHY for one in recent)
            return report if confirmed else None

        try:
            return wait_until(confirm, timeout=timeout, interval=0.05, longest_interval=0.5, what=f"{url} to answer")
        except DeadlineError as error:
            last = rounds[-1]
            if last.verdict is Verdict.HEALTHY:
                return Report(Verdict.INCONCLUSIVE, f"{error.message}: too few good answers in a row", last.answers)
            return last
