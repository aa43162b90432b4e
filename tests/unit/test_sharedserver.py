"""The keeper of a test run's server, with something else in the server's place."""

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from fairlead._sharedserver import Keeper, ask
from fairlead.exceptions import PlatformError
from fairlead.postgres import Databases

URL = "postgresql://postgres:secret@127.0.0.1:1/postgres"


class Recorded:
    """Starts what stands for a server, and remembers what became of it."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.events: list[str] = []

    def __call__(self) -> AbstractContextManager[Databases]:
        return self._start()

    @contextmanager
    def _start(self) -> Iterator[Databases]:
        self.events.append("started")
        if self.fault:
            raise self.fault
        yield Place()
        self.events.append("ended")


class Place(Databases):
    def url(self, database: str = "postgres") -> str:
        return URL


def test_server_is_started_once_for_all_who_ask_and_ended_with_its_keeper() -> None:
    start = Recorded()
    keeper = Keeper(start)
    told: list[str | None] = []
    workers = [threading.Thread(target=lambda: told.append(ask(keeper.address))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert told == [URL] * 8
    assert start.events == ["started"]
    keeper.close()
    keeper.close()
    assert start.events == ["started", "ended"]


def test_nobody_asks_and_no_server_is_started() -> None:
    start = Recorded()
    Keeper(start).close()
    assert start.events == []


def test_stranger_on_the_port_is_told_nothing_and_starts_nothing() -> None:
    start = Recorded()
    keeper = Keeper(start)
    try:
        port = keeper.address.split()[0]
        assert ask(f"{port} guessed") is None
        with socket.create_connection(("127.0.0.1", int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert stranger.recv(100) == b""
        assert start.events == []
        assert ask(keeper.address) == URL
    finally:
        keeper.close()


def test_worker_killed_before_it_was_answered_harms_no_other() -> None:
    keeper = Keeper(Recorded())
    try:
        port, token = keeper.address.split()
        with socket.create_connection(("127.0.0.1", int(port))) as worker:
            worker.sendall(token.encode())
        assert ask(keeper.address) == URL
    finally:
        keeper.close()


@pytest.mark.parametrize(
    ("fault", "told", "hint"),
    [
        (PlatformError("the disk is full", hint="free some"), "the disk is full", "free some"),
        (RuntimeError("odd"), "did not start: RuntimeError('odd')", None),
    ],
)
def test_server_that_does_not_start_is_told_to_each_and_tried_once(
    fault: Exception, told: str, hint: str | None
) -> None:
    start = Recorded(fault)
    keeper = Keeper(start)
    try:
        for _ in range(2):
            with pytest.raises(PlatformError) as caught:
                ask(keeper.address)
            assert told in caught.value.message
            assert caught.value.hint == hint
        assert start.events == ["started"]
    finally:
        keeper.close()


def test_keeper_that_is_gone_or_on_another_machine_is_no_error() -> None:
    keeper = Keeper(Recorded())
    address = keeper.address
    keeper.close()
    assert ask(address) is None
