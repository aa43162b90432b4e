"""Asks a live service: one request, one answer, within one deadline.

A probe says whether the service can be reached at all, which is not the same as whether it is well: a refused
connection and a 503 lead to different verdicts.
"""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from fairlead._http import TotalDeadline, make_client
from fairlead._polling import wait_until
from fairlead.exceptions import DeadlineError
from fairlead.verification.answers import Answer, Probe
from fairlead.verification.judge import Report, Verdict, judge

if TYPE_CHECKING:
    import httpx

_LARGEST_BODY: Final = 1_000_000
#: In seconds: what one probe may take; the pause between two rounds, at first and after a good one, and at the longest.
_LONGEST_ASK: Final = 10.0
_SHORTEST_ASK: Final = 0.1
_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.25

# A new connection each time: one kept open may lead to the release before.
_HEADERS: Final = {"Cache-Control": "no-cache", "Connection": "close"}


def ask(
    client: "httpx.Client", probe: Probe, *, timeout: float, headers: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    """Ask one probe on a connection of its own, with these headers besides its own.

    `timeout` is in seconds and bounds the whole exchange, however slowly head or body drip in. Where even the lookup
    of the host's name does not end, it goes on in a thread that is left behind.
    """
    deadline = TotalDeadline()
    started = time.monotonic()
    try:
        return deadline.call(lambda: _ask(client, probe, deadline, timeout=timeout, headers=headers), seconds=timeout)
    except TimeoutError:
        return Answer(probe, False, time.monotonic() - started, problem=f"no answer within {round(timeout, 2):g} s")


def _ask(
    client: "httpx.Client", probe: Probe, deadline: TotalDeadline, *, timeout: float, headers: Mapping[str, str]
) -> Answer:
    import httpx

    started = time.monotonic()
    response: httpx.Response | None = None
    late = False

    def answer(problem: str) -> Answer:
        # Once the head has come the service was reached, whatever becomes of the body.
        status = None if response is None else response.status_code
        return Answer(probe, response is not None, time.monotonic() - started, status, problem=problem)

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
                if deadline.passed:  # what had come before the connection was cut can still be read, for long
                    break
    except (httpx.HTTPError, UnicodeError, OverflowError) as error:  # the last two: no such host name, no such port
        late = deadline.passed or isinstance(error, httpx.TimeoutException)
        if not late:
            return answer(f"no answer ({_reason(error)})" if response is None else "its answer cannot be read")
    if response is None or late or deadline.passed:
        what = "no answer" if response is None else "its answer was not complete"
        return answer(f"{what} within {round(timeout, 2):g} s")
    return _read(probe, response, bytes(content), time.monotonic() - started)


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

    `timeout` is in seconds and bounds everything: a probe whose turn comes too late is not asked. Answers are taken as
    final once they were not healthy for `patience` seconds on end; the report of the last round is returned, never a
    healthy one that was not confirmed.
    """
    deadline = time.monotonic() + timeout
    with make_client(url, timeout=timeout, transport=transport) as client:
        watch = _Watch(
            lambda: judge(_ask_all(client, probes, deadline=deadline, headers=headers), digest=digest),
            confirmations=confirmations,
            patience=patience,
            on_report=on_report,
        )
        try:
            return wait_until(
                watch.look,
                timeout=deadline - time.monotonic(),
                interval=_PAUSE,
                longest_interval=_LONGEST_PAUSE,
                hasten=lambda: watch.well > 0,
                what=f"{url} to answer",
            )
        except DeadlineError:
            if watch.last.verdict is Verdict.HEALTHY:
                reason = f"{url} gave too few good answers in a row within {timeout:g} s"
                return Report(Verdict.INCONCLUSIVE, reason, watch.last.answers)
            return watch.last


class _Watch:
    """Looks at a release round by round: how many were well in a row, and since when it is not."""

    def __init__(
        self,
        ask_round: Callable[[], Report],
        *,
        confirmations: int,
        patience: float,
        on_report: Callable[[Report], None] | None,
    ) -> None:
        self.last = Report(Verdict.INCONCLUSIVE, "nothing was asked", ())
        self.well = 0
        self._ask_round, self._on_report = ask_round, on_report
        self._confirmations, self._patience = confirmations, patience
        self._last_well = time.monotonic()

    def look(self, left: float) -> Report | None:
        """Ask one round and return its report if it is final; too late for one, leave it at the last."""
        if self.last.answers and left < _SHORTEST_ASK:
            return None
        report = self.last = self._ask_round()
        if self._on_report is not None:
            self._on_report(report)
        if report.verdict is Verdict.HEALTHY:
            self._last_well = time.monotonic()
            self.well += 1
            return report if self.well >= self._confirmations else None
        self.well = 0
        return report if time.monotonic() - self._last_well >= self._patience else None


def _ask_all(
    client: "httpx.Client", probes: Sequence[Probe], *, deadline: float, headers: Mapping[str, str]
) -> list[Answer]:
    answers: list[Answer] = []
    for probe in probes:
        left = deadline - time.monotonic()
        if answers and left < _SHORTEST_ASK:
            answers.append(Answer(probe, False, 0.0, problem="not asked, because the time was over"))
        else:
            limit = min(max(left, _SHORTEST_ASK), _LONGEST_ASK)
            answers.append(ask(client, probe, timeout=limit, headers=headers))
    return answers
