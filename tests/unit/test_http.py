"""The HTTP client factory: bounded waits, no redirects, no proxy for loopback, and a name."""

import httpx
import pytest

from fairlead import __version__
from fairlead._http import make_client


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
