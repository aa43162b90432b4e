"""The HTTP client factory: bounded waits, no redirects, no proxy for loopback, and a name; the total deadline."""

import socket
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest

from fairlead import __version__
from fairlead._http import TotalDeadline, is_loopback, make_client

#: Far beyond what any of these takes on a busy machine.
GENEROUS = 15.0


def echo(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"headers": dict(request.headers), "url": str(request.url)})


def test_client_names_itself_and_sends_the_given_headers() -> None:
    with make_client("http://service", headers={"X-Key": "1"}, transport=httpx.MockTransport(echo)) as client:
        headers = client.get("/x").json()["headers"]
    assert headers["user-agent"] == f"fairlead/{__version__}"
    assert headers["x-key"] == "1"


def test_given_user_agent_replaces_the_default() -> None:
    client = make_client("http://service", headers={"User-Agent": "mine"}, transport=httpx.MockTransport(echo))
    with client:
        assert client.get("/x").json()["headers"]["user-agent"] == "mine"


def test_timeout_bounds_every_phase() -> None:
    with make_client("http://service", timeout=2.5) as client:
        assert client.timeout == httpx.Timeout(connect=2.5, read=2.5, write=2.5, pool=2.5)


def test_redirects_are_shown_not_followed() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(302, headers={"Location": "http://elsewhere/"}))
    with make_client("http://service", transport=transport) as client:
        assert client.get("/").status_code == 302


def test_base_url_is_put_before_paths() -> None:
    with make_client("http://service/base", transport=httpx.MockTransport(echo)) as client:
        assert client.get("/x").json()["url"] == "http://service/base/x"


@pytest.mark.parametrize(
    ("url", "trusts"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://127.0.0.2:8000", False),
        ("http://localhost", False),
        ("http://LOCALHOST:1", False),
        ("https://localhost:8443", False),
        ("http://[::1]:8000", False),
        ("http://localhost.example.com", True),
        ("http://127.0.0.1.example.com", True),
        ("https://api.example.com", True),
        ("", True),
    ],
)
def test_proxy_variables_are_ignored_for_loopback_only(url: str, trusts: bool) -> None:
    with make_client(url) as client:
        assert client.trust_env is trusts


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("", False),
        ("0.0.0.0", False),  # noqa: S104 - nothing listens there
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("[::1]", False),
    ],
)
def test_loopback_is_this_machine_and_no_name_that_begins_like_it(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_importing_it_loads_no_http_library() -> None:
    code = "import sys, fairlead._http; sys.exit('httpx' in sys.modules or 'ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the total deadline ---


class Stream:
    """What httpx reports as a connection: one end of a pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self._end}[name]


@pytest.fixture
def pair() -> Any:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(GENEROUS)
        there.settimeout(GENEROUS)
        yield here, there


@pytest.mark.parametrize(
    "event",
    [
        "connection.connect_tcp.complete",
        "connection.start_tls.complete",
        "proxy.start_tls.complete",
        "socks.connect_tcp.complete",
    ],
)
def test_wait_for_an_answer_ends_when_the_time_is_over(event: str, pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = TotalDeadline()
    with deadline.over(0.05):
        deadline.watch(event, {"return_value": Stream(pair[0])})
        assert pair[0].recv(1) == b""
    assert deadline.passed


def test_connection_that_is_opened_too_late_is_cut_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = TotalDeadline()
    with deadline.over(0.0):
        while not deadline.passed:
            pass
        deadline.watch("connection.connect_tcp.complete", {"return_value": Stream(pair[0])})
        assert pair[1].recv(1) == b""


def test_connection_is_whole_after_what_was_in_time(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = TotalDeadline()
    with deadline.over(GENEROUS):
        deadline.watch("connection.connect_tcp.complete", {"return_value": Stream(pair[0])})
    assert not deadline.passed
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_connection_that_is_kept_is_cut_in_a_later_request_too(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = TotalDeadline()
    with deadline.over(GENEROUS):
        deadline.watch("connection.connect_tcp.complete", {"return_value": Stream(pair[0])})
    with deadline.over(0.05):
        assert pair[0].recv(1) == b""
    assert deadline.passed


def test_deadline_that_passed_begins_anew() -> None:
    deadline = TotalDeadline()
    with deadline.over(0.0):
        while not deadline.passed:
            pass
    with deadline.over(GENEROUS):
        assert not deadline.passed


def test_call_gives_what_the_function_returns() -> None:
    deadline = TotalDeadline()
    assert deadline.call(lambda: "done", seconds=GENEROUS) == "done"
    assert not deadline.passed


@pytest.mark.parametrize("error", [ValueError("wrong"), TimeoutError("of its own"), KeyboardInterrupt()])
def test_call_raises_what_the_function_raises(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        TotalDeadline().call(fail, seconds=GENEROUS)
    assert caught.value is error


def test_call_gives_what_the_function_makes_of_a_cut_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    deadline = TotalDeadline()

    def ask() -> str:
        deadline.watch("connection.connect_tcp.complete", {"return_value": Stream(pair[0])})
        return f"nothing but {pair[0].recv(1)!r}"

    assert deadline.call(ask, seconds=0.05) == "nothing but b''"
    assert deadline.passed


def test_call_leaves_behind_what_nothing_ends() -> None:
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(GENEROUS)
        ended.set()

    deadline = TotalDeadline()
    with pytest.raises(TimeoutError):
        deadline.call(hang, seconds=0.05)
    assert deadline.passed
    assert not ended.is_set()
    release.set()
    assert ended.wait(GENEROUS)
