"""The verifier's deadline: it ends and is never healthy, whatever a service does to keep it waiting.

How exactly the deadline is held is measured by `benchmarks/verifier.py`.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fairlead.verification import Probe, Report, Verdict, wait_for_release
from tests.integration.verification.hostile import GENEROUS, SERVICES, full, serving, waiting

PROBES = tuple(Probe(str(number), f"/{number}") for number in range(20))
DIGEST = "sha256:right"


def verify(url: str, *, timeout: float = 0.4, probes: tuple[Probe, ...] = PROBES) -> Report:
    started = time.monotonic()
    report = wait_for_release(url, probes, digest=DIGEST, confirmations=3, timeout=timeout, patience=GENEROUS)
    assert time.monotonic() - started < GENEROUS
    return report


@pytest.mark.parametrize("name", SERVICES)
def test_hostile_service_is_given_up_and_never_healthy(name: str) -> None:
    with SERVICES[name]() as url:
        report = verify(url)
    assert report.verdict is not Verdict.HEALTHY
    assert len(report.answers) == len(PROBES)
    assert report.reason


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.001])
def test_no_time_is_enough_to_ask_one_probe_and_no_other(timeout: float) -> None:
    with serving(waiting()) as url:
        report = verify(url, timeout=timeout)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "/0: no answer within" in report.reason
    assert [answer.problem for answer in report.answers[1:]] == ["not asked, because the time was over"] * 19


@contextlib.contextmanager
def requests_joined() -> Iterator[None]:
    """Wait for what was left behind, so that no test sees the threads of another."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            thread.join(GENEROUS)
            assert not thread.is_alive()


def test_name_that_is_looked_up_without_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def look_up(*_: object, **__: object) -> Any:
        release.wait(GENEROUS)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer from any name server")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with requests_joined():
        report = verify("http://service.invalid")
        left_behind = [thread for thread in threading.enumerate() if thread.name == "request"]
        release.set()
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason.startswith("/0: no answer within 0.")
    assert left_behind
    assert all(thread.daemon for thread in left_behind)


def test_every_address_of_a_name_counts_against_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with full() as url:
        port = int(url.rpartition(":")[2])
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 3
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        with requests_joined():
            report = verify("http://service.invalid")
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.reason.startswith("/0: no answer within 0.")


def test_last_round_that_there_was_time_for_is_what_is_told() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")

    rounds: list[Report] = []
    with serving(refuse) as url:
        report = wait_for_release(
            url,
            PROBES[:1],
            digest=None,
            confirmations=1,
            timeout=1.0,
            patience=GENEROUS,
            on_report=rounds.append,
        )
    assert report is rounds[-1]
    assert len(rounds) > 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted_verification_ends_at_once_and_hangs_up(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, hung_up = threading.Event(), threading.Event()

    def reply(connection: socket.socket) -> None:
        connection.recv(65536)
        asked.set()
        if connection.recv(1) == b"":
            hung_up.set()

    def interrupted(*_: object, **__: object) -> None:
        assert asked.wait(GENEROUS)
        raise error

    monkeypatch.setattr("concurrent.futures.wait", interrupted)
    with serving(reply) as url, pytest.raises(error):
        verify(url, timeout=GENEROUS)
    assert hung_up.is_set()
