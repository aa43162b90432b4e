"""Asks a live service: one request, one answer, within one deadline.

A probe says whether the service can be reached at all, which is not the same as whether it is well: a refused
connection and a 503 lead to different verdicts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fairlead._http import make_client
from fairlead._polling import wait_until
from fairlead.exceptions import DeadlineError
from fairlead.verification.judge import Report, Verdict, judge

if TYPE_CHECKING:
    import httpx

_LARGEST_BODY = 1_000_000


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


def ask(client: "httpx.Client", probe: Probe, *, timeout: float) -> Answer:
    """Ask one probe; `timeout` is in seconds and bounds the whole exchange, however slowly the answer drips in."""
    import httpx

    started = time.monotonic()

    def spent() -> float:
        return time.monotonic() - started

    def answer(*, reached: bool, problem: str, status: int | None = None) -> Answer:
        return Answer(probe, reached, spent(), status, problem=problem)

    try:
        with client.stream("GET", probe.path, timeout=timeout, headers={"Cache-Control": "no-cache"}) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if spent() > timeout:
                    return answer(
                        reached=True,
                        problem=f"its answer was not complete within {timeout:g} s",
                        status=response.status_code,
                    )
                if len(content) > _LARGEST_BODY:
                    return answer(
                        reached=True, problem="its answer is larger than a probe's can be", status=response.status_code
                    )
    except httpx.TimeoutException:
        return answer(reached=False, problem=f"no answer within {timeout:g} s")
    except httpx.HTTPError as error:
        return answer(reached=False, problem=f"no answer ({_reason(error)})")
    return _read(probe, response, bytes(content), spent())


def _read(probe: Probe, response: "httpx.Response", content: bytes, seconds: float) -> Answer:
    import json

    try:
        body = json.loads(content)
    except ValueError:
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
    transport: "httpx.BaseTransport | None" = None,
    on_report: Callable[[Report], None] | None = None,
) -> Report:
    """Ask every probe at `url` until `confirmations` rounds in a row are healthy and serve `digest`.

    `timeout` is in seconds and bounds everything. Answers are taken as final once they were not healthy for `patience`
    seconds; the report of the last round is returned, never a healthy one that was not confirmed.
    """
    rounds: list[Report] = []
    started = time.monotonic()
    with make_client(url, timeout=timeout, transport=transport) as client:

        def confirm(remaining: float) -> Report | None:
            answers = [ask(client, probe, timeout=max(min(remaining, 10.0), 0.05)) for probe in probes]
            report = judge(answers, digest=digest)
            if on_report is not None:
                on_report(report)
            rounds.append(report)
            if report.verdict is not Verdict.HEALTHY:
                return report if time.monotonic() - started >= patience else None
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
