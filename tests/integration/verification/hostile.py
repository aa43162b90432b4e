"""Services that keep a verifier waiting in every way there is, over raw sockets; none of them is ever well.

Run as a program with the name of one it serves that until its standard input ends, after printing its address.
"""

import contextlib
import json
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

#: Far beyond what any of these takes on a busy machine.
GENEROUS = 15.0

#: What is done with one connection, which is closed afterwards.
Reply = Callable[[socket.socket], None]

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
#: The head of a TLS record of 16 kB, a server's first words.
_RECORD = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"


@contextmanager
def serving(reply: Reply, *, scheme: str = "http") -> Iterator[str]:
    """Serve on a free port of loopback, each connection in a thread; gives the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):  # an impatient client goes, as it should
                connection.settimeout(GENEROUS)
                reply(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    thread = threading.Thread(target=answer, args=(listener.accept()[0],))
                    threads.append(thread)
                    thread.start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads):
                thread.join(GENEROUS)
            assert not any(thread.is_alive() for thread in (acceptor, *threads))


def read_request(connection: socket.socket) -> str:
    """Read one request and return its path; raises `ConnectionError` where the client has gone."""
    request = b""
    while b"\r\n\r\n" not in request:
        received = connection.recv(65536)
        if not received:
            raise ConnectionAbortedError
        request += received
    return request.split(b" ")[1].decode()


def waiting(head: bytes = b"") -> Reply:
    """Answer with `head`, then with nothing until the client goes."""

    def reply(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        connection.recv(1)

    return reply


def dripping(head: bytes, drop: bytes, *, pause: float = 0.03) -> Reply:
    """Answer with `head`, then with `drop` again and again until the client goes; `pause` is in seconds."""

    def reply(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while not _has_gone(connection, within=pause):
            connection.sendall(drop)

    return reply


def _has_gone(connection: socket.socket, *, within: float) -> bool:
    return bool(select.select([connection], [], [], within)[0])


def _drip_a_handshake(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_RECORD)
    while not _has_gone(connection, within=0.03):
        connection.sendall(b"\x00")


def _reset(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _take_the_time_of_many(connection: socket.socket) -> None:
    """Answer well, but so slowly that many probes are not answered in time."""
    read_request(connection)
    if not _has_gone(connection, within=0.06):
        body = json.dumps({"status": "pass", "digest": "sha256:right"}).encode()
        connection.sendall(_OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)


@contextmanager
def _accepting_nobody() -> Iterator[str]:
    """Let clients connect, and never look at them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def full() -> Iterator[str]:
    """Let nobody connect: the queue of those who wait to be accepted is full, so attempts to connect are dropped."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(64):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            if not select.select([], [one], [], 0.2)[1]:
                break
        else:
            raise AssertionError("the queue is never full")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


#: Each hostile service by its name: makes one and gives its address.
SERVICES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "full queue": full,
    "never accepted": _accepting_nobody,
    "silence": lambda: serving(waiting()),
    "half a head": lambda: serving(waiting(_OK)),
    "half a body": lambda: serving(waiting(_OK + b"Content-Length: 99\r\n\r\n{")),
    "dripping head": lambda: serving(dripping(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x")),
    "dripping body": lambda: serving(dripping(_OK + b"Content-Length: 99999\r\n\r\n", b" ")),
    "dripping chunks": lambda: serving(dripping(_CHUNKED, b"1\r\n \r\n")),
    "dripping trailers": lambda: serving(dripping(_CHUNKED + b"2\r\n{}\r\n0\r\nX-Drip: ", b"x")),
    "dripping TLS handshake": lambda: serving(_drip_a_handshake, scheme="https"),
    "silent TLS handshake": lambda: serving(waiting(), scheme="https"),
    "endless body": lambda: serving(dripping(_OK + b"\r\n", b" " * 262_144, pause=0)),
    "endless head": lambda: serving(dripping(b"HTTP/1.1 200 OK\r\n", b"X-Flood: x\r\n" * 5000, pause=0)),
    "flood of tiny chunks": lambda: serving(dripping(_CHUNKED, b"1\r\n \r\n" * 10_000, pause=0)),
    "flood of interim answers": lambda: serving(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2500, pause=0)),
    "reset": lambda: serving(_reset),
    "good, but slow": lambda: serving(_take_the_time_of_many),
}


def main(name: str) -> None:
    """Serve until standard input ends."""
    with SERVICES[name]() as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
