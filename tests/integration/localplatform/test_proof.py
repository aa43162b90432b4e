"""What a started release must answer before requests lead to it, asked of raw sockets."""

import asyncio
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead import config
from fairlead.exceptions import DeadlineError
from fairlead.localplatform.proof import WrongAnswerError, prove
from fairlead.localplatform.releases import Plan
from tests.integration.verification.hostile import GENEROUS, SERVICES, read_request, serving

RIGHT, WRONG = "sha256:right", "sha256:wrong"


def make_answer(status: int = 200, body: object = None) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(content)) + content


HEALTHY, ILL = make_answer(), make_answer(503)
GOOD, OLD, LARGE = (
    make_answer(body={"digest": RIGHT}),
    make_answer(body={"digest": WRONG}),
    make_answer(body=b" " * 2_000_000),
)


class Release:
    """Answers health and version each with the next of its answers, the last one from then on; counts the questions."""

    def __init__(self, *, health: tuple[bytes, ...] = (HEALTHY,), version: tuple[bytes, ...] = (GOOD,)) -> None:
        self._lock = threading.Lock()
        self._answers = {
            "/api/health": itertools.chain(health, itertools.repeat(health[-1])),
            "/api/v1/version": itertools.chain(version, itertools.repeat(version[-1])),
        }
        self.asked = dict.fromkeys(self._answers, 0)

    def __call__(self, connection: socket.socket) -> None:
        while True:
            path = read_request(connection)
            with self._lock:
                self.asked[path] += 1
                answer = next(self._answers[path])
            connection.sendall(answer)


@pytest.fixture
def prove_at(tmp_path: Path) -> Callable[..., None]:
    (tmp_path / "pyproject.toml").write_text('[tool.fairlead]\nname = "tiny"\n')
    loaded = config.load(tmp_path, environ={})

    def run(url: str, *, timeout: float = GENEROUS, digest: str | None = RIGHT) -> None:
        plan = Plan("serve", (), "/api/health", timeout, "NEVER", 0, digest)
        asyncio.run(prove(int(url.rpartition(":")[2]), plan, loaded, confirmations=3))

    return run


@pytest.mark.parametrize(
    ("answers", "health", "version"),
    [
        ({}, 1, 3),
        ({"health": (ILL, ILL, HEALTHY)}, 3, 3),
        ({"health": (LARGE, HEALTHY)}, 2, 3),
        ({"version": (OLD, OLD, GOOD)}, 1, 5),
        ({"version": (GOOD, GOOD, LARGE, GOOD)}, 1, 6),
        ({"version": (ILL, ILL, ILL, ILL, GOOD)}, 1, 7),
    ],
    ids=["at once", "ill at first", "endless at first", "the old one at first", "flapping", "broken for long"],
)
def test_release_is_proven_by_good_answers_in_a_row(
    answers: dict[str, tuple[bytes, ...]], health: int, version: int, prove_at: Callable[..., None]
) -> None:
    release = Release(**answers)
    with serving(release) as url:
        prove_at(url)
    assert release.asked == {"/api/health": health, "/api/v1/version": version}


def test_release_without_a_digest_must_only_be_healthy(prove_at: Callable[..., None]) -> None:
    release = Release(version=(ILL,))
    with serving(release) as url:
        prove_at(url, digest=None)
    assert release.asked["/api/v1/version"] == 0


@pytest.mark.parametrize(
    ("version", "said"),
    [(OLD, repr(WRONG)), (LARGE, "''"), (make_answer(body=b"[" * 100_000), "''"), (make_answer(404), "''")],
    ids=["the old one", "too large", "deeply nested", "not there"],
)
def test_steadily_wrong_digest_is_an_error_at_once(version: bytes, said: str, prove_at: Callable[..., None]) -> None:
    release = Release(version=(version,))
    with serving(release) as url, pytest.raises(WrongAnswerError, match="gives the digest") as caught:
        prove_at(url)
    assert said in caught.value.message
    assert release.asked["/api/v1/version"] == 3


@pytest.mark.parametrize("name", [name for name in SERVICES if "TLS" not in name and name != "good, but slow"])
def test_hostile_release_is_never_proven_and_given_up_in_time(name: str, prove_at: Callable[..., None]) -> None:
    with SERVICES[name]() as url:
        started = time.monotonic()
        with pytest.raises(DeadlineError, match=r"was not healthy within 0\.3 s"):
            prove_at(url, timeout=0.3)
        assert time.monotonic() - started < GENEROUS
