"""The commands and scripts of load, and what is read from what they print."""

from pathlib import Path

import pytest

from fairlead.exceptions import CommandError
from fairlead.gates.performance import load
from fairlead.gates.performance.generator import content_length, request_bytes
from fairlead.gates.performance.load import Load, Target, read_wrk, wrk_command, wrk_script

TOKEN = "eyJhbGciOiJIUzI1NiJ9.e30.signature"  # pragma: allowlist secret - not signed by anybody


def test_wrk_is_given_one_thread_and_no_token() -> None:
    command = wrk_command("http://127.0.0.1:1/x", Path("report.lua"), connections=32, seconds=2)
    assert command == [
        *("wrk", "--threads", "1", "--connections", "32", "--duration", "2s"),
        *("--script", "report.lua", "http://127.0.0.1:1/x"),
    ]


def test_wrk_takes_its_headers_from_the_script() -> None:
    script = wrk_script({"Authorization": f"Bearer {TOKEN}", "X-Quoted": 'a "b" \\ c'})
    assert f'["Authorization"] = "Bearer {TOKEN}"' in script
    assert '["X-Quoted"] = "a \\"b\\" \\\\ c"' in script


def test_a_target_shows_nobody_its_token() -> None:
    assert TOKEN not in repr(Target("http://127.0.0.1:1", {"Authorization": f"Bearer {TOKEN}"}))


def test_what_wrk_printed_is_read() -> None:
    text = "Running 2s test @ http://127.0.0.1:1\n\nRequests/sec: 12\nmeasured 1400 2.003000 3.100 9.870 4\n"
    assert read_wrk(text, "http://127.0.0.1:1") == Load(1400, 2.003, 3.1, 9.87, 4)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "did not say what came of its load"),
        ("Running 2s test\nmeasured 12\n", "did not say what came of its load"),
        ("measured 0 2.0 0.0 0.0 32\n", "nothing at http://x answered under load"),
    ],
)
def test_no_answers_are_an_error_and_not_a_figure(text: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        read_wrk(text, "http://x")


@pytest.mark.parametrize(("installed", "chosen"), [("/usr/bin/wrk", "wrk"), (None, "own")])
def test_wrk_is_taken_where_it_is_installed(
    installed: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda _name: installed)
    assert load.choose_generator() == chosen


def test_a_request_has_its_path_its_query_and_its_headers() -> None:
    request = request_bytes("http://127.0.0.1:80/a/b?c=d", {"Authorization": "Bearer t"})
    assert request == b"GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAuthorization: Bearer t\r\n\r\n"
    assert request_bytes("http://h:1", {}).startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12", 12),
        (b"HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length:0", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", None),
        (b"HTTP/1.1 200 OK", None),
    ],
)
def test_the_length_of_an_answer_stands_in_its_head(head: bytes, length: int | None) -> None:
    assert content_length(head) == length
